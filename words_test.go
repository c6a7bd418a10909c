package failover_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/failovertest"
)

func TestNamesThatWouldNotStayTheSameAreRefused(t *testing.T) {
	for _, bad := range []string{"", " a", "a ", "macro/r\xfcn", "a\nb", "a\tb", "a\x1bb", "a\x00b", "a\u202eb",
		"a\u2028b", "a\u200bb", "a\u00a0b", "a\ufeffb",
		"\ufffd", strings.Repeat("x", 201)} {
		w := newWorld()
		s := w.once("fine")
		s.ID = bad
		err := procedure(s).Validate()
		require.ErrorIs(t, err, failover.ErrInvalid, "%q", bad)
		for _, r := range err.Error() {
			require.True(t, unicode.IsGraphic(r), "%q in the message", r)
		}
		p := procedure(w.change("a"))
		p.Parameters = []failover.Parameter{{Name: bad}}
		require.ErrorIs(t, p.Validate(), failover.ErrInvalid)
		p = procedure(w.change("a"))
		p.Stages[0].Steps[0].Writes = []string{bad}
		require.ErrorIs(t, p.Validate(), failover.ErrInvalid)
		p = procedure(w.change("a"))
		p.Name = bad
		require.ErrorIs(t, p.Validate(), failover.ErrInvalid)
	}
	assert.Contains(t, procedure(failover.Step{ID: "a\u202eb"}).Validate().Error(), "U+202E")
	w := newWorld()
	p := procedure(w.change("a"))
	p.Parameters = []failover.Parameter{{Name: "target"}, {Name: "target"}}
	require.ErrorIs(t, p.Validate(), failover.ErrInvalid, "twice")
	a, b := w.change("a"), w.change("b")
	a.Writes, b.Writes = []string{"start"}, []string{"start"}
	require.ErrorIs(t, procedure(a, b).Validate(), failover.ErrInvalid, "two steps use one fact")
	b.Writes, b.Shares = nil, []string{"start"}
	require.NoError(t, procedure(a, b).Validate(), "and say so")
}

// What is accepted is the same after the journal was closed and opened again.
func TestWhatIsAcceptedSurvivesTheJournal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		any := rapid.StringOf(rapid.RuneFrom(nil, unicode.L, unicode.Cc, unicode.Cf, unicode.Zl, unicode.So))
		odd := func(label string) string {
			return any.Draw(rt, label) + string(rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(rt, label+" bytes"))
		}
		w := newWorld()
		s := w.change("a")
		s.ID, s.Title, s.Target = rapid.StringMatching(`[a-zäöü/ -]{1,20}`).Draw(rt, "id"), "t"+odd("title"), odd("target")
		found, item := odd("found"), odd("item")
		s.Observe = func(context.Context) (failover.Observation, error) {
			return failover.Observation{Done: w.on["a"], Found: found, Would: found,
				Items: []failover.Item{{Target: item, Done: w.on["a"], Found: found}}}, nil
		}
		p := procedure(s)
		p.Parameters = []failover.Parameter{{Name: "p", Value: odd("value")}}
		if p.Validate() != nil {
			return
		}
		store := failovertest.NewStore("x")
		j, err := store.Journal()
		require.NoError(rt, err)
		plan, err := p.Plan(context.Background(), nil)
		require.NoError(rt, err)
		o := options(j)
		o.Approved = plan.Findings
		live, err := p.Run(context.Background(), o)
		require.NoError(rt, err)
		require.NoError(rt, j.Close())
		again, err := store.Journal()
		require.NoError(rt, err)
		one, err := live.JSON()
		require.NoError(rt, err)
		two, err := again.Report().JSON()
		require.NoError(rt, err)
		require.Equal(rt, string(one), string(two))
		require.True(rt, json.Valid(one))
		_, err = p.Plan(context.Background(), again)
		require.NoError(rt, err, "the journal still fits")
	})
}

// hostile has every kind of character that repaints, hides or forges.
const hostile = "x\x1b[2J\x1b]0;t\x07\x00\x7f\u009b31m\u202eevil\u2066\u2028\u2029\r\nFAKE ROW\tapplied\u200b\xff\xfe " +
	"javascript:alert(1) <script>"

