package idm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
)

// Refusals of an export for what it is, not for how it is written. Nothing was written then.
var (
	// ErrOtherTree: the export was taken from another tree.
	ErrOtherTree = errors.New("export of another tree")
	// ErrExportTooOld: the export is older than allowed.
	ErrExportTooOld = errors.New("export older than allowed")
	// ErrNotInExport: the driver that was asked for is not in the export.
	ErrNotInExport = errors.New("not in the export")
	// ErrDrift: the server does not have what the export says.
	ErrDrift = errors.New("differs from the export")
)

// InputError says which file was refused, in which line, for which field and why. It is failover.ErrInvalid.
type InputError = badinput.Error

// StoragePolicy says what happens to what shims and policies remember. DirXML-DriverStorage holds change-log pointers
// and the like; it belongs to the server it was written on, and as a rule to the moment. DirXML-PersistentData is
// written by policies and replicates; over an existing driver an older one would bring an old state back. A driver that
// has to be created gets the export's.
type StoragePolicy int

const (
	// StorageLeave neither compares nor writes it.
	StorageLeave StoragePolicy = iota
	// StorageWrite treats it like every other per-server value.
	StorageWrite
)

// ImportOptions says what of an export is written, or compared by [Server.Verify], and what must hold for it.
type ImportOptions struct {
	// Driver limits the import of a driver set's LDIF to this driver. For a driver configuration it is the DN of the
	// driver to write to; empty means the one the file names.
	Driver string
	// ValuesOf is the server whose per-server values are written to the connected server. Empty means the connected
	// server's own; an export that holds only those of other servers is then refused, because it would leave the drivers
	// without settings.
	ValuesOf string
	// MaxAge refuses older exports, and files without a manifest, whose age nobody knows. 0 means any age.
	MaxAge time.Duration
	// Storage says whether the state of shims and policies is written over that of existing drivers.
	Storage StoragePolicy
	// JobServers are the servers the jobs of a driver configuration get, whose file does not name them. Empty: a job that
	// exists keeps its servers, a new one gets the connected server.
	JobServers []string
	// TempDir is for the sorting of what is larger than memory; the system's folder when empty.
	TempDir string
}

// ImportReport is what an import found and did.
type ImportReport struct {
	Comparison           // what was found before anything was written
	Created        int64 `json:"created"` // objects
	Changed        int64 `json:"changed"` // objects that existed
	RightsVerified bool  `json:"rightsVerified"`
}

// PlanImport does everything Import does except writing: it reads the whole file, makes every check and returns the
// differences an Import would settle, and the secrets that have to be set afterwards.
//
// Errors: as for Import.
func (s *Server) PlanImport(ctx context.Context, src ExportSource, o ImportOptions) (*ImportReport, error) {
	imp, err := s.newImporter(ctx, src, o)
	if err != nil {
		return nil, err
	}
	defer imp.close()
	return imp.report, nil
}

// Verify compares an export with what the connected server holds and returns the drift. It changes nothing. The first
// file problem, another tree and an age above MaxAge are errors, as in [Server.Import]; a difference is none: look at
// [Comparison.Equal]. What a driver configuration has no room for is not compared; objects that one of another tool
// lacks are counted among what was skipped.
func (s *Server) Verify(ctx context.Context, src ExportSource, o ImportOptions) (*Comparison, error) {
	imp, err := s.pair(ctx, src, o)
	if err != nil {
		return nil, err
	}
	defer imp.close()
	return &imp.report.Comparison, nil
}

// Import makes the connected server hold what the export holds: objects that are missing are created, parents first;
// then what names other objects and the per-server values are written. Over existing objects only what differs is
// written. It never deletes an object or a whole attribute; what the server has beyond the export stays and is listed.
// The engine's own attributes and secrets are never written. Bytes are written as they are in the file.
//
// The file is read to its end and checked before the first write: syntax, limits, manifest, age, tree, doubles,
// parents, references, and the rights of the user where the server can tell them. In the end everything is read again
// and compared.
//
// It is safe to repeat, also after a break in the middle: what is there already is not written again. A break after
// the first write leaves [failover.InDoubt], any refusal before it [failover.NotApplied].
//
// Errors: failover.ErrInvalid with an [InputError] that names file, line, field and reason; [ErrOtherTree],
// [ErrExportTooOld], [ErrNotInExport], [ErrNoAccess]; failover.ErrNotObserved when the server does not show what was
// written.
func (s *Server) Import(ctx context.Context, src ExportSource, o ImportOptions) (*ImportReport, error) {
	imp, err := s.newImporter(ctx, src, o)
	if err != nil {
		return nil, err
	}
	defer imp.close()
	if err := imp.write(ctx); err != nil {
		return imp.report, imp.broken(err)
	}
	if imp.written.Load() == 0 {
		return imp.report, nil
	}
	return imp.report, imp.observe(ctx)
}

