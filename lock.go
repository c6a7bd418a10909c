package failover

import (
	"context"
	"time"
)

// Claim says who holds a lock and for what. A lock keeps all of it.
type Claim struct {
	// ID: random, one per holder of a journal: two copies of one journal have different ones
	ID      string    `json:"id"`
	Journal string    `json:"journal,omitempty"` // ID of the journal
	Holder  Holder    `json:"holder,omitzero"`   // who has the journal open
	Place   string    `json:"place,omitempty"`   // where the journal lies; see StoreWriter
	Epoch   int       `json:"epoch,omitempty"`   // counts the runs of the journal
	Owner   string    `json:"owner"`             // the person or service that runs the procedure
	Purpose string    `json:"purpose"`           // procedure and reason
	Since   time.Time `json:"since"`             // UTC, when the journal was begun
}

// Lock is mutual exclusion that lives in the target system, where every machine that could start a run sees it. It
// never expires by itself. A resumed run has a claim of its own: what an earlier holder of the same journal at the
// same place left is taken over by the engine, everything else by a person, with [Procedure.TakeOverLock].
type Lock interface {
	// Acquire takes the lock for the claim. It succeeds when the lock is already held under the same Claim.ID, and
	// returns an error wrapping ErrLocked, with the holder in its text, when somebody else has it, also under the same
	// Claim.Journal.
	Acquire(context.Context, Claim) error
	// Check returns nil while the lock is held under the claim's ID, and an error wrapping ErrLockLost when it is not.
	Check(context.Context, Claim) error
	// Release gives the lock back. Releasing a lock that is not held under the claim's ID changes nothing and is no error.
	Release(context.Context, Claim) error
	// Holder returns who has the lock, with every field of the claim; the bool is false when nobody has.
	Holder(context.Context) (Claim, bool, error)
	// TakeOver replaces the holder named by from with the claim to. It fails with ErrLocked when the holder is another
	// one.
	TakeOver(ctx context.Context, from, to Claim) error
}