func TestForeignTextStaysText(t *testing.T) {
	clean := func(sink, text string) {
		t.Helper()
		require.True(t, utf8.ValidString(text), sink)
		for _, r := range text {
			if r != '\n' && !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
				t.Fatalf("%s shows %U: %q", sink, r, text)
			}
		}
		for line := range strings.Lines(text) {
			require.False(t, strings.HasPrefix(strings.TrimSpace(line), "FAKE ROW"), "%s: a row is forged: %q", sink, text)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.on["c"] = true
		foreign := &failover.Error{Op: hostile, Target: hostile, Next: hostile, Err: errors.New(hostile)}
		s, check := w.change("a"), w.check("c")
		s.Title, s.Target, s.Attempts = hostile, hostile, 1
		s.Observe = func(context.Context) (failover.Observation, error) {
			return failover.Observation{Found: hostile, Would: hostile, Note: hostile,
				Items: []failover.Item{{Target: hostile, Found: hostile}}}, nil
		}
		s.Apply = func(ctx context.Context) error {
			failover.Progress(ctx, hostile)
			return fmt.Errorf("%w and %w", foreign, failover.Targets{{Target: hostile, Err: foreign}, {Target: "b"}}.Err())
		}
		p := procedure(check, s)
		p.Parameters = []failover.Parameter{{Name: "p", Value: hostile}}
		plan, err := p.Plan(t.Context(), nil)
		require.NoError(t, err)
		clean("plan", plan.String())
		raw, err := plan.JSON()
		require.NoError(t, err)
		clean("plan as JSON", string(raw))
		o := options(failovertest.Journal(t))
		o.Actor, o.Reason = hostile, hostile
		o.Observer = func(e failover.Event) { clean("event error", e.Error) }
		o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
			return failover.Approval{By: hostile, From: hostile}, nil
		}
		rep, err := p.Run(t.Context(), o)
		require.Error(t, err)
		clean("error", err.Error())
		clean("report", rep.String())
		raw, err = rep.JSON()
		require.NoError(t, err)
		clean("report as JSON", string(raw))
		var back failover.Report
		require.NoError(t, json.Unmarshal(raw, &back))
		var page bytes.Buffer
		require.NoError(t, rep.WriteHTML(&page))
		clean("page", page.String())
		assert.NotContains(t, page.String(), "<script>")
		assert.Contains(t, page.String(), "Content-Security-Policy")
		clean("fan-out", failover.Targets{{Target: hostile, Err: foreign}}.Err().Error())
		clean("invalid", failover.Invalid(hostile, hostile, hostile).Error())
		clean("printable", failover.Printable(hostile))
	})
	assert.Equal(t, `a\x1bb\u202ec\nd\xff`, failover.Printable("a\x1bb\u202ec\nd\xff"))
	assert.Equal(t, "Ä 漢 €", failover.Printable("Ä 漢 €"))
}

// The awkward characters are those that some transport writes in another way.
func TestASecretIsRedactedInEveryEncoding(t *testing.T) {
	for _, secret := range []string{`CNRYp&Q7`, `p"a'ss\w0rd`, "a/b+c=d?e", "$HOME`id`", "pass word%20", "ümlaut<>",
		"tab\tand\nline", "(*)\\", "not\xffUTF-8"} {
		s := failover.NewSecret(secret)
		raw, err := json.Marshal(map[string]string{"password": secret})
		require.NoError(t, err)
		var noEscape bytes.Buffer
		enc := json.NewEncoder(&noEscape)
		enc.SetEscapeHTML(false)
		require.NoError(t, enc.Encode(secret))
		for what, text := range map[string]string{
			"raw": secret, "JSON": string(raw), "JSON without HTML": noEscape.String(),
			"query": url.Values{"p": {secret}}.Encode(), "path": url.PathEscape(secret),
			"userinfo": (&url.URL{Scheme: "https", User: url.UserPassword("bob", secret), Host: "h"}).String(),
			"basic":    base64.StdEncoding.EncodeToString([]byte("bob:" + secret)),
			"basic 2":  base64.StdEncoding.EncodeToString([]byte("bobb:" + secret)),
			"basic 3":  base64.URLEncoding.EncodeToString([]byte("bobby:" + secret + "x")), "hex": fmt.Sprintf("%x", secret),
			"go":         fmt.Sprintf("%q", secret),
			"sh":         "'" + strings.ReplaceAll(secret, "'", `'\''`) + "'",
			"powershell": "'" + strings.ReplaceAll(secret, "'", "''") + "'",
		} {
			got := failover.Redact("before "+text+" after", s)
			assert.NotEqual(t, "before "+text+" after", got, "%s of %q", what, secret)
			assert.NotContains(t, got, secret)
			assert.Contains(t, got, "[redacted]")
		}
	}
	assert.Equal(t, "x [redacted] y",
		failover.Redact("x password123 y", failover.NewSecret("pass"), failover.NewSecret("password123")),
		"the longest first")
	var fromFile struct{ Password failover.Secret }
	require.NoError(t, json.Unmarshal([]byte(`{"Password":"p"}`), &fromFile))
	assert.Equal(t, "p", fromFile.Password.Reveal())
}

