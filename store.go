package failover

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/user"
)

// Store keeps the lines of one journal. [JournalFile] is the one for a file; package failovertest has one in memory.
//
// Every method ends with its context. What Open and Create return is written by one holder: while it is open, nobody
// else gets it, from whatever machine, and a holder that lost it is refused by Append.
type Store interface {
	// Create makes the journal and opens it for writing. It fails with an error wrapping fs.ErrExist when there is
	// something already.
	Create(context.Context, Holder) (StoreWriter, error)
	// Open opens an existing journal for writing. It fails with ErrJournalBusy while another holder has it, and changes
	// nothing.
	Open(context.Context, Holder) (StoreWriter, error)
	// Read returns the complete lines, each without its line break, also while somebody writes.
	Read(context.Context) ([][]byte, error)
	// Watch returns nil as soon as there are more than so many lines, and an error when ctx ends.
	Watch(ctx context.Context, lines int) error
	// InUse reports whether a holder, this process included, has the journal open for writing now.
	InUse(context.Context) (bool, error)
	// String says where the journal lies, for messages.
	String() string
}

// StoreWriter is a journal open for writing by one holder.
type StoreWriter interface {
	// Lines returns the complete lines that were there when it was opened, each without its line break.
	Lines() [][]byte
	// Append adds one line and returns when it is durable. On an error nothing of the line stays, so that the next Append
	// may follow, or every further Append fails too. It fails with ErrJournalDamaged when the journal is no longer what was
	// opened.
	Append(line []byte) error
	// Place names the store in the same way on every machine and differs for every copy of it; "" when it cannot. A lock
	// that an earlier holder of the same place left is ours to take over: only one holder has a place at a time.
	Place() string
	// Close gives the journal free.
	Close() error
}

// Holder says who has a journal open for writing, and with it a lock.
type Holder struct {
	Token string `json:"token"`          // random, one per opening
	Host  string `json:"host,omitempty"` // name of the machine
	User  string `json:"user,omitempty"` // account of the process
	PID   int    `json:"pid,omitempty"`  // process ID there
}

// thisProcess is a new holder of this process.
func thisProcess() Holder {
	h := Holder{Token: rand.Text(), PID: os.Getpid()}
	h.Host, _ = os.Hostname() // what cannot be told is left out
	if u, err := user.Current(); err == nil {
		h.User = u.Username
	}
	return h
}

func journalError(op, path, next string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Target == path {
		return err
	}
	return &Error{Op: op, Target: path, Outcome: NotApplied, Next: next, Err: err}
}
