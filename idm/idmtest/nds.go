package idmtest

import "fmt"

// LDAP result codes this server answers with (RFC 4511 §4.1.9).
const (
	codeSuccess              = 0
	codeProtocolError        = 2
	codeTimeLimit            = 3
	codeSizeLimit            = 4
	codeCompareFalse         = 5
	codeCompareTrue          = 6
	codeAuthMethod           = 7
	codeReferral             = 10
	codeCriticalExtension    = 12
	codeConfidentiality      = 13
	codeNoSuchAttribute      = 16
	codeUndefinedType        = 17
	codeConstraint           = 19
	codeValueExists          = 20
	codeNoSuchObject         = 32
	codeInvalidDN            = 34
	codeInvalidCredentials   = 49
	codeInsufficientAccess   = 50
	codeBusy                 = 51
	codeUnavailable          = 52
	codeUnwilling            = 53
	codeNamingViolation      = 64
	codeObjectClassViolation = 65
	codeNotOnNonLeaf         = 66
	codeNotOnRDN             = 67
	codeEntryExists          = 68
	codeClassMods            = 69
	codeOther                = 80
)

// result is the outcome of an operation as the client will see it.
type result struct {
	code      int
	nds       int
	text      string
	referrals []string
	value     []byte // extended response value; nil: none
	name      string // extended response name
	controls  []control
}

// The numbers and texts are those of the vendor's error list; which LDAP result code goes with which NDS code is
// documented for -601, -606, -613, -669 and -672 and inferred for the others.
var ndsErrors = map[int]struct {
	code int
	text string
}{
	-601: {codeNoSuchObject, "no such entry"},
	-602: {codeNoSuchAttribute, "no such value"},
	-603: {codeNoSuchAttribute, "no such attribute"},
	-604: {codeObjectClassViolation, "no such class"},
	-606: {codeEntryExists, "entry already exists"},
	-608: {codeUndefinedType, "illegal attribute"},
	-609: {codeObjectClassViolation, "missing mandatory"},
	-610: {codeInvalidDN, "illegal ds name"},
	-611: {codeNamingViolation, "illegal containment"},
	-612: {codeConstraint, "can't have multiple values"},
	-613: {codeConstraint, "syntax violation"},
	-614: {codeValueExists, "duplicate value"},
	-625: {codeUnavailable, "transport failure"},
	-626: {codeUnavailable, "all referrals failed"},
	-629: {codeNotOnNonLeaf, "entry is not leaf"},
	-634: {codeUnavailable, "no referrals"},
	-636: {codeUnavailable, "unreachable server"},
	-641: {codeOther, "invalid request"},
	-649: {codeOther, "insufficient buffer"},
	-654: {codeBusy, "partition busy"},
	-659: {codeOther, "time not synchronized"},
	-663: {codeUnavailable, "ds locked"},
	-669: {codeInvalidCredentials, "failed authentication"},
	-672: {codeInsufficientAccess, "no access"},
	-673: {codeBusy, "replica not on"},
	-698: {codeBusy, "replica in skulk"},
	-780: {codeUnwilling, "request not supported"},
	-781: {codeOther, "entry not local"},
	-783: {codeOther, "VRDIM not initialized"},
	-784: {codeOther, "wait timeout"},
	-785: {codeOther, "DIB error"},
	-786: {codeOther, "DIB I/O failure"},
}

// nds is the answer for an NDS error number.
func nds(code int) *result {
	e, ok := ndsErrors[code]
	if !ok {
		return &result{code: codeOther, nds: code, text: fmt.Sprintf("NDS error: unknown error (%d)", code)}
	}
	return &result{code: e.code, nds: code, text: fmt.Sprintf("NDS error: %s (%d)", e.text, code)}
}

// refused is an answer of the LDAP layer, with no NDS error behind it.
func refused(code int, text string) *result { return &result{code: code, text: text} }