func TestEventsMarshalAndSayWhichRunTheyBelongTo(t *testing.T) {
	w := newWorld()
	j := failovertest.Journal(t)
	o := options(j)
	n := 0
	o.Observer = func(e failover.Event) {
		n++
		assert.Equal(t, j.ID(), e.Journal)
		assert.Equal(t, 1, e.Run)
		raw, err := json.Marshal(e)
		require.NoError(t, err)
		var back failover.Event
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, e.Kind, back.Kind)
		assert.Equal(t, e.Step, back.Step)
	}
	_, err := procedure(w.change("a")).Run(t.Context(), o)
	require.NoError(t, err)
	assert.Positive(t, n)
}

// Three persons, a waiver, a confirmation, a refusal, a resolve, an undo: the report names each.
func TestTheReportAnswersAnExaminer(t *testing.T) {
	w := newWorld()
	p := procedure(w.check("quiet"), w.change("a"),
		failover.Step{ID: "m", Title: "M", Kind: failover.Manual, Help: "Do it."}, w.change("b"))
	p.Parameters = []failover.Parameter{{Name: "from", Value: "symaix1"}}
	blind := true
	p.Stages[0].Steps[3].Attempts = 1
	p.Stages[0].Steps[3].Observe = func(context.Context) (failover.Observation, error) {
		if blind && w.thrown["b"] > 0 {
			return failover.Observation{}, refusal("b")
		}
		return failover.Observation{Done: w.on["b"]}, nil
	}
	p.Stages[0].Steps[3].Apply = func(ctx context.Context) error { return errors.Join(w.throw("b")(ctx), errLost) }
	j := failovertest.Journal(t)
	call := func(actor, reason string, change func(*failover.RunOptions)) error {
		o := failover.RunOptions{Journal: j, Actor: actor, Reason: reason}
		change(&o)
		_, err := p.Run(t.Context(), o)
		return err
	}
	waive := func(o *failover.RunOptions) { o.Waive = map[string]string{"s/quiet": "one job may be cut"} }
	require.ErrorIs(t, call("ann", "undo: CHG-7", waive), failover.ErrWaiting)
	assert.False(t, j.Report().Undo, "a reason is only a reason")
	require.NoError(t, j.Confirm("s/m", failover.Statement{By: "carl", Says: "cable is in", Reason: "saw it"}))
	require.ErrorIs(t, call("bob", "CHG-8", func(o *failover.RunOptions) {
		o.Gate = func(context.Context, failover.Request) (failover.Approval, error) {
			return failover.Approval{By: "policy"}, errors.New("not on Sunday")
		}
	}), failover.ErrRejected)
	require.ErrorIs(t, call("bob", "CHG-9", func(*failover.RunOptions) {}), failover.ErrInDoubt)
	require.NoError(t, j.Resolve("s/b", failover.Applied, "dora", "looked at the target"))
	blind = false
	_, err := p.Undo(t.Context(), failover.RunOptions{Journal: j, Actor: "eve", Reason: "CHG-10"})
	require.NoError(t, err)
	rep := j.Report()
	raw, err := rep.JSON()
	require.NoError(t, err)
	var page bytes.Buffer
	require.NoError(t, rep.WriteHTML(&page))
	for sink, text := range map[string]string{"text": rep.String(), "JSON": string(raw), "page": page.String()} {
		for _, want := range []string{"ann", "bob", "carl", "dora", "eve", "policy", "one job may be cut", "cable is in",
			"looked at the target", "symaix1",
			"CHG-7", "CHG-8", "CHG-9", "CHG-10", "waive", "confirm", "resolve", "reject"} {
			assert.Contains(t, text, want, sink)
		}
	}
	assert.True(t, rep.Undo)
	assert.Equal(t, "eve", rep.Runs[len(rep.Runs)-1].Actor)
	assert.NotZero(t, rep.Runs[0].Holder.PID)
}

