package idm

import (
	"context"
	"time"
)

// VerifyOptions says what of an export is compared with the server.
type VerifyOptions struct {
	Driver   string        // of a driver set's LDIF only this driver; of a driver configuration the driver to compare with
	ValuesOf string        // whose per-server values of the export are compared; empty: those of the connected server
	MaxAge   time.Duration // refuse older exports; 0 means any age
	Storage  StoragePolicy // whether the state of shims and policies is compared
	TempDir  string        // for sorting; the system's folder when empty
}

// Verify compares an export with what the connected server holds and returns the drift. It changes nothing. The first
// file problem, another tree and an age above MaxAge are errors, as in [Server.Import]; a difference is none: look at
// [Comparison.Equal]. What a driver configuration has no room for is not compared.
func (s *Server) Verify(ctx context.Context, src ExportSource, o VerifyOptions) (*Comparison, error) {
	imp, err := s.pair(ctx, src,
		ImportOptions{Driver: o.Driver, ValuesOf: o.ValuesOf, MaxAge: o.MaxAge, Storage: o.Storage, TempDir: o.TempDir})
	if err != nil {
		return nil, err
	}
	defer imp.close()
	return &imp.report.Comparison, nil
}
