package idm

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
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

// up reports whether the driver runs, or is about to: whoever stops it then has stopped it.
func (s State) up() bool { return s != StateStopped && s != StateStopping }

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

// EngineVersion returns the version of the engine on this server (operation 11). It works without any driver set.
// [ErrEngineMissing] and [ErrNotSupported] mean that there is no engine.
func (s *Server) EngineVersion(ctx context.Context) (Version, error) {
	answer, err := s.perform(ctx, opGetVersion, s.DN(), nil)
	r, err := sequence(opGetVersion, s.DN(), answer, err)
	if err != nil {
		return 0, err
	}
	n, err := r.number(0)
	return Version(n), err //nolint:gosec // the packed version uses all 32 bits
}

// State returns what the driver does on this server (operation 13).
func (s *Server) State(ctx context.Context, driverDN string) (State, error) {
	n, err := s.askInt(ctx, opGetDriverState, driverDN)
	return State(n), err
}

// StartOption returns the driver's start option on this server (operation 7). [ErrNotServed] means that the engine
// of this server does not serve the driver set.
func (s *Server) StartOption(ctx context.Context, driverDN string) (StartOption, error) {
	n, err := s.askInt(ctx, opGetStartOption, driverDN)
	return StartOption(n), err
}

// SetStartOption sets the driver's start option on this server (operation 9; the attribute itself is refused by the
// engine). resync matters only when the driver leaves Disabled; which number travels for it is the [Dialect]'s choice.
// Safe to repeat; a lost answer leaves [failover.InDoubt], read it with [Server.StartOption].
func (s *Server) SetStartOption(ctx context.Context, driverDN string, option StartOption, resync Resync) error {
	if option < StartDisabled || option > StartAuto {
		return failover.Invalid("start option", option.String()+" is only ever reported",
			"use StartDisabled, StartManual or StartAuto")
	}
	return s.order(ctx, opSetStartOption, driverDN, integer(int64(option)), integer(s.conf.Dialect.flag(resync)))
}

// Start asks the engine to start the driver (operation 15). It returns before the driver runs: watch [Server.State], a
// failed start goes from starting back to stopped. What a running or a disabled driver answers is not published; look
// before, and take [ErrWrongState] as "look again".
func (s *Server) Start(ctx context.Context, driverDN string) error {
	return s.order(ctx, opStartDriver, driverDN)
}

// Stop asks the engine to stop the driver (operation 17). It returns before the driver has stopped; some shims need
// more than a minute. Safe to repeat.
func (s *Server) Stop(ctx context.Context, driverDN string) error {
	return s.order(ctx, opStopDriver, driverDN)
}

// Restart stops and starts the driver (operation 101, seen to work).
func (s *Server) Restart(ctx context.Context, driverDN string) error {
	return s.order(ctx, opRestartDriver, driverDN)
}

// ReadApplicationSchema makes the shim read the application's schema into DirXML-ApplicationSchema (operation 21); the
// driver shows StateGettingSchema meanwhile.
func (s *Server) ReadApplicationSchema(ctx context.Context, driverDN string) error {
	return s.order(ctx, opGetSchema, driverDN)
}

// InitDriver makes the engine of this server initialise a driver object that is new to it (operation 39).
func (s *Server) InitDriver(ctx context.Context, driverDN string) error {
	return s.order(ctx, opInitDriver, driverDN)
}

// NotifyJob tells the engine that a job object changed (operation 53; its argument is inferred). Safe to repeat.
func (s *Server) NotifyJob(ctx context.Context, jobDN string) error {
	return s.order(ctx, opNotifyJob, jobDN)
}

// JobRunning reports whether a job runs on this server (operation 59).
func (s *Server) JobRunning(ctx context.Context, jobDN string) (bool, error) {
	n, err := s.askInt(ctx, opGetJobState, jobDN)
	return n != 0, err
}

// ResyncSince synchronizes what was created or changed since the given time (operation 23). A zero time is refused: it
// would mean everything, which is [Server.ResyncAll]. Repeating it is safe and costs the work again.
func (s *Server) ResyncSince(ctx context.Context, driverDN string, since time.Time) error {
	if since.Unix() <= 0 {
		return failover.Invalid("since", fmt.Sprintf("is %s, which the engine reads as everything", since),
			"give the time of the stop, or call ResyncAll")
	}
	return s.order(ctx, opResync, driverDN, integer(since.Unix()))
}

// ResyncAll synchronizes everything (operation 23 with zero).
func (s *Server) ResyncAll(ctx context.Context, driverDN string) error {
	return s.order(ctx, opResync, driverDN, integer(0))
}

// Stats are the figures of one driver on one server.
type Stats struct {
	DriverDN   string
	ServerDN   string
	At         time.Time // by the clock of the server; zero where it does not say it
	CacheBytes int64     // events waiting, without the file header
	Oldest     time.Time // of the waiting events; zero when there are none
}

const (
	statsLimit = 16 << 20
	statsTime  = "20060102150405"
)

// Stats returns the driver's figures (operation 19). The layout of the XML was seen, not documented; one that does not
// say how much waits is [ErrUnknownLayout].
func (s *Server) Stats(ctx context.Context, driverDN string) (Stats, error) {
	c, err := s.askChunked(ctx, opGetDriverStats, driverDN, integer(resultMinutes), integer(0))
	if err != nil {
		return Stats{}, err
	}
	doc, err := s.fetch(ctx, driverDN, c, statsLimit)
	if err != nil {
		return Stats{}, err
	}
	stats, err := parseStats(doc)
	if err != nil {
		return Stats{}, notDone(opGetDriverStats.words, driverDN, "compare with examples/labcheck", err)
	}
	return stats, nil
}