func TestAnotherVersionGoesOnWhereItCan(t *testing.T) {
	w := newWorld()
	w.on["check"] = true
	old := procedure(w.change("a"), w.check("check"), w.check("no"), w.once("b"))
	begin := func() *failover.Journal {
		w.on["a"], w.on["b"], w.on["no"] = false, false, false
		j := failovertest.Journal(t)
		_, err := old.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrPrecondition)
		return j
	}
	newer := procedure(w.check("check"), w.check("added"), w.change("a"), w.check("no"), w.once("b"))
	w.on["added"] = true
	j := begin()
	w.on["no"] = true
	rep, err := newer.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, []string{"step s/added was added"}, rep.Changed)
	assert.Equal(t, failover.ResultCompleted, rep.Result)

	j = begin()
	rep, err = newer.Undo(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, failover.ResultUndone, rep.Result)
	assert.False(t, w.on["a"])

	j = begin()
	_, err = procedure(w.check("no"), w.once("b")).Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWrongJournal)
	assert.Contains(t, err.Error(), "step s/a")
	_, err = procedure(w.once("a"), w.once("b")).Undo(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrWrongJournal)
	assert.NotContains(t, failover.NextOf(err), "new journal", "a new one forgets what is in effect")
}

// An outage ends when the service is seen up: at the new side, at the old one again, by itself, by a person's word.
func TestEveryWayBackEndsTheOutage(t *testing.T) {
	for name, back := range map[string]func(t *testing.T, w *world, p *failover.Procedure, j *failover.Journal){
		"run": func(t *testing.T, w *world, p *failover.Procedure, j *failover.Journal) {
			p.Stages[0].Steps[1].Apply = w.throw("start")
			_, err := p.Run(t.Context(), options(j))
			require.NoError(t, err)
		},
		"undo": func(t *testing.T, _ *world, p *failover.Procedure, j *failover.Journal) {
			_, err := p.Undo(t.Context(), options(j))
			require.NoError(t, err)
		},
		"by itself": func(t *testing.T, w *world, p *failover.Procedure, j *failover.Journal) {
			w.on["start"] = true
			_, err := p.Run(t.Context(), options(j))
			require.NoError(t, err)
		},
		"a person": func(t *testing.T, _ *world, p *failover.Procedure, j *failover.Journal) {
			p.Stages[0].Steps[1].Apply = func(context.Context) error { return errLost }
			_, err := p.Run(t.Context(), options(j))
			require.ErrorIs(t, err, failover.ErrInDoubt)
			require.NoError(t, j.Resolve("down/start", failover.Applied, "op", "it is up"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				p := downWhile(w.change("stop"), w.change("start"))
				p.Stages[0].Steps[1].Attempts = 1
				p.Stages[0].Steps[1].Apply = func(context.Context) error { return refusal("start") }
				j := failovertest.Journal(t)
				rep, err := p.Run(t.Context(), options(j))
				require.Error(t, err)
				require.Len(t, rep.Outages, 1)
				require.False(t, rep.Outages[0].Ended)
				time.Sleep(time.Minute)
				back(t, w, &p, j)
				rep = j.Report()
				require.Len(t, rep.Outages, 1)
				assert.True(t, rep.Outages[0].Ended)
				assert.GreaterOrEqual(t, rep.Outages[0].Duration(), time.Minute)
			})
		})
	}
	w := newWorld()
	p := downWhile(w.change("stop"), w.change("start"))
	p.Stages[0].Steps[0].Apply = func(context.Context) error {
		return &failover.Error{Outcome: failover.NotApplied, Err: failover.ErrRejected}
	}
	rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
	require.Error(t, err)
	assert.Empty(t, rep.Outages, "nothing was taken down")

	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p := downWhile(w.change("move"))
		p.Stages[0].Steps[0].Apply = func(context.Context) error {
			time.Sleep(time.Minute)
			return &failover.Error{Op: "move", Outcome: failover.NotApplied, Next: "ask",
				Err: fmt.Errorf("%w: back where it was", failover.ErrReverted)}
		}
		p.Stages[0].Steps[0].Attempts, p.Stages[0].Steps[0].Timeout = 1, time.Hour
		rep, err := p.Run(t.Context(), options(failovertest.Journal(t)))
		require.ErrorIs(t, err, failover.ErrReverted)
		assert.Equal(t, failover.ResultFailed, rep.Result, "nothing of it is in effect")
		require.Len(t, rep.Outages, 1, "but the service was down")
		assert.True(t, rep.Outages[0].Ended)
		assert.Equal(t, time.Minute, rep.Outages[0].Duration())
	})
}

