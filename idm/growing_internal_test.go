package idm

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

// What is written of a fact that grows is a few times what it holds in the end, and nothing of it is lost.
func TestAFactThatGrowsIsNotWrittenWholeForEachEntry(t *testing.T) {
	const entries = 600
	fact, store := failover.NewFact[map[string]bool]("idm/test"), failovertest.NewStore("growing")
	j, err := store.Journal()
	require.NoError(t, err)
	read := map[string]bool{}
	p := failover.Procedure{Name: "test", Steps: []failover.Step{{ID: "grow", Title: "Grow", Kind: failover.Change, Writes: []string{fact.Name},
		Observe: func(ctx context.Context) (failover.Observation, error) {
			read, _, err = fact.Load(ctx)
			return failover.Observation{Done: len(read) == entries}, err
		},
		Apply: func(ctx context.Context) error {
			g, err := loadGrowing(ctx, fact)
			for i := 0; i < entries && err == nil; i++ {
				err = g.put(ctx, fmt.Sprintf("cn=Job%06d,cn=Driver,cn=ds1,o=system", i), true)
			}
			return g.end(ctx, err)
		}}}}
	_, err = p.Run(t.Context(), failover.RunOptions{Journal: j, Actor: "ann", Reason: "test"})
	require.NoError(t, err)
	require.Len(t, read, entries)
	whole, err := json.Marshal(read)
	require.NoError(t, err)
	require.Less(t, len(store.Bytes()), 5*len(whole))
}
