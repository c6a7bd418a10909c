package symitar

import "context"

// LaunchOnce sends the launcher once and returns its exit status, without locks, following or judging.
func (p *Pair) LaunchOnce(ctx context.Context, run RunID) (int, error) {
	f, err := p.firingOf(run, ForSwitchover)
	if err != nil {
		return -1, err
	}
	_, a, err := f.launch(ctx, nil)
	return a.exit, err
}
