package idm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/badinput"
	"github.com/01b61c5c/failover/internal/enum"
)

// ExportFormat is the kind of file an export is.
type ExportFormat int

const (
	// FormatLDIF is LDIF (RFC 2849): complete, with per-server values marked by server. ldapadd and ldapmodify read it.
	FormatLDIF ExportFormat = iota + 1
	// FormatDriverConfiguration is the XML of one driver that Designer and iManager read. It has no room for everything;
	// the manifest says what was left out.
	FormatDriverConfiguration
)

var formatNames = []string{FormatLDIF: "ldif", FormatDriverConfiguration: "driver-configuration"}

// String returns "ldif" or "driver-configuration".
func (f ExportFormat) String() string { return enum.Name(formatNames, f) }

// MarshalText implements encoding.TextMarshaler.
func (f ExportFormat) MarshalText() ([]byte, error) { return enum.Marshal(formatNames, f) }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *ExportFormat) UnmarshalText(text []byte) error { return enum.Parse(formatNames, text, f) }

// Manifest says what an export is: whence, when, how much, and the SHA-256 of its bytes. It is kept beside the export,
// so that a later check can say whether the export is present and complete and how old it is, and so that an import
// refuses a file that was cut off or comes from another tree.
type Manifest struct {
	Version       int              `json:"version"` // of this layout; 1
	Format        ExportFormat     `json:"format"`
	Base          string           `json:"base"` // DN of the driver set or driver
	Tree          string           `json:"tree,omitempty"`
	Server        string           `json:"server"` // DN of the server whose per-server values it holds
	EngineVersion string           `json:"engineVersion,omitempty"`
	Time          time.Time        `json:"time"`
	Size          int64            `json:"size"`
	SHA256        string           `json:"sha256"`
	Objects       int64            `json:"objects"`
	Classes       map[string]int64 `json:"classes"`   // objects by class
	PerServer     map[string]int64 `json:"perServer"` // objects with per-server values, by server
	Drivers       []ManifestDriver `json:"drivers"`
	Secrets       []SecretNeeded   `json:"secrets"` // what no export carries and someone has to set again
	// LeftOut: attributes not exported (the engine's, secrets, no room in the format), and on how many objects
	LeftOut map[string]int64 `json:"leftOut,omitempty"`
}

// ManifestDriver is what the export noted about one driver and does not write back: the engine owns it.
type ManifestDriver struct {
	DN          string `json:"dn"`
	Objects     int64  `json:"objects"` // the driver and everything below it
	StartOption string `json:"startOption,omitempty"`
	CacheLimit  string `json:"cacheLimit,omitempty"`
}

const manifestVersion = 1

