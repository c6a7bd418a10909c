package idmtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"

	"github.com/01b61c5c/failover"
)

// store is the folder a tree keeps its state in: one line of JSON per effect, the whole line or nothing.
type store struct {
	file *os.File
	lock *flock.Flock
}

const (
	stateFile     = "state.jsonl"
	authorityFile = "ca.pem"
	stateFormat   = 1
)

type storeHeader struct {
	Format    int
	Config    Config
	Authority savedKey
	Servers   []savedKey
}

// Open builds the tree cfg describes and starts its servers; Close ends them. Without a dir it lives in memory. With one
// its state is written to dir after each effect and before its answer is sent, so that a process that is killed at any moment can be followed by another one that opens dir and finds everything as it
// was, on the same addresses with the same certificates. The servers go on as if nothing had happened: opening is not a
// restart of the simulated servers. The record of requests and armed faults are not kept.
//
// When dir holds a tree already, cfg gives only Now, Logger and KeepRequests; everything else comes from dir. One
// process at a time can have dir open.
//
// It returns an error that wraps [failover.ErrInvalid] when cfg cannot be built.
func Open(dir string, cfg Config) (*Tree, error) {
	if dir == "" {
		return inMemory(cfg)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("idmtest: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return nil, failover.Invalid("dir", "another process has "+dir+" open", "a folder of its own for each tree")
	}
	t, err := openState(dir, cfg)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	t.store.lock = lock
	if err := os.WriteFile(filepath.Join(dir, authorityFile), t.RootPEM(), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("idmtest: %w", err), t.Close())
	}
	if err := t.listenAll(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.commit()
	return t, nil
}

func openState(dir string, cfg Config) (*Tree, error) {
	path := filepath.Join(dir, stateFile)
	old, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return createState(path, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("idmtest: %w", err)
	}
	defer func() { _ = old.Close() }()
	return loadState(path, old, cfg)
}

func createState(path string, cfg Config) (*Tree, error) {
	t, err := newTree(cfg)
	if err != nil {
		return nil, err
	}
	if t.ca, err = newAuthority(t.cfg.Name, t.cfg.LegacyTLS); err != nil {
		return nil, err
	}
	for _, s := range t.servers {
		if s.cert, err = t.ca.issue(s.name, int64(s.index)+2); err != nil {
			return nil, err
		}
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	return t, t.rewrite(path)
}

// rewrite writes the whole state as a header and one line, beside the old file and then over it.
func (t *Tree) rewrite(path string) error {
	h := storeHeader{Format: stateFormat, Config: t.cfg, Authority: saveAuthority(t.ca)}
	for _, s := range t.servers {
		h.Servers = append(h.Servers, saveCertificate(s.cert))
	}
	t.markAll()
	var b bytes.Buffer
	for _, v := range []any{h, t.dirtyValues()} {
		line, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("idmtest: %w", err)
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	if err := os.WriteFile(path+".new", b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("idmtest: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("idmtest: %w", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("idmtest: %w", err)
	}
	t.store = &store{file: f}
	t.dirty = map[string]bool{}
	return nil
}

func loadState(path string, file io.Reader, cfg Config) (*Tree, error) {
	r := bufio.NewReaderSize(file, 1<<20)
	line, err := r.ReadBytes('\n')
	var h storeHeader
	if err != nil || json.Unmarshal(line, &h) != nil || h.Format != stateFormat {
		return nil, failover.Invalid("dir", path+" is not the state of a tree",
			"an empty folder or one that Open has written")
	}
	h.Config.Now, h.Config.Logger, h.Config.KeepRequests = cfg.Now, cfg.Logger, cfg.KeepRequests
	t, err := newTree(h.Config)
	if err != nil {
		return nil, err
	}
	if t.ca, err = h.Authority.authority(t.cfg.LegacyTLS); err != nil {
		return nil, err
	}
	for i, s := range t.servers {
		if i >= len(h.Servers) {
			return nil, failover.Invalid("dir", path+" lacks the keys of "+s.name, "a folder that Open has written")
		}
		if s.cert, err = h.Servers[i].certificate(); err != nil {
			return nil, err
		}
	}
	state := map[string]json.RawMessage{}
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break // a torn last line belongs to an effect that nobody was told of
		}
		var change map[string]json.RawMessage
		if err := json.Unmarshal(line, &change); err != nil {
			return nil, failover.Invalid("dir", path+" is damaged", "a folder that Open has written")
		}
		for k, v := range change {
			if string(v) == "null" {
				delete(state, k)
			} else {
				state[k] = v
			}
		}
	}
	if err := t.restore(state); err != nil {
		return nil, err
	}
	return t, t.rewrite(path)
}

func (s *store) close() error {
	return errors.Join(s.file.Close(), s.lock.Unlock())
}

// The keys of the state. Every record is small enough to be written whole.
func (t *Tree) markDriver(s *Server, id int) {
	t.dirty["d/"+strconv.Itoa(s.index)+"/"+strconv.Itoa(id)] = true
}
func (t *Tree) markServer(s *Server) { t.dirty["s/"+strconv.Itoa(s.index)] = true }
func (t *Tree) markApp(id int)       { t.dirty["a/"+strconv.Itoa(id)] = true }
func (t *Tree) markObject(id int)    { t.dirty["o/"+strconv.Itoa(id)] = true }
func (t *Tree) markTree()            { t.dirty["t"] = true }

func (t *Tree) markEntry(n *node) {
	t.dirty["e/"+strconv.Itoa(n.id)] = true
	t.noteNames(n)
}

func (t *Tree) markGone(n *node) {
	t.dirty["e/"+strconv.Itoa(n.id)] = true
	delete(t.namers, n.id)
}

func (t *Tree) markAll() {
	t.markTree()
	for _, n := range t.nodes {
		t.markEntry(n)
	}
	for _, s := range t.servers {
		t.markServer(s)
		for id := range s.engine.drivers {
			t.markDriver(s, id)
		}
	}
	for id := range t.apps {
		t.markApp(id)
	}
	for id := range t.objects {
		t.markObject(id)
	}
}

// commit makes the effects since the last commit durable. A tree in memory only forgets that they happened.
func (t *Tree) commit() {
	if len(t.dirty) == 0 {
		return
	}
	if t.store != nil {
		line, err := json.Marshal(t.dirtyValues())
		if err == nil {
			_, err = t.store.file.Write(append(line, '\n'))
		}
		if err != nil {
			t.cfg.Logger.Error("state not written", "error", err)
		}
	}
	clear(t.dirty)
}
