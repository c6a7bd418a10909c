package idm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
)

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
	for _, do := range []func() error{func() error { return m.Write(beside.f) }, data.sync, beside.sync, data.rename,
		beside.rename} {
		if err := do(); err != nil {
			return fail(err)
		}
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