// importer is one import under way: a checked file, the state of the server, and how they are paired.
type importer struct {
	server   *Server
	in       *incoming
	have     *objects
	scope    []byte // key of the topmost object in question
	top      string // its DN
	valuesOf string // whose per-server values of the export count
	storage  StoragePolicy
	report   *ImportReport
	beside   int // objects of the server that a driver configuration lacks and need not have
	written  atomic.Int64
	created  atomic.Int64
	changed  sync.Map // DNs of objects that were there before and were changed
}

// each walks over the export and the server side by side, see pairs.
func (imp *importer) each(ctx context.Context, visit func(want, have *object, key []byte) error) error {
	return pairs(ctx, imp.in.objects, imp.have, imp.scope, visit)
}

func (imp *importer) close() {
	imp.in.close()
	if imp.have != nil {
		_ = imp.have.close()
	}
}

func (s *Server) newImporter(ctx context.Context, src ExportSource, o ImportOptions) (*importer, error) {
	imp, err := s.pair(ctx, src, o)
	if err != nil {
		return nil, err
	}
	if err := imp.preflight(ctx); err != nil {
		imp.close()
		return nil, refused("import", err)
	}
	return imp, nil
}

// pair reads file and server and compares them. Import and Verify share it.
func (s *Server) pair(ctx context.Context, src ExportSource, o ImportOptions) (*importer, error) {
	if err := checkDN("ImportOptions.Driver", o.Driver); o.Driver != "" && err != nil {
		return nil, err
	}
	if err := s.acceptable(src, o); err != nil {
		return nil, err
	}
	roles, err := s.attributeRoles(ctx)
	if err != nil {
		return nil, err
	}
	in, err := readSource(ctx, src,
		readOptions{roles: roles, target: o.Driver, jobServers: o.JobServers, server: s.DN(), tempDir: o.TempDir})
	if err != nil {
		return nil, err
	}
	imp := &importer{server: s, in: in, top: in.base, scope: in.baseKey, valuesOf: o.ValuesOf, storage: o.Storage}
	if err := imp.load(ctx, o); err != nil {
		imp.close()
		return nil, refused("import", err)
	}
	return imp, nil
}

// acceptable looks at the manifest: origin and age.
func (s *Server) acceptable(src ExportSource, o ImportOptions) error {
	refuse := func(next string, err error) error { return notDone("check export", src.Name, next, err) }
	if src.Manifest == nil {
		if o.MaxAge > 0 {
			return refuse("give the manifest that was saved with the export, or allow any age",
				fmt.Errorf("%w: it has no manifest, so its age is unknown", ErrExportTooOld))
		}
		return nil
	}
	here, there := s.RootDSE().TreeName, src.Manifest.Tree
	if here != "" && there != "" && !strings.EqualFold(here, there) {
		return refuse("use an export of this tree",
			fmt.Errorf("%w: it is of %s, the server is in %s", ErrOtherTree, there, here))
	}
	switch age := time.Since(src.Manifest.Time); {
	case o.MaxAge <= 0:
	case age > o.MaxAge:
		return refuse("take a fresh export, or allow this age",
			fmt.Errorf("%w: it is %s old, allowed are %s", ErrExportTooOld, age.Truncate(time.Second), o.MaxAge))
	case age < -clockSkew:
		return refuse("compare the clocks, take a fresh export, or allow any age",
			fmt.Errorf("%w: its time %s lies in the future, so its age is unknown", ErrExportTooOld,
				src.Manifest.Time.UTC().Format(time.RFC3339)))
	}
	return nil
}

