package failovertest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/01b61c5c/failover"
)

// TestStore checks the rules of [failover.Store] on a store in which nothing is. Two stores made by open with one name
// must stand for the same journal, and with two names for two.
func TestStore(t *testing.T, open func(tb testing.TB, name string) failover.Store) {
	t.Helper()
	ctx := t.Context()
	here, there := open(t, "one"), open(t, "one")
	holder := func(token string) failover.Holder { return failover.Holder{Token: token, Host: "host-" + token} }
	refuses := func(what string, want, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%s: got %v, want an error wrapping %q", what, err, want)
		}
	}
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := here.Open(ctx, holder("A"))
	refuses("open what is not there", fs.ErrNotExist, err)
	_, err = here.Read(ctx)
	refuses("read what is not there", fs.ErrNotExist, err)
	w, err := here.Create(ctx, holder("A"))
	must("create", err)
	must("append", w.Append([]byte(`{"line":1}`)))
	_, err = there.Create(ctx, holder("B"))
	refuses("create it twice", fs.ErrExist, err)
	_, err = there.Open(ctx, holder("B"))
	refuses("open it while it is held", failover.ErrJournalBusy, err)
	used, err := there.InUse(ctx)
	must("ask whether it is in use", err)
	if !used {
		t.Fatal("it is not in use while it is held")
	}
	lines := func(want ...string) {
		t.Helper()
		got, err := there.Read(ctx)
		must("read", err)
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d", len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], []byte(want[i])) {
				t.Fatalf("line %d is %q, want %q", i+1, got[i], want[i])
			}
		}
	}
	lines(`{"line":1}`)
	waited := make(chan error, 1)
	go func() { waited <- there.Watch(ctx, 1) }()
	must("append", w.Append([]byte(`{"line":2}`)))
	must("watch", <-waited)
	lines(`{"line":1}`, `{"line":2}`)
	place := w.Place()
	must("close", w.Close())
	if used, err = there.InUse(ctx); err != nil || used {
		t.Fatalf("it is in use after it was closed: %v", err)
	}
	again, err := there.Open(ctx, holder("B"))
	must("open it again", err)
	if place == "" || again.Place() != place {
		t.Fatalf("the place was %q and is %q", place, again.Place())
	}
	if len(again.Lines()) != 2 {
		t.Fatalf("%d lines after it was opened again, want 2", len(again.Lines()))
	}
	if err := w.Append([]byte(`{"line":"late"}`)); err == nil {
		t.Fatal("a holder that has closed it can still write")
	}
	must("append as the new holder", again.Append([]byte(`{"line":3}`)))
	must("close", again.Close())
	lines(`{"line":1}`, `{"line":2}`, `{"line":3}`)
	second, err := open(t, "two").Create(ctx, holder("C"))
	must("create another one", err)
	if second.Place() == place {
		t.Fatal("two journals have one place")
	}
	must("close", second.Close())
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := here.Watch(ended, 99); err == nil {
		t.Fatal("watch goes on after its context has ended")
	}
}
