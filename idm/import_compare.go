package idm

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/01b61c5c/failover/internal/drivercfg"
)

// DifferenceKind says on which side something is.
type DifferenceKind int

const (
	// DifferenceOnlyInExport: the export has it and the server has not. An import creates it.
	DifferenceOnlyInExport DifferenceKind = iota + 1
	// DifferenceOnlyOnServer: the server has it and the export has not. An import leaves it.
	DifferenceOnlyOnServer
	// DifferenceInValue: both have it, with other values. An import writes the values of the export.
	DifferenceInValue
)

// Difference is one object or one attribute that is not the same in an export and on a server.
type Difference struct {
	Kind      DifferenceKind `json:"kind"`
	DN        string         `json:"dn"`
	Class     string         `json:"class,omitempty"`
	Attribute string         `json:"attribute,omitempty"` // empty: the whole object
	Server    string         `json:"server,omitempty"`    // of a per-server attribute: whose value the export's is
	Line      int            `json:"line,omitempty"`      // where the object stands in the file
	Detail    string         `json:"detail,omitempty"`    // what differs, for people
}

// String returns one line: "+" only in the export, "-" only on the server, "~" differs.
func (d Difference) String() string {
	sign := map[DifferenceKind]string{DifferenceOnlyInExport: "+", DifferenceOnlyOnServer: "-",
		DifferenceInValue: "~"}[d.Kind]
	text := sign + " " + d.DN
	if d.Attribute == "" {
		return text + " (" + d.Class + ")"
	}
	text += ": " + d.Attribute
	if d.Server != "" {
		text += " (per server)"
	}
	if d.Detail != "" {
		text += ": " + d.Detail
	}
	return text
}

// maxDifferences is how many differences a Comparison lists; all are counted.
const maxDifferences = 1000

// Comparison is what an export and a server have in common and what not.
type Comparison struct {
	Source       string       `json:"source"`
	Base         string       `json:"base"`
	Server       string       `json:"server"`
	ValuesOf     string       `json:"valuesOf,omitempty"` // whose per-server values of the export were looked at
	Same         int64        `json:"same"`               // objects without a difference
	Differing    int64        `json:"differing"`          // objects on both sides with one
	OnlyInExport int64        `json:"onlyInExport"`       // objects
	OnlyOnServer int64        `json:"onlyOnServer"`       // objects
	Differences  []Difference `json:"differences"`        // the first 1000
	Unlisted     int64        `json:"unlisted,omitempty"`
	// Ignored: attributes of the file that are the engine's own or secrets, and on how many objects
	Ignored map[string]int64 `json:"ignored,omitempty"`
	// Skipped: parts of a driver configuration that have no place in the directory or are to be set by hand
	Skipped []string       `json:"skipped,omitempty"`
	Secrets []SecretNeeded `json:"secrets,omitempty"` // what has to be set on the server for the drivers to start
}

// Equal reports whether nothing differs.
func (c *Comparison) Equal() bool { return c.Differing+c.OnlyInExport+c.OnlyOnServer == 0 }

// String returns the comparison as a text for people: a line of counts, then a line for each difference.
func (c *Comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s against %s on %s: %d objects equal, %d differ, %d only in the export, %d only on the server\n",
		c.Source, c.Base, c.Server, c.Same, c.Differing, c.OnlyInExport, c.OnlyOnServer)
	for _, d := range c.Differences {
		b.WriteString(d.String() + "\n")
	}
	if c.Unlisted > 0 {
		fmt.Fprintf(&b, "… and %d more differences\n", c.Unlisted)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Ignored)) {
		fmt.Fprintf(&b, "! left alone: %s, on %d objects: the engine's own, computed, or a secret\n", name, c.Ignored[name])
	}
	for _, text := range c.Skipped {
		b.WriteString("! " + text + "\n")
	}
	for _, n := range c.Secrets {
		b.WriteString("! to be set: " + n.String() + "\n")
	}
	return b.String()
}

func (c *Comparison) list(d Difference) {
	if len(c.Differences) < maxDifferences {
		c.Differences = append(c.Differences, d)
	} else {
		c.Unlisted++
	}
}

// delta is one attribute that differs. Without want the server alone has it.
type delta struct {
	name       string
	want, have [][]byte
	missing    [][]byte // of an attribute whose values are added to those present
	perServer  bool
}

// mayStandBesideALock reports whether the attribute may hold the lock of a run, which an import leaves where it is: it
// may be that of the run that imports.
func (d delta) mayStandBesideALock() bool {
	return !d.perServer && !isDirXML(d.name) && !strings.EqualFold(d.name, "XmlData")
}

// swap replaces the values one by one, and touches no other.
func (d delta) swap() []AttributeChange {
	var changes []AttributeChange
	if old := missingValues(d.name, d.have, d.want); len(old) > 0 {
		changes = append(changes, d.change(ChangeDelete, old))
	}
	if added := missingValues(d.name, d.want, d.have); len(added) > 0 {
		changes = append(changes, d.change(ChangeAdd, added))
	}
	return changes
}

func (d delta) change(kind ChangeKind, values [][]byte) AttributeChange {
	return AttributeChange{Kind: kind, Attribute: Attribute{Name: d.name, Values: values}}
}

// merged are attributes whose present values stay when an import adds its own: a server that joined the driver set
// after the export was taken must not be thrown out of it.
func merged(name string) bool {
	switch strings.ToLower(name) {
	case "objectclass", "dirxml-serverlist", "acl", "securityequals":
		return true
	}
	return false
}