// load decides what is looked at, reads the server and compares.
func (imp *importer) load(ctx context.Context, o ImportOptions) error {
	in, s := imp.in, imp.server
	if o.Driver != "" && in.format == FormatLDIF {
		key, err := sortKey(o.Driver)
		if err != nil {
			return err
		}
		if !keyBelow(key, in.baseKey) {
			return fmt.Errorf("%s: %w: %s", in.name, ErrNotInExport, o.Driver)
		}
		imp.scope, imp.top = key, o.Driver
	}
	if err := imp.chooseValues(o); err != nil {
		return err
	}
	imp.have = newObjects(imp.in.tempDir)
	if err := unless(ErrNoEntry, s.readObjects(ctx, imp.top, imp.in.roles, imp.have, func(string) {})); err != nil {
		return err
	}
	imp.report = &ImportReport{Comparison: Comparison{Source: in.name, Base: imp.top, Server: s.DN(),
		ValuesOf: imp.valuesOf, Ignored: in.ignored, Skipped: in.skipped}}
	if err := imp.compare(ctx); err != nil {
		return err
	}
	if imp.beside > 0 {
		imp.report.Skipped = append(imp.report.Skipped, fmt.Sprintf(
			"%d objects below %s on the server are not in the file, which does not say that it holds all: not compared",
			imp.beside, imp.top))
	}
	if imp.report.Same+imp.report.Differing+imp.report.OnlyInExport == 0 {
		return fmt.Errorf("%s: %w: %s", in.name, ErrNotInExport, imp.top)
	}
	return imp.needs(ctx)
}

func (imp *importer) chooseValues(o ImportOptions) error {
	in, here := imp.in, imp.server.DN()
	refuse := func(next, what string) error {
		return notDone("check export", in.name, next+strings.Join(in.servers, ", "),
			fmt.Errorf("%w: %s", ErrNotInExport, what))
	}
	switch {
	case o.ValuesOf != "" && !containsDN(in.servers, o.ValuesOf):
		return refuse("name one of the servers whose values it holds: ", "values of "+o.ValuesOf)
	case o.ValuesOf != "" || len(in.servers) == 0:
	case containsDN(in.servers, here):
		imp.valuesOf = here
	case slices.Contains(in.servers, ""):
		imp.valuesOf = ""
	default:
		return refuse("name the server whose values are to be used: ", "values of the connected server "+here)
	}
	return nil
}

// needs lists the secrets the objects in scope ask for on this server.
func (imp *importer) needs(ctx context.Context) error {
	var by owners
	err := imp.each(ctx, func(w, _ *object, key []byte) error {
		if w == nil {
			return nil
		}
		imp.in.secrets.collect(w, w.valuesOf(imp.valuesOf), imp.server.DN(), by.of(w, key))
		if len(imp.in.secrets.list) > maxSecrets {
			return imp.in.refuse(w.line, w.dn, "the file asks for more than %d passwords", maxSecrets)
		}
		return nil
	})
	for i := range imp.in.secrets.list {
		n := &imp.in.secrets.list[i]
		if n.Server == "" && n.Kind != SecretDriverObject {
			n.Server = imp.server.DN()
		}
	}
	imp.report.Secrets = joined(imp.in.secrets.list)
	imp.report.Skipped = append(imp.report.Skipped, imp.in.secrets.gaps...)
	return err
}

// at adds the place in the file to a refusal of the server.
func (imp *importer) at(line int, err error) error {
	if line == 0 || err == nil {
		return err
	}
	return fmt.Errorf("%s:%d: %w", imp.in.name, line, err)
}

func (imp *importer) tally() {
	imp.report.Created = imp.created.Load()
	imp.report.Changed = 0
	imp.changed.Range(func(any, any) bool {
		imp.report.Changed++
		return true
	})
}

// broken tells how an import that did not come to its end has left the directory.
func (imp *importer) broken(err error) error {
	imp.tally()
	if imp.written.Load() == 0 && failover.OutcomeOf(err) == failover.NotApplied {
		return err
	}
	next := "run the same import again"
	if errors.Is(err, ErrSchema) {
		next = failover.NextOf(err) + ", in the file or on the server; then run the import again"
	}
	return inDoubt("import", imp.top,
		fmt.Sprintf("%s: what was written (%d objects created, %d changed) is not written twice", next, imp.report.Created,
			imp.report.Changed), err)
}

// observe reads everything again: an answer of the server is no proof of what it holds.
func (imp *importer) observe(ctx context.Context) error {
	imp.tally()
	_ = imp.have.close()
	imp.have = newObjects(imp.in.tempDir)
	err := imp.server.readObjects(ctx, imp.top, imp.in.roles, imp.have, func(string) {})
	if err == nil {
		err = imp.each(ctx, func(w, h *object, _ []byte) error {
			if w == nil {
				return nil
			}
			if h == nil {
				return fmt.Errorf("%w: %s", failover.ErrNotObserved, w.dn)
			}
			for _, d := range imp.all(w, h) {
				if d.want != nil {
					return fmt.Errorf("%w: %s: %s: %s", failover.ErrNotObserved, h.dn, d.name, d.describe())
				}
			}
			return nil
		})
	}
	if err != nil {
		return inDoubt("import", imp.top, "verify the export against the server", err)
	}
	return nil
}