// A service that is taken down again by an undo was down, also where a Check had seen it up.
func TestAnUndoBehindTheWindowIsAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		start := w.change("start")
		start.Undo = func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return w.back("start")(ctx)
		}
		start.Timeout = time.Hour
		stop := w.change("stop")
		stop.Undo = func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return w.back("stop")(ctx)
		}
		stop.Timeout = time.Hour
		seen := failover.Step{ID: "seen", Title: "It is up", Kind: failover.Check, Observe: w.observe("start")}
		p, j := downWhile(stop, start, seen), failovertest.Journal(t)
		rep, err := p.Run(t.Context(), options(j))
		require.NoError(t, err)
		require.Len(t, rep.Outages, 1)
		time.Sleep(time.Hour)
		rep, err = p.Undo(t.Context(), options(j))
		require.NoError(t, err)
		require.Len(t, rep.Outages, 2)
		assert.True(t, rep.Outages[1].Ended)
		assert.Equal(t, 2*time.Minute, rep.Outages[1].Duration())
	})
}

// A person who says that nothing was done says that nothing was down.
func TestAnOutageThatAPersonRulesOutWasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		p, j := downWhile(w.change("stop"), w.change("start")), failovertest.Journal(t)
		p.Stages[0].Steps[0].Attempts = 1
		p.Stages[0].Steps[0].Apply = func(context.Context) error { return errLost }
		_, err := p.Run(t.Context(), options(j))
		require.ErrorIs(t, err, failover.ErrInDoubt)
		time.Sleep(72 * time.Hour)
		require.NoError(t, j.Resolve("down/stop", failover.NotApplied, "op", "it never stopped"))
		assert.Empty(t, j.Report().Outages)
	})
}

// What holds for one target says nothing of another one that a later version of the program means by the same ID.
func TestAnotherVersionLooksAtAnotherTargetItself(t *testing.T) {
	w := newWorld()
	w.on["stop"], w.on["ready"] = true, true
	old, j := procedure(w.change("stop"), w.check("ready"), w.check("no")), failovertest.Journal(t)
	_, err := old.Run(t.Context(), options(j))
	require.ErrorIs(t, err, failover.ErrPrecondition)
	w.on["no"], w.on["stop"] = true, false
	elsewhere := w.change("stop")
	elsewhere.Target = "another box"
	ready := w.check("ready")
	ready.Kind, ready.Apply, ready.Undo = failover.Change, w.throw("ready"), w.back("ready")
	w.on["ready"] = false
	newer := procedure(elsewhere, ready, w.check("no"))
	plan, err := newer.Plan(t.Context(), j)
	require.NoError(t, err)
	assert.Equal(t, failover.ActionApply, plan.Steps[0].Action)
	assert.Equal(t, failover.ActionApply, plan.Steps[1].Action)
	rep, err := newer.Run(t.Context(), options(j))
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"stop": 1, "ready": 1}, w.thrown, "already so on the old target is no word on the new")
	assert.Equal(t, failover.StatusApplied, statusOf(t, rep, "s/stop"))
}