// Write writes the manifest as JSON.
func (m Manifest) Write(w io.Writer) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("idm: manifest: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

const maxManifest = 64 << 20

// readManifest reads what [Manifest.Write] wrote; name is the file name errors carry. Unknown fields, another version
// and missing fields are refused.
func readManifest(name string, r io.Reader) (Manifest, error) {
	var m Manifest
	line := 0
	refuse := func(field, reason string, args ...any) (Manifest, error) {
		return Manifest{}, refused("read manifest",
			&badinput.Error{File: name, Line: line, Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	text, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err != nil {
		return Manifest{}, refused("read manifest", fmt.Errorf("%s: %w", name, err))
	}
	if len(text) > maxManifest {
		return refuse("", "longer than %d bytes", maxManifest)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		line = 1 + bytes.Count(text[:min(d.InputOffset(), int64(len(text)))], []byte("\n"))
		return refuse("", "not a manifest: %v", err)
	}
	if d.More() {
		return refuse("", "something follows the manifest")
	}
	switch sum, err := hex.DecodeString(m.SHA256); {
	case m.Version != manifestVersion:
		return refuse("version", "is %d; this reads %d", m.Version, manifestVersion)
	case formatNames[m.Format] == "":
		return refuse("format", "is missing")
	case err != nil || len(sum) != sha256.Size:
		return refuse("sha256", "%q is no SHA-256", m.SHA256)
	case m.Time.IsZero():
		return refuse("time", "is missing")
	case checkDN("base", m.Base) != nil:
		return refuse("base", "%q is no distinguished name", m.Base)
	case checkDN("server", m.Server) != nil:
		return refuse("server", "%q is no distinguished name", m.Server)
	}
	return m, nil
}

// refused gives a refusal its outcome: nothing was written.
func refused(op string, err error) error {
	return orNotDone(op, "", "repair the file or take another export; nothing was written", err)
}

// orNotDone is err where it says its outcome, and notDone otherwise.
func orNotDone(op, target, next string, err error) error {
	if _, told := errors.AsType[*failover.Error](err); told {
		return err
	}
	return notDone(op, target, next, err)
}

// ExportCheck is the state of an export that is kept for a bad day.
type ExportCheck struct {
	Name     string        `json:"name"`
	Present  bool          `json:"present"`
	Complete bool          `json:"complete"` // size and SHA-256 are those of the manifest
	Age      time.Duration `json:"age"`
	Stale    bool          `json:"stale"`             // older than allowed
	Problem  string        `json:"problem,omitempty"` // why it is not complete
	Manifest Manifest      `json:"manifest"`
}

// Good reports whether the export can be relied on.
func (c ExportCheck) Good() bool { return c.Present && c.Complete && !c.Stale }

// String returns one line for people.
func (c ExportCheck) String() string {
	switch {
	case !c.Present:
		return c.Name + ": not there: " + c.Problem
	case !c.Complete:
		return c.Name + ": not usable: " + c.Problem
	}
	text := fmt.Sprintf("%s: complete, %d objects of %s from %s, %s old", c.Name, c.Manifest.Objects, c.Manifest.Base,
		c.Manifest.Server, c.Age.Truncate(time.Second))
	if c.Stale {
		text += ", older than allowed"
	}
	return text
}

type meter struct {
	n   int64
	sum hash.Hash
}

func newMeter() *meter { return &meter{sum: sha256.New()} }

func (m *meter) Write(p []byte) (int, error) {
	m.n += int64(len(p))
	return m.sum.Write(p)
}

func (m *meter) hex() string { return hex.EncodeToString(m.sum.Sum(nil)) }

// agrees says how the bytes differ from what the manifest promises, or "".
func (m Manifest) agrees(got *meter) string {
	switch {
	case got.n < m.Size:
		return fmt.Sprintf("has %d bytes where the manifest says %d: it was cut off", got.n, m.Size)
	case got.n != m.Size:
		return fmt.Sprintf("has %d bytes where the manifest says %d", got.n, m.Size)
	case !strings.EqualFold(got.hex(), m.SHA256):
		return "was altered: its SHA-256 is not that of the manifest"
	}
	return ""
}

const manifestSuffix = ".manifest.json"

// ExportSource is an export to be checked, verified or imported.
type ExportSource struct {
	Name     string    // for error texts, as a rule the file name
	Content  io.Reader // read once, to its end
	Manifest *Manifest // nil for files of other tools; then age and origin cannot be checked
}

// OpenExport opens an export that [SaveExport] saved, with its manifest. Close the closer when done. A missing manifest
// is refused; for files of other tools build an [ExportSource] without one.
func OpenExport(path string) (ExportSource, io.Closer, error) {
	fail := func(err error) (ExportSource, io.Closer, error) {
		return ExportSource{}, nil, refused("open export", err)
	}
	mf, err := os.Open(path + manifestSuffix)
	if err != nil {
		return fail(err)
	}
	defer mf.Close() //nolint:errcheck // only read
	m, err := readManifest(path+manifestSuffix, mf)
	if err != nil {
		return fail(err)
	}
	f, err := os.Open(path)
	if err != nil {
		return fail(err)
	}
	return ExportSource{Name: path, Content: f, Manifest: &m}, f, nil
}

// clockSkew is how far in the future the time of an export may lie: clocks differ. One from further ahead would never
// become too old.
const clockSkew = 5 * time.Minute

// CheckExport tells whether the export at path, saved by [SaveExport], is present and complete, and how old it is.
// maxAge is the oldest allowed. It reads the whole file; it changes nothing and needs no server. What is wrong is in
// the result, not an error.
func CheckExport(path string, now time.Time, maxAge time.Duration) ExportCheck {
	c := ExportCheck{Name: path}
	src, closer, err := OpenExport(path)
	if err != nil {
		c.Problem = err.Error()
		_, statErr := os.Stat(path)
		c.Present = !errors.Is(statErr, os.ErrNotExist) // a folder that cannot be looked into may hold it
		return c
	}
	defer closer.Close() //nolint:errcheck // only read
	c.Present, c.Manifest = true, *src.Manifest
	c.Age = now.Sub(c.Manifest.Time)
	c.Stale = c.Age > maxAge
	if c.Age < -clockSkew {
		c.Problem = fmt.Sprintf("its manifest says that it was taken at %s, which lies in the future",
			c.Manifest.Time.UTC().Format(time.RFC3339))
		return c
	}
	got := newMeter()
	if _, err := io.Copy(got, src.Content); err != nil {
		c.Problem = err.Error()
		return c
	}
	c.Problem = c.Manifest.agrees(got)
	c.Complete = c.Problem == ""
	return c
}

// SaveExport exports to the file path and writes the manifest beside it (path + ".manifest.json"). Both are readable by
// this user only, and appear under their names when they are complete and on disk: an export that is there already
// stays until then.
func (s *Server) SaveExport(ctx context.Context, path string, o ExportOptions) (Manifest, error) {
	fail := func(err error) (Manifest, error) { return Manifest{}, exportFailed(o.Base, err) }
	if o.TempDir == "" {
		o.TempDir = filepath.Dir(path)
	}
	data, err := newFile(path)
	if err != nil {
		return fail(err)
	}
	defer data.discard()
	m, err := s.Export(ctx, data.f, o)
	if err != nil {
		return Manifest{}, err
	}
	beside, err := newFile(path + manifestSuffix)
	if err != nil {
		return fail(err)
	}
	defer beside.discard()
	// Between the two renames the manifest does not fit its file; a check then says so instead of trusting it.
	for _, do := range []func() error{func() error { return m.Write(beside.f) }, data.sync, beside.sync, data.rename} {
		if err := do(); err != nil {
			return fail(err)
		}
	}
	if err := beside.rename(); err != nil {
		return Manifest{}, inDoubt("export", o.Base,
			"take the export again: the file there is the new one, and the manifest beside it is not", err)
	}
	return m, nil
}

// file is a file that appears under its name when it is complete.
type file struct {
	f    *os.File
	path string
}

func newFile(path string) (*file, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, err
	}
	return &file{f: f, path: path}, nil
}

func (f *file) sync() error { return errors.Join(f.f.Sync(), f.f.Close()) }

func (f *file) rename() error {
	err := os.Rename(f.f.Name(), f.path)
	if err == nil {
		f.f = nil
		if dir, derr := os.Open(filepath.Dir(f.path)); derr == nil { // makes the new name last where folders can be synced
			_ = dir.Sync()
			_ = dir.Close()
		}
	}
	return err
}

func (f *file) discard() {
	if f.f != nil {
		_ = f.f.Close()
		_ = os.Remove(f.f.Name())
	}
}
