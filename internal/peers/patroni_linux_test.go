package peers

import (
	"context"
	"testing"
	"time"
)

func TestPatroniElectsALeaderAndTakesWrites(t *testing.T) {
	c := StartPatroni(t, PatroniOptions{Nodes: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		out, err := c.Write(ctx, "select count(*) from pg_stat_replication")
		if err == nil && out == "1" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%q %v\n%s\n%s", out, err, c.Nodes[0].Log(), c.Nodes[1].Log())
		case <-time.After(300 * time.Millisecond):
		}
	}
}
