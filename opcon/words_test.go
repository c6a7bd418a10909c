package opcon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// otherWords are results that no document lists as an end: what other versions may say, other spellings, and none.
var otherWords = []string{"", "InProgress", "pending", "Queued", "accepted", "Completed", "OK", "partial", "timeout",
	"unknown", "null", "cancelled", "2", "Fehler"}

// TestOnlyDocumentedWordsProve: a word that is no documented refusal never ends as "not applied", whether the effect
// comes or not, and what was sent is not sent twice where that would matter.
func TestOnlyDocumentedWordsProve(t *testing.T) {
	ctx := context.Background()
	client := func(t *testing.T) *site {
		t.Helper()
		return newSite(t, opcontest.Config{ReportAfter: 1_000_000}, withUser("failover_svc", secret("secret")),
			withTimeouts(time.Second, 60*time.Millisecond))
	}
	for _, word := range otherWords {
		for _, kind := range []opcontest.InjectionKind{opcontest.InjectionOtherWord, opcontest.InjectionOtherWordNever} {
			took := kind == opcontest.InjectionOtherWord
			for _, verb := range []string{"hold", "down"} {
				t.Run(fmt.Sprintf("%s/%q/effect=%t", verb, word, took), func(t *testing.T) {
					s := client(t)
					s.Inject(opcontest.Injection{Kind: kind, Verb: verb, Body: word})
					_, err := s.client.Quiesce(ctx, unplanned())
					if took {
						require.NoError(t, err, "the state shows it")
						return
					}
					require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
					require.NotEmpty(t, failover.NextOf(err))
				})
			}
			t.Run(fmt.Sprintf("restart/%q/effect=%t", word, took), func(t *testing.T) {
				s := client(t)
				rec := s.moved(t)
				list, err := s.client.Interrupted(ctx, rec)
				require.NoError(t, err)
				in, ok := find(list, "GOODNIGHT")
				require.True(t, ok)
				d := in.Proposal
				d.By, d.Action = "jdoe", opcon.RerunRestart
				s.Inject(opcontest.Injection{Kind: kind, Verb: "restart", Body: word})
				for range 2 {
					if err = s.client.Rerun(ctx, d); !took {
						require.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
					}
				}
				sent := 0
				for _, r := range s.Requests() {
					if r.Method == "POST" && r.Path == "/api/jobactions" &&
						strings.Contains(r.Body, `"action":"restart"`) {
						sent++
					}
				}
				require.Equal(t, 1, sent, "no start is sent twice: %v", err)
			})
		}
	}
}

// TestRefusedDecisionsCanBeCorrected: a refusal after the mark is told as it is, and another decision goes on from
// there.
func TestRefusedDecisionsCanBeCorrected(t *testing.T) {
	ctx := context.Background()
	s := newSite(t, opcontest.Config{ReportAfter: 1_000_000})
	rec := s.moved(t)
	list, err := s.client.Interrupted(ctx, rec)
	require.NoError(t, err)
	in, _ := find(list, "GOODNIGHT")
	d := in.Proposal
	d.By, d.Action = "jdoe", opcon.RerunRestart
	s.FailItem("restart", "GOODNIGHT", "restart is not licensed", 1)
	err = s.client.Rerun(ctx, d)
	require.ErrorIs(t, err, opcon.ErrActionFailed)
	require.ErrorContains(t, err, "was marked failed")
	require.Equal(t, failover.InDoubt, failover.OutcomeOf(err),
		"the mark is in effect, so it is not true that nothing was done")
	d.Action, d.MarkFailedFirst = opcon.RerunRestartOnHold, false
	require.NoError(t, s.client.Rerun(ctx, d))
	require.Equal(t, 1, s.Count("restartOnHold", ""))
	require.Equal(t, 1, s.Count("markFailed", ""))
}