func TestASecretIsRedactedAsOthersEscapeIt(t *testing.T) {
	s := failover.NewSecret(`P"ä+'𝄞&z`)
	for what, text := range map[string]string{
		// System.Text.Json escapes everything that is not ASCII, and quotes, plus and ampersand.
		".NET": `P\u0022\u00E4\u002B\u0027\uD834\uDD1E\u0026z`,
		// Python's json.dumps and JavaScriptSerializer write small digits.
		"Python":         `P\"\u00e4+'\ud834\udd1e&z`,
		"PowerShell 5.1": `P\"ä+\u0027𝄞\u0026z`,
		"XML in numbers": `P&#34;&#228;+&#39;&#119070;&#38;z`,
		"XML in hex":     `P&#x22;&#xE4;&#x2B;&#x27;&#x1D11E;&#x26;z`,
		"LDAP in hex":    `P\22\c3\a4\2b\27\f0\9d\84\9e\26z`,
		"query, mixed":   `P%22%C3%a4%2B'%F0%9D%84%9E%26z`,
		"JSON in JSON":   `P\\\"ä+'𝄞&z`,
		"EncodedCommand": base64.StdEncoding.EncodeToString(
			[]byte("P\x00\"\x00\xe4\x00+\x00'\x00\x34\xd8\x1e\xdd&\x00z\x00")),
		"inside PS UTF16": base64.StdEncoding.EncodeToString(
			[]byte("x\x00P\x00\"\x00\xe4\x00+\x00'\x00\x34\xd8\x1e\xdd&\x00z\x00x\x00")),
	} {
		got := failover.Redact("before "+text+" after", s)
		assert.Contains(t, got, "[redacted]", what)
		assert.NotContains(t, got, "z ", what)
	}
}

// The file of a journal comes from elsewhere: from a ticket, from another machine.
func TestAForeignJournalForgesNoRow(t *testing.T) {
	rep := &failover.Report{Procedure: "p", Journal: "J\n 1  applied  FAKE ROW", Definition: "d\x1b[2J",
		Outages: []failover.Outage{{Part: "a\x1b[2J", From: time.Now()}},
		Steps: []failover.StepReport{{StepInfo: failover.StepInfo{ID: "a\nFAKE ROW", Title: "t", Kind: failover.Check},
			Error: "e"}}}
	var page bytes.Buffer
	require.NoError(t, rep.WriteHTML(&page))
	for _, text := range []string{rep.String(), page.String()} {
		assert.NotContains(t, text, "\x1b")
		for line := range strings.Lines(text) {
			assert.False(t, strings.HasPrefix(strings.TrimSpace(line), "FAKE ROW"), text)
			assert.False(t, strings.HasPrefix(strings.TrimSpace(line), "1  applied"), text)
		}
	}
}

func TestThePageSaysWhatTheTextSays(t *testing.T) {
	w := newWorld()
	a := w.change("a")
	a.Undo = func(context.Context) error { return errLost }
	a.Timeout = 20 * time.Millisecond
	p, j := downWhile(a, w.check("no")), failovertest.Journal(t)
	_, err := p.Run(t.Context(), options(j))
	require.Error(t, err)
	rep, err := p.Undo(t.Context(), options(j))
	require.Error(t, err)
	rep.Outages = append(rep.Outages, failover.Outage{Part: "mail", From: rep.Began})
	var page bytes.Buffer
	require.NoError(t, rep.WriteHTML(&page))
	for _, text := range []string{rep.String(), page.String()} {
		assert.Contains(t, text, "the journal can only be undone")
		assert.Contains(t, text, "whether it was taken back is in doubt")
		assert.Contains(t, text, "utage of mail since")
	}
}

func TestValuesThatWouldNotStayTheSameAreNoFacts(t *testing.T) {
	for value, fits := range map[string]bool{"M\xfcller": false, "Müller": true, "\ufffd": true, `a \ufffd`: true,
		`\\ufffd`: true} {
		w := newWorld()
		s := w.change("a")
		s.Writes = []string{"owner", "owners"}
		s.Apply = func(ctx context.Context) error {
			if err := (failover.FactMap[string]{Name: "owners"}).Put(ctx, "k", value); err != nil {
				return err
			}
			if err := (failover.Fact[string]{Name: "owner"}).Save(ctx, value); err != nil {
				return err
			}
			return w.throw("a")(ctx)
		}
		_, err := procedure(s).Run(t.Context(), options(failovertest.Journal(t)))
		if fits {
			require.NoError(t, err, "%q", value)
			continue
		}
		require.ErrorIs(t, err, failover.ErrPrecondition, "%q", value)
		assert.Empty(t, w.thrown)
	}
}