func parseStats(doc []byte) (Stats, error) {
	var stats Stats
	var path []string
	d := xml.NewDecoder(bytes.NewReader(doc))
	sized := false
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && sized {
			return stats, nil
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("they do not say how much waits")
		}
		if err != nil {
			return Stats{}, fmt.Errorf("%w: statistics: %w", ErrUnknownLayout, err)
		}
		switch t := tok.(type) {
		case xml.StartElement:
			path = append(path, t.Name.Local)
			if t.Name.Local == "driver-info" {
				stats.DriverDN, stats.ServerDN = xmlAttr(t, "driver-dn"), xmlAttr(t, "server-dn")
				stats.At, _ = statsMoment(xmlAttr(t, "timestamp"))
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			text := strings.TrimSpace(string(t))
			if text == "" || !slices.Contains(path, "subscriber") || !slices.Contains(path, "cache") {
				continue
			}
			name := path[len(path)-1]
			if err := stats.set(name, text); err != nil {
				return Stats{}, err
			}
			sized = sized || name == "size"
		}
	}
}

func (s *Stats) set(name, text string) (err error) {
	switch name {
	case "size": // of each cache there is
		var n int64
		n, err = strconv.ParseInt(text, 10, 64)
		s.CacheBytes += n
	case "oldest":
		s.Oldest, err = statsMoment(text)
	}
	if err != nil {
		return fmt.Errorf("%w: statistics: %s: %w", ErrUnknownLayout, name, err)
	}
	return nil
}

func statsMoment(text string) (time.Time, error) {
	return time.Parse(statsTime, text[:min(len(text), len(statsTime))])
}

// DriverStatus is how a driver stands on one server.
type DriverStatus struct {
	Driver string
	Server string
	State  State
	Option StartOption
}

// String returns for example "running, auto".
func (d DriverStatus) String() string { return d.State.String() + ", " + d.Option.String() }

// out reports whether the driver neither runs nor will.
func (d DriverStatus) out() bool { return d.State == StateStopped && d.Option == StartDisabled }

// Status returns state and start option of a driver on this server.
func (s *Server) Status(ctx context.Context, driverDN string) (DriverStatus, error) {
	option, err := s.StartOption(ctx, driverDN)
	if err != nil {
		return DriverStatus{}, err
	}
	state, err := s.State(ctx, driverDN)
	return DriverStatus{Driver: driverDN, Server: s.DN(), State: state, Option: option}, err
}

const (
	// cachePage is how many cached events are asked for at once: a huge count was seen to exhaust the server's memory.
	cachePage = 200
	// cachePageLimit bounds what one page may weigh here.
	cachePageLimit = 256 << 20

	// The two caches of a driver, by their numbers: what Out of Band Sync takes ahead has one of its own (documented).
	cacheInOrder = 0
	cacheAhead   = 2
)

// ViewCache calls page with the events waiting for a driver on this server, oldest first, a few hundred at a time, each
// time as one document of XML (operations 41, 33 and 35); those that Out of Band Sync takes ahead come last. It changes
// nothing. Sources disagree on whether a running driver can be viewed, and right after a stop the view may fail once: a
// refusal ([ErrWrongState] as a rule) means "not readable now"; [Server.Stats] gives the figures then.
func (s *Server) ViewCache(ctx context.Context, driverDN string, page func([]byte) error) error {
	if err := s.viewCache(ctx, driverDN, cacheInOrder, page); err != nil {
		return err
	}
	return s.viewAhead(ctx, driverDN, page)
}

// viewAhead calls page with what Out of Band Sync takes ahead. An engine that does not know that cache has none.
func (s *Server) viewAhead(ctx context.Context, driverDN string, page func([]byte) error) error {
	if err := s.viewCache(ctx, driverDN, cacheAhead, page); !errors.Is(err, ErrNotSupported) {
		return err
	}
	return nil
}

func (s *Server) viewCache(ctx context.Context, driverDN string, cache int64, page func([]byte) error) error {
	for position := int64(0); ; {
		c, err := s.askChunked(ctx, opViewCache, driverDN, integer(resultMinutes), integer(position), integer(cachePage),
			integer(cache))
		if err != nil || c.handle == 0 || c.size == 0 {
			return err
		}
		doc, err := s.fetch(ctx, driverDN, c, cachePageLimit)
		if err != nil {
			return err
		}
		if len(doc) == 0 {
			return unknownLayout(opViewCache, driverDN, fmt.Appendf(nil, "%d bytes were announced, and none came", c.size))
		}
		if err := page(doc); err != nil {
			return notDone("keep cache of", driverDN, "make room and repeat", err)
		}
		if len(c.rest) == 0 {
			return unknownLayout(opViewCache, driverDN, fmt.Appendf(nil, "no next position behind handle %d", c.handle))
		}
		if c.rest[0] <= position {
			return nil
		}
		position = c.rest[0]
	}
}

// queued tells what waits for a stopped driver on this server, "" for nothing. The figures were only ever seen to count
// one of the caches, so the other one is looked into.
func (s *Server) queued(ctx context.Context, driverDN string) (what string, err error) {
	stats, err := s.Stats(ctx, driverDN)
	if err == nil && stats.CacheBytes == 0 {
		err = s.viewAhead(ctx, driverDN, func([]byte) error {
			what = "events of Out of Band Sync wait there, nobody knows since when"
			return nil
		})
	}
	if err != nil || stats.CacheBytes == 0 {
		return what, err
	}
	what = fmt.Sprintf("%d bytes wait there", stats.CacheBytes)
	if !stats.Oldest.IsZero() {
		what += ", the oldest since " + stats.Oldest.UTC().Format(time.RFC3339)
	}
	return what, nil
}
