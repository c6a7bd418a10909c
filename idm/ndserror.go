package idm

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"github.com/go-ldap/ldap/v3"

	"github.com/01b61c5c/failover"
)

// What a refusal of an eDirectory server means. Test with errors.Is; the NDS code decides where there is one, the
// LDAP result code otherwise.
var (
	// ErrNoEntry: the entry does not exist here: wrong DN, or the server holds no replica and does not chain (-601).
	ErrNoEntry = errors.New("no such entry")
	// ErrNoAttribute: the entry has no such attribute or value (-602, -603).
	ErrNoAttribute = errors.New("no such attribute or value")
	// ErrNotServed: the engine on this server does not serve the driver (-603 to a driver operation).
	ErrNotServed = errors.New("the engine on this server does not serve the driver")
	// ErrExists: the entry or value is there already (-606, -614).
	ErrExists = errors.New("exists already")
	// ErrSchema: the schema forbids it, the syntax is wrong, or it names an entry that does not exist (-608 to -613). It
	// will be refused again until the value or the directory is another.
	ErrSchema = errors.New("refused by the schema, or names an entry that is missing")
	// ErrWrongState: invalid request: wrong state of the driver or a malformed request, documented as possibly passing
	// (-641).
	ErrWrongState = errors.New("invalid request: wrong state of the driver or a malformed request")
	// ErrBusy: the partition is busy, the replica is not on or being synchronized, or the database is locked (-654, -663,
	// -673, -698): wait and repeat.
	ErrBusy = errors.New("the directory is busy")
	// ErrLogin: the login was refused (-669).
	ErrLogin = errors.New("login refused")
	// ErrNoAccess: missing right, or an attribute that belongs to the engine (-672).
	ErrNoAccess = errors.New("no access: a right is missing or the attribute belongs to the engine")
	// ErrNotSupported: the server does not know the request (-780, LDAP 2 or 53 to an extended operation).
	ErrNotSupported = errors.New("request not supported by this server")
	// ErrEngineMissing: the DirXML module is not loaded on this server, or its server-centric data was lost (-783).
	ErrEngineMissing = errors.New("no Identity Manager engine is loaded on this server")
	// ErrPasswordPolicy: a password policy refused the value (NMAS, -16000 and below).
	ErrPasswordPolicy = errors.New("refused by a password policy")
	// ErrWrongServer: this is not the server that was asked for: a referral came back, the entry is not local (-781),
	// or dsaName names another server.
	ErrWrongServer = errors.New("wrong server")
	// ErrUnreachable: no TCP connection to the server. Nothing was sent. A server that takes the connection and then says
	// nothing, or refuses our algorithms, is alive: that is ErrLineLost.
	ErrUnreachable = errors.New("server not reachable")
	// ErrUntrusted: the certificate of the server is not the one that was asked for. Nothing was sent.
	ErrUntrusted = errors.New("server certificate not trusted")
	// ErrLineLost: the connection broke or the time ran out while an answer was awaited, also to the handshake and the
	// login.
	ErrLineLost = errors.New("no answer from the server")
	// ErrUnknownLayout: an answer came whose layout nobody has published. It is not guessed at.
	ErrUnknownLayout = errors.New("answer in an unknown layout")
)

type ndsReading struct {
	name string
	is   error
	next string
	// lost: the code says that the server itself lost sight of the request.
	lost bool
}

