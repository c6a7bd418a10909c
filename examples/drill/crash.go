package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/01b61c5c/failover"
)

// crash says at which record this process is killed.
type crash struct {
	step  string // as the command line names it; "" is never
	after bool   // at the record of the outcome instead of the first record of the step
}

func (c crash) at(kind string) bool {
	if c.after {
		return kind == "outcome"
	}
	return kind == "intent" || kind == "observed" || kind == "waive" || kind == "confirm"
}

// crashing is a journal in a file. It kills this process as soon as the record is durable at which it has to die: the
// next thing the run does never happens.
type crashing struct {
	failover.Store
	crash crash
	act   act
}

// Create implements failover.Store.
func (s crashing) Create(ctx context.Context, h failover.Holder) (failover.StoreWriter, error) {
	return s.writer(s.Store.Create(ctx, h))
}

// Open implements failover.Store.
func (s crashing) Open(ctx context.Context, h failover.Holder) (failover.StoreWriter, error) {
	return s.writer(s.Store.Open(ctx, h))
}

func (s crashing) writer(w failover.StoreWriter, err error) (failover.StoreWriter, error) {
	if err != nil {
		return nil, err
	}
	return crashingWriter{w, s}, nil
}

type crashingWriter struct {
	failover.StoreWriter
	store crashing
}

// Append implements failover.StoreWriter.
func (w crashingWriter) Append(line []byte) error {
	if err := w.StoreWriter.Append(line); err != nil {
		return err
	}
	var rec struct {
		Type string `json:"type"`
		Step string `json:"step"`
	}
	if err := json.Unmarshal(line, &rec); err != nil {
		return err
	}
	if rec.Step != "" && w.store.act.step(rec.Step) == w.store.crash.step && w.store.crash.at(rec.Type) {
		killSelf()
	}
	return nil
}

// killSelf ends the process the way a power cut would: no defer runs, nothing is flushed.
func killSelf() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		_ = p.Kill()
	}
	select {} // the signal is on its way
}
