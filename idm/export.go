package idm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/drivercfg"
	"github.com/01b61c5c/failover/internal/ldif"
)

// ExportOptions says what to export and how.
type ExportOptions struct {
	Base   string       // DN of a driver set or a driver
	Format ExportFormat // FormatLDIF when not set
	// Others are further servers of the driver set. Their per-server values go into the same file, marked by server: a
	// connection shows only the values of the server it goes to. Only for FormatLDIF.
	Others []*Server
	// TempDir is for the sorting of exports larger than memory; the system's folder when empty. The files there are
	// readable by this user only and gone when Export returns.
	TempDir string
}

// perServerMark is the control by which an LDIF record says whose per-server values it holds; its value is the DN of
// the server. It is not critical for the server the export was taken from, so that ldapmodify applies those values, and
// critical for the others, so that no server takes values that are not its own: it must refuse a critical control it
// does not know. The identifier was made from a UUID and is registered nowhere.
const perServerMark = "2.25.222793712540183369823214475519430927751"

// Export writes everything at and below Base, as the connected server shows it, to w, and returns the manifest to be
// kept with it. It changes nothing on the server.
//
// The order is fixed: parents before children, siblings by name, attributes by name, so that the same content gives
// the same bytes from any server. In LDIF come first the objects without what names other objects, then the references,
// then the per-server values of each server. Memory does not grow with the number of objects.
//
// Passwords, key material, the driver's state, its queue and the start option are never in the file: the engine owns
// them. The manifest notes the start options and lists the secrets that have to be set again.
//
// Errors: failover.ErrInvalid, [ErrNoEntry] when Base does not exist, [ErrNoAccess] when the server tells that the user
// may not read all of it, and those of reading. They all leave a file that
// must not be used; [SaveExport] takes care of that.
func (s *Server) Export(ctx context.Context, w io.Writer, o ExportOptions) (Manifest, error) {
	if o.Format == 0 {
		o.Format = FormatLDIF
	}
	if err := checkDN("ExportOptions.Base", o.Base); err != nil {
		return Manifest{}, err
	}
	if o.Format == FormatDriverConfiguration && len(o.Others) > 0 {
		return Manifest{}, failover.Invalid("ExportOptions.Others", "a driver configuration holds the values of one server",
			"export from each server, or use FormatLDIF")
	}
	x, err := s.newExporter(ctx, o)
	if err != nil {
		return Manifest{}, err
	}
	defer x.objects.close() //nolint:errcheck // temporary files
	out := newMeter()
	switch o.Format {
	case FormatLDIF:
		err = x.writeLDIF(ctx, io.MultiWriter(w, out))
	case FormatDriverConfiguration:
		err = x.writeConfiguration(ctx, io.MultiWriter(w, out))
	default:
		err = failover.Invalid("ExportOptions.Format", o.Format.String()+" is unknown",
			"use FormatLDIF or FormatDriverConfiguration")
	}
	if err != nil {
		return Manifest{}, exportFailed(o.Base, err)
	}
	x.manifest.Size, x.manifest.SHA256 = out.n, out.hex()
	x.manifest.Secrets = x.secrets.sorted()
	return x.manifest, nil
}

func exportFailed(base string, err error) error {
	return orNotDone("export", base, "repeat the export; do not use the unfinished file", err)
}

type exporter struct {
	server   *Server
	others   []*Server
	base     string
	baseKey  []byte
	roles    attributeRoles
	objects  *objects
	manifest Manifest
	owners   owners
	secrets  secretList
}

func (s *Server) newExporter(ctx context.Context, o ExportOptions) (*exporter, error) {
	key, err := sortKey(o.Base)
	if err != nil {
		return nil, failover.Invalid("ExportOptions.Base", err.Error(), "write it like cn=Driver Set,o=system")
	}
	roles, err := s.attributeRoles(ctx)
	if err != nil {
		return nil, err
	}
	err = s.readable(ctx, o.Base, exported()...)
	if _, untold := errors.AsType[*ResultError](err); err != nil && !untold {
		return nil, err
	}
	x := &exporter{server: s, others: o.Others, base: o.Base, baseKey: key, roles: roles, objects: newObjects(o.TempDir),
		manifest: Manifest{Version: manifestVersion, Format: o.Format, Base: o.Base, Tree: s.RootDSE().TreeName,
			Server: s.DN(), Time: time.Now().UTC().Truncate(time.Second), Classes: map[string]int64{},
			PerServer: map[string]int64{}, LeftOut: map[string]int64{}}}
	if s.RootDSE().HasEngine() {
		v, err := s.EngineVersion(ctx)
		if err != nil {
			return nil, err
		}
		x.manifest.EngineVersion = v.String()
	}
	if err := x.read(ctx); err != nil {
		_ = x.objects.close()
		return nil, exportFailed(o.Base, err)
	}
	return x, nil
}

