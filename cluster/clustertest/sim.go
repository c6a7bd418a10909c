package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/01b61c5c/failover/cluster"
)

// Sim is a simulated cluster. It is safe for concurrent use, and one opened on a directory also by several processes.
type Sim struct {
	mu    sync.Mutex
	model *Model       // in memory; nil when dir is set
	dir   string       // where state.json lives
	file  *flock.Flock // guards dir between processes
}

// Start makes a cluster in memory for a test.
func Start(tb testing.TB, m Model) *Sim {
	tb.Helper()
	s, err := Open("", m)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Open goes on with the cluster kept in dir. When there is none yet, it starts one as the model says; without a dir it
// lives in memory.
func Open(dir string, m Model) (*Sim, error) {
	if dir == "" {
		c, err := m.clone()
		return &Sim{model: c}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("clustertest: %w", err)
	}
	s := &Sim{dir: dir, file: flock.New(filepath.Join(dir, "lock"))}
	return s, s.within(func() error {
		_, err := os.Stat(s.path())
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return s.write(&m)
	})
}

func (s *Sim) path() string { return filepath.Join(s.dir, "state.json") }

// within runs f while no other goroutine or process touches the model.
func (s *Sim) within(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" {
		return f()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := s.file.TryLockContext(ctx, 2*time.Millisecond); err != nil {
		return fmt.Errorf("clustertest: lock %s: %w", s.dir, err)
	}
	return errors.Join(f(), s.file.Unlock())
}

func (s *Sim) read() (*Model, error) {
	if s.dir == "" {
		return s.model.clone()
	}
	raw, err := os.ReadFile(s.path())
	if err != nil {
		return nil, fmt.Errorf("clustertest: %w", err)
	}
	m := new(Model)
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("clustertest: read %s: %w", s.path(), err)
	}
	return m.clone()
}

func (s *Sim) write(m *Model) error {
	if s.dir == "" {
		s.model = m
		return nil
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("clustertest: %w", err)
	}
	// By rename, so that a kill leaves the old state or the new one.
	tmp := s.path() + ".new"
	if err := os.WriteFile(tmp, raw, 0o644); err != nil {
		return fmt.Errorf("clustertest: %w", err)
	}
	if err := os.Rename(tmp, s.path()); err != nil {
		return fmt.Errorf("clustertest: %w", err)
	}
	return nil
}

// Update changes the model. Nothing is kept when f returns an error. Every change is audited for services that run on
// two nodes.
func (s *Sim) Update(f func(*Model) error) error {
	return s.within(func() error {
		m, err := s.read()
		if err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
		m.audit()
		return s.write(m)
	})
}

// Model returns a copy of the present state. No time passes.
func (s *Sim) Model() (*Model, error) {
	var m *Model
	err := s.within(func() (err error) {
		m, err = s.read()
		return err
	})
	return m, err
}

// Arm makes the fault called name happen to the group: at once where it is a condition, otherwise at its next move.
func (s *Sim) Arm(name, group string) error {
	return s.Update(func(m *Model) error { return m.provoke(name, group) })
}

// Cluster returns the simulated cluster behind the interface, without a network.
func (s *Sim) Cluster() (cluster.Cluster, error) {
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	d := &driver{sim: s, keeps: m.Style == StylePacemaker}
	for _, n := range m.Nodes {
		d.nodes = append(d.nodes, n.Name)
	}
	return cluster.New(d, cluster.Config{})
}