func (imp *importer) replicated(want, have *object) []delta {
	return imp.withoutState(compareAttributes(want.plain, have.plain, imp.in.partial, false))
}

func (imp *importer) references(want, have *object) []delta {
	return compareAttributes(want.refs, have.refs, imp.in.partial, false)
}

func (imp *importer) perServer(want, have *object) []delta {
	here := have.valuesOf(imp.server.DN())
	return imp.withoutState(compareAttributes(want.valuesOf(imp.valuesOf), here, imp.in.partial, true))
}

// withoutState leaves out what shims and policies remember, unless it was asked for.
func (imp *importer) withoutState(deltas []delta) []delta {
	if imp.storage == StorageWrite {
		return deltas
	}
	return slices.DeleteFunc(deltas, func(d delta) bool {
		return strings.EqualFold(d.name, "DirXML-DriverStorage") || strings.EqualFold(d.name, "DirXML-PersistentData")
	})
}

func (imp *importer) all(want, have *object) []delta {
	return slices.Concat(imp.replicated(want, have), imp.references(want, have), imp.perServer(want, have))
}

func compareAttributes(want, have []Attribute, partial, perServer bool) []delta {
	var deltas []delta
	for _, w := range want {
		h := find(have, w.Name)
		d := delta{name: w.Name, want: w.Values, have: h, perServer: perServer}
		if merged(w.Name) {
			d.missing = missingValues(w.Name, w.Values, h)
			if len(d.missing) == 0 {
				continue
			}
		} else if sameNamed(w.Name, w.Values, h) || partial && sameDocument(w.Values, h) {
			continue
		}
		deltas = append(deltas, d)
	}
	if partial {
		return deltas
	}
	for _, h := range have {
		if find(want, h.Name) == nil {
			deltas = append(deltas, delta{name: h.Name, have: h.Values, perServer: perServer})
		}
	}
	return deltas
}

// comparableOf returns what of a value counts: names without case and spaces, everything else byte by byte.
func comparableOf(name string, v []byte) string {
	switch strings.ToLower(name) {
	case "objectclass":
		return strings.ToLower(string(v))
	case "cn":
		return fold(string(v))
	case "dirxml-policies", "dirxml-serverlist", "securityequals", "member", "seealso":
		if dn, ok := referenceTarget(name, string(v)); ok && dn != "" {
			if key, err := sortKey(dn); err == nil {
				return string(key) + string(v[len(dn):])
			}
		}
	}
	return string(v)
}

func comparables(name string, values [][]byte) map[string]bool {
	m := make(map[string]bool, len(values))
	for _, v := range values {
		m[comparableOf(name, v)] = true
	}
	return m
}

func sameNamed(name string, a, b [][]byte) bool {
	if len(a) == 1 && len(b) == 1 && bytes.Equal(a[0], b[0]) {
		return true
	}
	return len(a) == len(b) && maps.Equal(comparables(name, a), comparables(name, b))
}

// sameDocument reports whether two values differ only in what a driver configuration does not keep: the declaration in
// front of an XML document, and white space around it.
func sameDocument(a, b [][]byte) bool {
	return len(a) == 1 && len(b) == 1 && bytes.HasPrefix(drivercfg.Core(a[0]), []byte("<")) &&
		bytes.Equal(drivercfg.Core(a[0]), drivercfg.Core(b[0]))
}

func missingValues(name string, want, have [][]byte) [][]byte {
	present := comparables(name, have)
	var missing [][]byte
	for _, v := range want {
		if c := comparableOf(name, v); !present[c] {
			present[c] = true
			missing = append(missing, v)
		}
	}
	return missing
}

// presentValues returns the values that are among those present.
func presentValues(name string, values, present [][]byte) [][]byte {
	there := comparables(name, present)
	return without(values, func(v []byte) bool { return !there[comparableOf(name, v)] })
}

func (imp *importer) compare(ctx context.Context) error {
	c := &imp.report.Comparison
	return imp.each(ctx, func(w, h *object, _ []byte) error {
		switch {
		case h == nil:
			c.OnlyInExport++
			c.list(Difference{Kind: DifferenceOnlyInExport, DN: w.dn, Class: w.class(), Line: w.line})
			return nil
		case w == nil:
			if imp.in.partial && !imp.in.ours {
				imp.beside++
				return nil
			}
			c.OnlyOnServer++
			c.list(Difference{Kind: DifferenceOnlyOnServer, DN: h.dn, Class: h.class()})
			return nil
		}
		deltas := imp.all(w, h)
		if len(deltas) == 0 {
			c.Same++
			return nil
		}
		c.Differing++
		for _, d := range deltas {
			c.list(imp.difference(d, w, h))
		}
		return nil
	})
}

func (imp *importer) difference(d delta, w, h *object) Difference {
	diff := Difference{Kind: DifferenceInValue, DN: h.dn, Class: h.class(), Attribute: d.name, Line: w.line,
		Detail: d.describe()}
	if d.perServer {
		diff.Server = cmp.Or(imp.valuesOf, imp.server.DN())
	}
	switch {
	case d.want == nil:
		diff.Kind = DifferenceOnlyOnServer
	case d.have == nil:
		diff.Kind = DifferenceOnlyInExport
	}
	return diff
}