var ndsReadings = map[int]ndsReading{
	-601: {"no such entry", ErrNoEntry, "check the DN and whether this server holds a replica of it", false},
	-602: {"no such value", ErrNoAttribute, "read the entry again", false},
	-603: {"no such attribute", ErrNoAttribute,
		"read the entry again; for a driver operation associate the server with the driver set and restart its engine",
		false},
	-606: {"entry already exists", ErrExists, "read the entry again", false},
	-608: {"illegal attribute", ErrSchema, "compare the schema of the two servers", false},
	-609: {"missing mandatory attribute", ErrSchema, "add the attribute the class demands", false},
	-610: {"illegal DS name", ErrSchema, "correct the DN", false},
	-611: {"illegal containment", ErrSchema, "put the object under a class that may contain it", false},
	-612: {"multiple values for a single-valued attribute", ErrSchema, "write one value", false},
	-613: {"syntax violation", ErrSchema, "create the entry the value names first, or correct the value", false},
	-614: {"duplicate value", ErrExists, "read the entry again", false},
	-625: {"transport failure", nil, "observe the entry on a server that holds it", true},
	-626: {"all referrals failed", nil, "use a server that holds a replica", true},
	-634: {"no referrals", nil, "use a server that holds a replica", false},
	-636: {"unreachable server", nil, "observe the entry on a server that holds it", true},
	-641: {"invalid request", ErrWrongState, "read state and start option of the driver again, then repeat", false},
	-649: {"insufficient buffer", nil, "ask for less at once", false},
	-654: {"partition busy", ErrBusy, "wait and repeat", false},
	-659: {"time not synchronized", nil, "repair time synchronization before any failover", false},
	-663: {"DS locked", ErrBusy, "wait until the database is open and repeat", false},
	-669: {"failed authentication", ErrLogin, "check user and password", false},
	-672: {"no access", ErrNoAccess, "grant the right, or use the operation that owns the attribute", false},
	-673: {"replica not on", ErrBusy, "wait until the replica is on", false},
	-698: {"replica in skulk", ErrBusy, "wait and repeat", false},
	-780: {"request not supported", ErrNotSupported, "use a server with the engine", false},
	-781: {"entry not local", ErrWrongServer, "add a replica to this server or use one that holds it", false},
	-783: {"VRDIM not initialized", ErrEngineMissing,
		"install or start the engine on this server; after loss of server-centric data import the export of every driver again", false},
	-784: {"wait timeout", ErrLineLost, "observe before repeating", true},
	-785: {"DIB error", nil, "look at the directory database of this server", true},
	-786: {"DIB I/O failure", nil, "look at the disk of this server", true},
}

// ResultError is a refusal by the server: it answered, and the answer was no.
type ResultError struct {
	Result   uint16 // LDAP result code
	NDS      int    // eDirectory's number in the server's text, negative; 0 when it gave none
	Text     string // the server's words, with secrets of the request redacted
	driverOp bool
}

