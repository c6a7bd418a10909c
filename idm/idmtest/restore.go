package idmtest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

type savedEntry struct {
	Parent    int
	Name      string
	Shared    map[string]savedAttribute
	Local     map[string]map[string]savedAttribute `json:",omitempty"`
	Password  string                               `json:",omitempty"`
	Partition bool                                 `json:",omitempty"`
	Created   time.Time
	Modified  time.Time
	Revision  int
}

type savedAttribute struct {
	Name   string
	Values [][]byte
}

type savedServer struct {
	Up, Reachable bool
	Ports         [2]int
	Replicas      map[int]ReplicaType
	Engine        *engine
	Vault         map[int]*vault
	Jobs          map[int]*engineJob
	LastEvent     uint64
	RingDelta     int
}

type savedTree struct {
	NextID   int
	Event    uint64
	Overlaps []Overlap
}

func saveSet(a attrSet) map[string]savedAttribute {
	m := make(map[string]savedAttribute, len(a))
	for k, v := range a {
		m[k] = savedAttribute{Name: v.name, Values: v.values}
	}
	return m
}

func loadSet(m map[string]savedAttribute) attrSet {
	a := make(attrSet, len(m))
	for k, v := range m {
		a[k] = attribute{name: v.Name, values: v.Values}
	}
	return a
}

func (t *Tree) dirtyValues() map[string]any {
	values := make(map[string]any, len(t.dirty))
	for key := range t.dirty {
		values[key] = t.value(key)
	}
	return values
}

func (t *Tree) value(key string) any {
	parts := strings.Split(key, "/")
	id := 0
	if len(parts) > 1 {
		id, _ = strconv.Atoi(parts[len(parts)-1]) // keys are our own
	}
	switch parts[0] {
	case "e":
		n := t.nodes[id]
		if n == nil {
			return nil
		}
		e := savedEntry{Parent: -1, Name: n.name.text, Shared: saveSet(n.shared), Password: n.password,
			Partition: n.partition, Created: n.created, Modified: n.modified, Revision: n.revision}
		if n.parent != nil {
			e.Parent = n.parent.id
		}
		for name, set := range n.local {
			if e.Local == nil {
				e.Local = map[string]map[string]savedAttribute{}
			}
			e.Local[name] = saveSet(set)
		}
		return e
	case "d":
		index, _ := strconv.Atoi(parts[1])
		if d := t.servers[index].engine.drivers[id]; d != nil {
			return d
		}
	case "s":
		s := t.servers[id]
		return savedServer{Up: s.up, Reachable: s.reachable, Ports: s.ports, Replicas: s.replicas, Engine: s.engine,
			Vault: s.engine.vault, Jobs: s.engine.jobs, LastEvent: s.lastEvent, RingDelta: s.ringDelta}
	case "a":
		if a := t.apps[id]; a != nil {
			return a
		}
	case "o":
		if o := t.objects[id]; o != nil {
			return o
		}
	case "t":
		return savedTree{NextID: t.nextID, Event: t.event, Overlaps: t.overlaps}
	}
	return nil
}

// restore builds the tree from its saved records.
func (t *Tree) restore(state map[string]json.RawMessage) error {
	entries := map[int]savedEntry{}
	for key, raw := range state {
		parts := strings.Split(key, "/")
		id, _ := strconv.Atoi(parts[len(parts)-1])
		var err error
		switch parts[0] {
		case "e":
			var e savedEntry
			err = json.Unmarshal(raw, &e)
			entries[id] = e
		case "a":
			a := t.app(id)
			err = json.Unmarshal(raw, a)
		case "o":
			o := &object{}
			err = json.Unmarshal(raw, o)
			t.objects[id] = o
		case "t":
			var saved savedTree
			err = json.Unmarshal(raw, &saved)
			t.nextID, t.event, t.overlaps = saved.NextID, saved.Event, saved.Overlaps
		case "s", "d":
			err = t.restoreServer(parts, id, raw)
		}
		if err != nil {
			return fmt.Errorf("idmtest: state record %s: %w", key, err)
		}
	}
	return t.restoreEntries(entries)
}

func (t *Tree) restoreServer(parts []string, id int, raw json.RawMessage) error {
	index := id
	if parts[0] == "d" {
		index, _ = strconv.Atoi(parts[1])
	}
	if index >= len(t.servers) {
		return fmt.Errorf("no server %d", index)
	}
	s := t.servers[index]
	if parts[0] == "d" {
		d := &engineDriver{}
		s.engine.drivers[id] = d
		return json.Unmarshal(raw, d)
	}
	saved := savedServer{Engine: s.engine}
	if err := json.Unmarshal(raw, &saved); err != nil {
		return err
	}
	s.up, s.reachable, s.ports, s.replicas = saved.Up, saved.Reachable, saved.Ports, saved.Replicas
	s.lastEvent, s.ringDelta = saved.LastEvent, saved.RingDelta
	s.engine.vault, s.engine.jobs = saved.Vault, saved.Jobs
	return nil
}

func (t *Tree) restoreEntries(entries map[int]savedEntry) error {
	var build func(id int) (*node, error)
	build = func(id int) (*node, error) {
		if n := t.nodes[id]; n != nil && id != 0 {
			return n, nil
		}
		e, ok := entries[id]
		if !ok {
			return nil, fmt.Errorf("idmtest: entry %d is missing from the state", id)
		}
		n := t.root
		if id != 0 {
			parent, err := build(e.Parent)
			if err != nil {
				return nil, err
			}
			name, err := parseRDN(e.Name)
			if err != nil {
				return nil, fmt.Errorf("idmtest: entry %d: %w", id, err)
			}
			n = newNode(id, name, parent)
			n.attach(parent)
			t.nodes[id] = n
		}
		n.shared, n.password, n.partition = loadSet(e.Shared), e.Password, e.Partition
		n.created, n.modified, n.revision = e.Created, e.Modified, e.Revision
		for name, set := range e.Local {
			n.local[name] = loadSet(set)
		}
		t.noteNames(n)
		return n, nil
	}
	for _, id := range sortedKeys(entries) {
		if _, err := build(id); err != nil {
			return err
		}
	}
	return nil
}