func (x *exporter) read(ctx context.Context) error {
	if err := x.server.readObjects(ctx, x.base, x.roles, x.objects, x.leftOut); err != nil {
		return err
	}
	for _, other := range x.others {
		if SameDN(other.DN(), x.server.DN()) {
			return failover.Invalid("ExportOptions.Others", other.DN()+" is the server the export is taken from",
				"name only the other servers")
		}
		if !strings.EqualFold(other.RootDSE().TreeName, x.server.RootDSE().TreeName) {
			return failover.Invalid("ExportOptions.Others", other.DN()+" is in another tree",
				"name servers of the tree "+x.server.RootDSE().TreeName)
		}
		for e, err := range other.Entries(ctx,
			Query{Base: x.base, Scope: ScopeSubtree, Attributes: x.roles.names(rolePerServer), PageSize: exportPage}) {
			if err != nil {
				return err
			}
			o := &object{dn: e.DN, local: x.roles.split(e, other.DN()).local}
			if len(o.local) > 0 {
				err = x.objects.add(o)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *exporter) leftOut(name string) { x.manifest.LeftOut[name]++ }

// exportPage is how many entries one answer holds where the server can page.
const exportPage = 500

// maxExportValue is the largest value an import takes in, and so the largest an export may hold.
const maxExportValue = 16 << 20

// readObjects reads base and everything below from the server into c. leftOut hears of each attribute that is the
// engine's own or a secret.
func (s *Server) readObjects(ctx context.Context, base string, roles attributeRoles, c *objects,
	leftOut func(string)) error {
	n := 0
	for e, err := range s.Entries(ctx,
		Query{Base: base, Scope: ScopeSubtree, Attributes: roles.requested(), PageSize: exportPage}) {
		if err != nil {
			return err
		}
		o := roles.split(e, s.DN())
		for _, a := range e.Attributes {
			if roles.of(a.Name) == roleOmit && isDirXML(a.Name) {
				leftOut(a.Name)
			}
			for _, v := range a.Values {
				if len(v) > maxExportValue {
					return fmt.Errorf("%s: %s: a value of %d bytes; no import would take more than %d", e.DN, a.Name, len(v),
						maxExportValue)
				}
			}
		}
		if err := c.add(o); err != nil {
			return fmt.Errorf("%s: %w", e.DN, err)
		}
		if n++; n%10_000 == 0 {
			failover.Progress(ctx, fmt.Sprintf("%d objects read from %s", n, s.DN()))
		}
	}
	if n == 0 {
		return notDone("read", base, "check the DN and the rights of the user", ErrNoEntry)
	}
	return nil
}

func (x *exporter) each(ctx context.Context, visit func(o *object, key []byte) error) error {
	w, err := x.objects.walk(nil)
	if err != nil {
		return err
	}
	for {
		o, key, err := w.take()
		if err != nil || o == nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if !o.made { // appeared on another server while we were reading
			return fmt.Errorf("%s is on another server and not on %s: the servers are not synchronized", o.dn, x.server.DN())
		}
		if err := visit(o, key); err != nil {
			return err
		}
	}
}

// owners tells to which driver an object belongs, or else to which driver set. Objects come parents first.
type owners struct {
	set, driver string
	driverKey   []byte
}

func (w *owners) of(o *object, key []byte) string {
	switch o.class() {
	case "DirXML-DriverSet":
		w.set = o.dn
	case "DirXML-Driver":
		w.driver, w.driverKey = o.dn, bytes.Clone(key)
	}
	if w.driver != "" && keyBelow(key, w.driverKey) {
		return w.driver
	}
	return w.set
}

func (x *exporter) count(o *object, key []byte) error {
	m := &x.manifest
	if m.Objects == 0 && !bytes.Equal(key, x.baseKey) {
		return fmt.Errorf("the server answers %s for the base %s", o.dn, x.base)
	}
	m.Objects++
	class, owner := o.class(), x.owners.of(o, key)
	m.Classes[class]++
	if class == "DirXML-Driver" {
		m.Drivers = append(m.Drivers, ManifestDriver{DN: o.dn, CacheLimit: string(first(o.notes, "DirXML-DriverCacheLimit")),
			StartOption: startOptionName(string(first(o.notes, "DirXML-DriverStartOption")))})
	}
	if owner == x.owners.driver && owner != "" {
		m.Drivers[len(m.Drivers)-1].Objects++
	}
	for _, l := range o.local {
		m.PerServer[l.server]++
		x.secrets.collect(o, l.values, l.server, owner)
	}
	if len(o.local) == 0 {
		x.secrets.collect(o, nil, x.server.DN(), owner)
	}
	return nil
}

func startOptionName(number string) string {
	n, err := strconv.Atoi(number)
	if err != nil {
		return number
	}
	return StartOption(n).String()
}

func (x *exporter) writeLDIF(ctx context.Context, out io.Writer) error {
	w := ldif.NewWriter(out)
	// part writes a comment and what record makes of each object; nil is nothing.
	part := func(comment string, record func(o *object, key []byte) (*ldif.Record, error)) error {
		if err := w.Comment(comment); err != nil {
			return err
		}
		return x.each(ctx, func(o *object, key []byte) error {
			r, err := record(o, key)
			if err != nil || r == nil {
				return err
			}
			return w.Write(r)
		})
	}
	err := part("Identity Manager: "+x.base+". First the objects, parents before children.",
		func(o *object, key []byte) (*ldif.Record, error) {
			return &ldif.Record{DN: o.dn, Kind: ldif.Add, Attributes: toLDIF(o.plain)}, x.count(o, key)
		})
	if err == nil {
		err = part("What names other objects, now that all of them exist.",
			func(o *object, _ []byte) (*ldif.Record, error) { return changes(o.dn, nil, o.refs), nil })
	}
	for _, server := range append(slices.Clone(x.others), x.server) { // that of the export comes last
		if err != nil {
			return err
		}
		dn := server.DN()
		mark := []ldif.Control{{OID: perServerMark, Critical: server != x.server, HasValue: true, Value: []byte(dn)}}
		err = part("Per-server values of "+dn+".",
			func(o *object, _ []byte) (*ldif.Record, error) { return changes(o.dn, mark, o.valuesOf(dn)), nil })
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// changes is the record that writes attributes of an object that exists, nil when there are none.
func changes(dn string, controls []ldif.Control, attributes []Attribute) *ldif.Record {
	if len(attributes) == 0 {
		return nil
	}
	r := &ldif.Record{DN: dn, Kind: ldif.Modify, Controls: controls}
	for _, a := range toLDIF(attributes) {
		r.Changes = append(r.Changes, ldif.Change{Op: ldif.OpReplace, Attribute: a})
	}
	return r
}

func toLDIF(list []Attribute) []ldif.Attribute {
	out := make([]ldif.Attribute, len(list))
	for i, a := range list {
		out[i] = ldif.Attribute{Name: a.Name, Values: a.Values}
	}
	return out
}

// writeConfiguration writes the one driver at base in the XML of Designer and iManager.
func (x *exporter) writeConfiguration(ctx context.Context, out io.Writer) error {
	w := drivercfg.NewWriter(out, drivercfg.Header{DN: x.base, DriverSetDN: ParentDN(x.base), Name: commonName(x.base)})
	for _, jobs := range []bool{false, true} { // the jobs come last in files of this kind
		err := x.each(ctx, func(o *object, key []byte) error {
			if !jobs {
				if err := x.count(o, key); err != nil {
					return err
				}
			}
			if (o.class() == "DirXML-Job" && len(pathBelow(o.dn, x.base)) == 1) != jobs {
				return nil
			}
			return w.Object(x.toConfiguration(o))
		})
		if err != nil {
			return err
		}
	}
	if x.manifest.Classes["DirXML-Driver"] != 1 {
		return failover.Invalid("ExportOptions.Base", x.base+" is no driver",
			"a driver configuration holds one driver; use FormatLDIF for a driver set")
	}
	for _, l := range w.Lost() {
		x.leftOut(cmp.Or(l.Attribute, "object "+strings.Join(l.Path, "/")))
	}
	return w.Close()
}

// pathBelow returns the names below base, outermost first.
func pathBelow(dn, base string) []string {
	var path []string
	for !SameDN(dn, base) && dn != "" {
		path = append([]string{commonName(dn)}, path...)
		dn = ParentDN(dn)
	}
	return path
}

func (x *exporter) toConfiguration(o *object) *drivercfg.Object {
	c := &drivercfg.Object{Path: pathBelow(o.dn, x.base), Class: o.class(),
		Attributes: toLDIF(slices.Concat(o.plain, o.refs, o.valuesOf(x.server.DN()), o.notes))}
	if len(c.Path) > 0 {
		return c
	}
	// Named passwords that only policies below the driver ask for are in the manifest: the driver is written before its
	// policies are seen.
	var l secretList
	l.collect(o, o.valuesOf(x.server.DN()), x.server.DN(), o.dn)
	for _, n := range l.list {
		for kind, secret := range secretOf {
			if secret == n.Kind {
				c.Queries = append(c.Queries, drivercfg.Query{Kind: kind, Name: n.Name, DisplayName: n.DisplayName})
			}
		}
	}
	return c
}

// secretOf tells which password a placeholder of a driver configuration asks for.
var secretOf = map[drivercfg.QueryKind]SecretKind{drivercfg.QueryApplicationPassword: SecretApplication,
	drivercfg.QueryDriverPassword: SecretDriverObject, drivercfg.QueryNamedPassword: SecretNamed}
