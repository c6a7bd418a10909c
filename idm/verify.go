package idm

import "context"

// Verify compares an export with what the connected server holds and returns the drift. It changes nothing. The first
// file problem, another tree and an age above MaxAge are errors, as in [Server.Import]; a difference is none: look at
// [Comparison.Equal]. What a driver configuration has no room for is not compared.
func (s *Server) Verify(ctx context.Context, src ExportSource, o ImportOptions) (*Comparison, error) {
	imp, err := s.pair(ctx, src, o)
	if err != nil {
		return nil, err
	}
	defer imp.close()
	return &imp.report.Comparison, nil
}
