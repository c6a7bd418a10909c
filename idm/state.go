package idm

import (
	"fmt"

	"github.com/01b61c5c/failover/internal/enum"
)

// State is what a driver does on one server.
type State int

// The states of a driver. A failed start goes from StateStarting back to StateStopped.
const (
	StateStopped       State = 0
	StateStarting      State = 1
	StateRunning       State = 2
	StateStopping      State = 3 // shutdown pending
	StateGettingSchema State = 11
)

var stateNames = []string{StateStopped: "stopped", StateStarting: "starting", StateRunning: "running",
	StateStopping: "stopping", StateGettingSchema: "getting schema"}

// String returns the state in words.
func (s State) String() string { return enum.Name(stateNames, s) }

// StartOption says what the engine of one server does with a driver. It is a per-server value.
type StartOption int

const (
	// StartDisabled: the driver cannot start and no events are cached.
	StartDisabled StartOption = 0
	// StartManual: events are cached, the driver starts on request.
	StartManual StartOption = 1
	// StartAuto: events are cached, the driver starts with the server.
	StartAuto StartOption = 2
	// StartOverflowManual is reported after a cache overflow, never set (seen as a vendor constant).
	StartOverflowManual StartOption = 3
	// StartOverflowAuto is reported after a cache overflow, never set (seen as a vendor constant).
	StartOverflowAuto StartOption = 4
)

var startOptionNames = []string{StartDisabled: "disabled", StartManual: "manual", StartAuto: "auto",
	StartOverflowManual: "manual (cache overflow)", StartOverflowAuto: "auto (cache overflow)"}

// String returns the start option in words.
func (o StartOption) String() string { return enum.Name(startOptionNames, o) }

// enabled reports whether a driver with this option caches events. A number that nobody has published says nothing.
func (o StartOption) enabled() bool { return o >= StartManual && o <= StartOverflowAuto }

// settable is the start option that is set to get this one: the two overflow options are reported, never set.
func (o StartOption) settable() StartOption {
	switch o {
	case StartOverflowManual:
		return StartManual
	case StartOverflowAuto:
		return StartAuto
	}
	return o
}

// Resync says what happens when a driver leaves Disabled.
type Resync int

const (
	// ResyncNone: do not synchronize automatically. It is the choice of the published failover procedure and the zero
	// value.
	ResyncNone Resync = iota
	// ResyncEvents: the engine synchronizes everything.
	ResyncEvents
)

// Version is the packed version of an engine.
type Version uint32

// String returns for example "4.8.7.0 build 3".
func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d.%d build %d", v>>28, v>>24&0xf, v>>16&0xff, v>>8&0xff, v&0xff)
}

// Release returns the version without the build number, for comparing two servers.
func (v Version) Release() uint32 { return uint32(v >> 8) }
