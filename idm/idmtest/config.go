package idmtest

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/01b61c5c/failover"
)

// Traversal says what a server does with a name in a partition it holds no replica of. It stands for the attribute
// ldapSearchReferralUsage of the LDAP group.
type Traversal int

const (
	// TraversalRefer answers with a referral to a server that holds the partition.
	TraversalRefer Traversal = iota
	// TraversalChain asks a server that holds the partition and passes the answer on: per-server values are then those of
	// that other server, which is what makes the setting a trap. Extended operations are never chained.
	TraversalChain
	// TraversalRefuse answers "no such entry (-601)".
	TraversalRefuse
)

// Framing says how an extended operation with several arguments is encoded. No vendor text settles it.
type Framing int

const (
	// FramingConcatenated puts the elements one after the other.
	FramingConcatenated Framing = iota
	// FramingSequence wraps them in a SEQUENCE.
	FramingSequence
)

// ResyncFlag says which value of the third argument of SetDriverStartOption means "do not synchronize". No vendor text
// settles it.
type ResyncFlag int

const (
	// ResyncFlagOneMeansNot is what the driver export format and the vendor's command line tool suggest.
	ResyncFlagOneMeansNot ResyncFlag = iota
	// ResyncFlagZeroMeansNot is the other reading.
	ResyncFlagZeroMeansNot
	// ResyncFlagOneMeansNotOfDisabling is the first reading, of the flag that was given when the driver was disabled; the
	// one given when it is enabled means nothing.
	ResyncFlagOneMeansNotOfDisabling
	// ResyncFlagZeroMeansNotOfDisabling is the second reading, of the same act.
	ResyncFlagZeroMeansNotOfDisabling
)

// ofDisabling reports whether the flag counts when a driver is disabled.
func (f ResyncFlag) ofDisabling() bool { return f >= ResyncFlagOneMeansNotOfDisabling }

// meansNot reports whether a value of the flag means "do not synchronize".
func (f ResyncFlag) meansNot(value int64) bool {
	return (value == 1) == (f == ResyncFlagOneMeansNot || f == ResyncFlagOneMeansNotOfDisabling)
}

// Association says when the engine of a server starts to serve a driver set it was associated with.
type Association int

const (
	// AssociationAtOnce serves the set as soon as SetDriverSet was answered.
	AssociationAtOnce Association = iota
	// AssociationAfterRestart serves it when the server has been restarted, as the vendor's installer expects.
	AssociationAfterRestart
)

// EngineMode says what there is of Identity Manager on a server.
type EngineMode int

const (
	// EngineReady is a configured engine.
	EngineReady EngineMode = iota
	// EngineNotInitialized has the LDAP extension loaded and answers -783 to everything but the version.
	EngineNotInitialized
	// EngineAbsent has nothing: the root DSE lists no DirXML operation.
	EngineAbsent
)

// ServerConfig describes one server of the tree.
type ServerConfig struct {
	// Name is the name of the server object below ou=servers,o=system.
	Name string
	// Version is the packed engine version, 0x48070003 for 4.8.7.0 build 3. 0 means that.
	Version uint32
	// Engine is EngineReady unless said otherwise.
	Engine EngineMode
	// OutsideSet leaves the server out of the driver set's server list.
	OutsideSet bool
	// Prepared gives the server per-server values and passwords of its own for every driver, all drivers Disabled. The
	// active server always has them.
	Prepared bool
	// Without names partitions the server holds no replica of.
	Without []string
}

// Config describes a tree. The zero value is a tree of two servers, srv1 and srv2, with three drivers that run on srv1
// and are not prepared on srv2.
type Config struct {
	// Name of the tree. It never appears in a distinguished name.
	Name string
	// Servers of the tree; the first one is the active one unless Idle is set. At least one, default two.
	Servers []ServerConfig
	// Drivers in the driver set cn=ds1,o=system; 0 means 3, a negative number none.
	Drivers int
	// Policies per driver besides the fixed ones; 0 means 2.
	Policies int
	// PolicyBytes pads every policy to at least this size.
	PolicyBytes int
	// Users below ou=users,o=data; 0 means 5.
	Users int
	// Idle leaves all drivers Disabled and stopped on every server.
	Idle bool
	// WithoutSet leaves out the driver set and everything in it: a tree to import into.
	WithoutSet bool

	// Traversal, Framing, ResyncFlag and Association: see the types.
	Traversal   Traversal
	Framing     Framing
	ResyncFlag  ResyncFlag
	Association Association
	// OldSchema leaves NO-USER-MODIFICATION out of the schema of DirXML-DriverStartOption, as an eDirectory 9.2 tree was
	// seen to. The engine refuses the write with -672 all the same.
	OldSchema bool
	// OmitResponseName leaves the response name out of every answer to an extended operation, which RFC 4511 allows.
	OmitResponseName bool
	// SlashNames answers GetDriverSet with a name as traces write it, \TREE\org\set.
	SlashNames bool
	// CacheReadableWhileRunning answers ViewCacheEntries for a running driver; sources disagree on what the engine does.
	CacheReadableWhileRunning bool
	// CacheViewLimit is the number of entries of one ViewCacheEntries call that exhausts the server: it dies. 0 means
	// 10000.
	CacheViewLimit int
	// NoPaging takes the paged results control away.
	NoPaging bool
	// SizeLimit is the server's own limit of entries per search; 0 means none.
	SizeLimit int
	// LegacyTLS offers nothing but TLS 1.2 with RSA key exchange, as old servers do.
	LegacyTLS bool

	// StartTime and StopTime are how long a driver takes to start and to stop; 0 means 20 ms.
	StartTime, StopTime time.Duration
	// AutoDelay is how long a server that comes up waits before it starts the drivers that are Auto; 0 means not at all.
	AutoDelay time.Duration
	// Now is the clock of the servers; nil means time.Now. It must not run backwards.
	Now func() time.Time `json:"-"`
	// KeepRequests bounds the recorded requests, the oldest go first; 0 means 10000.
	KeepRequests int
	// Logger gets a line per request; nil means silence.
	Logger *slog.Logger `json:"-"`
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "IDMTEST"
	}
	if len(c.Servers) == 0 {
		c.Servers = []ServerConfig{{Name: "srv1"}, {Name: "srv2"}}
	}
	switch {
	case c.Drivers == 0:
		c.Drivers = 3
	case c.Drivers < 0:
		c.Drivers = 0
	}
	setDefault(&c.Policies, 2)
	setDefault(&c.Users, 5)
	setDefault(&c.CacheViewLimit, 10000)
	setDefault(&c.KeepRequests, 10000)
	setDefault(&c.StartTime, 20*time.Millisecond)
	setDefault(&c.StopTime, 20*time.Millisecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	seen := map[string]bool{}
	for i, s := range c.Servers {
		field := fmt.Sprintf("Servers[%d].Name", i)
		if _, err := parseRDN("cn=" + s.Name); err != nil {
			return failover.Invalid(field, fmt.Sprintf("%q is no common name", s.Name), "a name such as srv1")
		}
		if seen[foldCase(s.Name)] {
			return failover.Invalid(field, fmt.Sprintf("%q twice", s.Name), "one name per server")
		}
		seen[foldCase(s.Name)] = true
	}
	return nil
}
