package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
)

// A request whose answer was lost may be on its way for longer than anybody waits. On Pacemaker it can be taken back
// wherever it is. Where the cluster keeps no requests, as on Windows, a mark in its configuration says from before each
// request until its end is known that there may be one: without the mark there is none, with it the answer is in doubt.

// announce sets the mark before a request. Without it nothing is sent.
func (c *core) announce(ctx context.Context, group, node string) error {
	if c.d.KeepsMoves() {
		return nil // StartMove does
	}
	const op = "announce move"
	key, found := wsfc.MoveKey(group), ""
	err := c.setting(ctx, op, group, func(ctx context.Context) (_ bool, err error) {
		found, err = c.readMark(ctx, key)
		return found == node, err
	}, func(ctx context.Context, via string) error { return c.d.SwapMark(ctx, via, key, found, node) })
	if err != nil {
		return unchanged(op, group, "make the cluster's configuration writable for the account, then run again", err)
	}
	return nil
}

// announced removes the mark when the end of the request is known. One that stays makes a later answer doubtful, not
// wrong.
func (c *core) announced(ctx context.Context, group string, err error) {
	if c.d.KeepsMoves() || err != nil && failover.OutcomeOf(err) == failover.InDoubt {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	if err := c.ClearMove(ctx, group); err != nil {
		c.log.WarnContext(ctx, "the mark of a move stays in the cluster", "mark", wsfc.MoveKey(group), "error", err)
	}
}

// readMark returns the text stored under key, "" for none.
func (c *core) readMark(ctx context.Context, key string) (text string, err error) {
	const op = "read mark"
	_, err = c.send(ctx, op, "", func(ctx context.Context, via string) (err error) {
		text, err = c.d.ReadMark(ctx, via, key)
		return readError(ctx, op, via, err)
	})
	return text, err
}

func (c *core) Withdraw(ctx context.Context, group string) error {
	const op = "withdraw move"
	if err := c.d.Check("group", group); err != nil || c.d.KeepsMoves() {
		return errors.Join(err, c.ClearMove(ctx, group))
	}
	text, err := c.readMark(ctx, wsfc.MoveKey(group))
	if err == nil && text != "" {
		err = unchanged(op, group, late, fmt.Errorf("%w: a request to move it to %s may be on its way (%s)", ErrNotSupported,
			text, wsfc.MoveKey(group)))
	}
	return err
}