// Error returns both codes with their readings and the server's words.
func (e *ResultError) Error() string {
	text := fmt.Sprintf("LDAP %d %s", e.Result, cmp.Or(ldap.LDAPResultCodeMap[e.Result], "unknown result"))
	if e.NDS != 0 {
		text += fmt.Sprintf(", NDS %d", e.NDS)
		if name := ndsReadings[e.NDS].name; name != "" {
			text += " " + name
		}
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Is reports whether the refusal means target, one of the sentinels above.
func (e *ResultError) Is(target error) bool {
	if target == ErrNotServed {
		return e.driverOp && (e.NDS == -603 || e.NDS == 0 && e.Result == ldap.LDAPResultNoSuchAttribute)
	}
	return target == e.sentinel()
}

func (e *ResultError) sentinel() error {
	if r, ok := ndsReadings[e.NDS]; ok {
		return r.is
	}
	if e.NDS <= -16000 {
		return ErrPasswordPolicy
	}
	switch e.Result {
	case ldap.LDAPResultNoSuchObject:
		return ErrNoEntry
	case ldap.LDAPResultNoSuchAttribute:
		return ErrNoAttribute
	case ldap.LDAPResultEntryAlreadyExists, ldap.LDAPResultAttributeOrValueExists:
		return ErrExists
	case ldap.LDAPResultObjectClassViolation, ldap.LDAPResultUndefinedAttributeType, ldap.LDAPResultNamingViolation,
		ldap.LDAPResultConstraintViolation, ldap.LDAPResultInvalidAttributeSyntax, ldap.LDAPResultObjectClassModsProhibited:
		return ErrSchema
	case ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication:
		return ErrLogin
	case ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultConfidentialityRequired,
		ldap.LDAPResultStrongAuthRequired:
		return ErrNoAccess
	case ldap.LDAPResultBusy, ldap.LDAPResultUnavailable:
		return ErrBusy
	case ldap.LDAPResultReferral:
		return ErrWrongServer
	case ldap.LDAPResultProtocolError, ldap.LDAPResultUnwillingToPerform:
		return ErrNotSupported
	}
	return nil
}

// outcome says what a refusal tells about the effect. A refusal is proof that nothing happened, except where the server
// says that it lost sight of the request itself, says nothing but "other", or says something nobody has published: a
// number without a reading beside a code that says nothing, or a code of its own.
func (e *ResultError) outcome() failover.Outcome {
	if r, ok := ndsReadings[e.NDS]; ok {
		if r.lost {
			return failover.InDoubt
		}
		return failover.NotApplied
	}
	if e.NDS <= -16000 { // NMAS looks at a value before it is taken
		return failover.NotApplied
	}
	switch e.Result {
	case ldap.LDAPResultOther, ldap.LDAPResultTimeLimitExceeded, ldap.LDAPResultUnavailable:
		return failover.InDoubt
	}
	if _, known := ldap.LDAPResultCodeMap[e.Result]; !known {
		return failover.InDoubt
	}
	return failover.NotApplied
}

func (e *ResultError) next() string {
	if r, ok := ndsReadings[e.NDS]; ok {
		return r.next
	}
	switch e.sentinel() {
	case ErrWrongServer:
		return "connect to the server the referral names; referrals are not followed"
	case ErrLogin:
		return "check user and password"
	case ErrNoAccess:
		return "grant the right to the user"
	case ErrPasswordPolicy:
		return "choose a password the policy of the driver's container allows"
	}
	if e.outcome() == failover.InDoubt {
		return "observe before repeating"
	}
	return "correct the request"
}

var ndsNumber = regexp.MustCompile(`\(-(\d{3,5})\)`)

// parseNDS finds the error number in a server's text such as "NDS error: no such entry (-601)".
func parseNDS(text string) int {
	found := ndsNumber.FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		return 0
	}
	n, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		return 0
	}
	return -n
}

// refusal turns a result of the LDAP library into a ResultError, or returns nil when err is no result of the server.
func refusal(err error, driverOp bool, secrets []failover.Secret) *ResultError {
	e, ok := errors.AsType[*ldap.Error](err)
	if !ok || e.ResultCode >= ldap.ErrorNetwork {
		return nil
	}
	text := ""
	if e.Err != nil {
		text = failover.Redact(e.Err.Error(), secrets...)
	}
	return &ResultError{Result: e.ResultCode, NDS: parseNDS(text), Text: text, driverOp: driverOp}
}

// notDone is the error of a call that provably changed nothing.
func notDone(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Outcome: failover.NotApplied, Next: next, Err: err}
}

// unmet is notDone for what must hold and does not; found says how things stand instead.
func unmet(op, target, next, found string) error {
	return notDone(op, target, next, fmt.Errorf("%w: %s", failover.ErrPrecondition, found))
}

// inDoubt is the error of a call that may have taken effect.
func inDoubt(op, target, next string, err error) error {
	return &failover.Error{Op: op, Target: target, Next: next, Err: err}
}

// notApplied marks a failure before anything was changed.
func notApplied(err error) error {
	if err == nil || failover.OutcomeOf(err) == failover.NotApplied {
		return err
	}
	return notDone("prepare", "", failover.NextOf(err), err)
}

// unless is err, but nil where it says that there was nothing to do.
func unless(done, err error) error {
	if errors.Is(err, done) {
		return nil
	}
	return err
}

// unsupported reports whether the server cannot tell.
func unsupported(err error) bool {
	return errors.Is(err, ErrNotSupported) || errors.Is(err, ErrUnknownLayout)
}

// notServed reports whether no engine serves the driver there.
func notServed(err error) bool {
	return errors.Is(err, ErrNotServed) || errors.Is(err, ErrEngineMissing)
}

// unanswered reports whether nothing came from the server.
func unanswered(err error) bool { return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLineLost) }
