package idm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/01b61c5c/failover/internal/enum"
)

// replicaOID is the arc of eDirectory's partition operations.
const replicaOID = "2.16.840.1.113719.1.27.100."

const (
	oidReplicaInfo = replicaOID + "17"
	oidReplicaList = replicaOID + "19"
	oidPrivileges  = replicaOID + "33"
)

// ReplicaType is the kind of a replica (numbers of the vendor's C header).
type ReplicaType int

// The kinds that matter here; the others are only named.
const (
	replicaMaster        ReplicaType = 0
	replicaReadWrite     ReplicaType = 1
	replicaFilteredWrite ReplicaType = 4
)

var replicaTypeNames = []string{replicaMaster: "master", replicaReadWrite: "read/write", 2: "read-only",
	3: "subordinate reference", replicaFilteredWrite: "filtered read/write", 5: "filtered read-only"}

// String returns the kind in words.
func (t ReplicaType) String() string { return enum.Name(replicaTypeNames, t) }

// Full reports whether the replica is complete and writable, as a driver set needs it.
func (t ReplicaType) Full() bool { return t == replicaMaster || t == replicaReadWrite }

// Replica is one replica on this server.
type Replica struct {
	Partition string // DN of the partition root, "" for [Root]
	Type      ReplicaType
	On        bool // state 0
	State     int64
}

// String returns for example "read/write replica, on".
func (r Replica) String() string {
	state := "on"
	if !r.On {
		state = fmt.Sprintf("not on (state %d)", r.State)
	}
	return r.Type.String() + " replica, " + state
}

// askReplica sends one of eDirectory's own operations; their arguments are always concatenated (seen).
func (s *Server) askReplica(ctx context.Context, o extop, oid, target string, args ...argument) ([]byte, error) {
	answer, err := s.extended(ctx, request{op: o.words, target: target}, oid, Dialect{}.encode(args...))
	return answer.Value, err
}

// partitions returns the DNs of the partitions this server holds replicas of, "" for [Root].
func (s *Server) partitions(ctx context.Context) ([]string, error) {
	o := extop{words: "list replicas of"}
	answer, err := s.askReplica(ctx, o, oidReplicaList, s.DN(), octets(s.DN()))
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	r, err := sequence(o, s.DN(), answer, nil)
	list := make([]string, len(r.elements))
	for i := range list {
		if list[i], err = r.text(i); err != nil {
			return nil, err
		}
	}
	return list, err
}

// replica returns what kind of replica of the partition this server holds. [ErrNoEntry] or another refusal when it
// holds none. The order of the fields in the answer is partly inferred; an answer of another shape is
// [ErrUnknownLayout].
func (s *Server) replica(ctx context.Context, partitionDN string) (Replica, error) {
	o := extop{words: "read replica of"}
	answer, err := s.askReplica(ctx, o, oidReplicaInfo, partitionDN, octets(s.DN()), octets(partitionDN))
	if err != nil {
		return Replica{}, err
	}
	r := reply{o: o, target: partitionDN, raw: answer}
	for rest := answer; len(rest) > 0; {
		p, err := ber.DecodePacketErr(rest)
		if err != nil {
			return Replica{}, r.unknown()
		}
		r.elements, rest = append(r.elements, p), rest[len(p.Bytes()):]
	}
	// partitionId, replicaState, modificationTime, purgeTime, localId, partitionDN, replicaType, …
	kind, err := r.number(6)
	if err != nil {
		return Replica{}, err
	}
	state, errState := r.number(1)
	dn, errDN := r.text(5)
	if errState != nil || errDN != nil || !SameDN(dn, partitionDN) {
		return Replica{}, r.unknown()
	}
	return Replica{Partition: dn, Type: ReplicaType(kind), State: state, On: state == 0}, nil
}

// partitionOf returns the root of the partition that holds the entry, "" for [Root].
func (s *Server) partitionOf(ctx context.Context, dn string) (string, error) {
	for at := dn; at != ""; at = ParentDN(at) {
		e, err := s.Read(ctx, at, "objectClass")
		if err != nil {
			return "", err
		}
		if e.HasClass("Partition") {
			return at, nil
		}
	}
	return "", nil
}

// ReplicaOf returns the replica on this server that holds the entry. An error wrapping [ErrWrongServer] says that there
// is none.
func (s *Server) ReplicaOf(ctx context.Context, dn string) (Replica, error) {
	partition, err := s.partitionOf(ctx, dn)
	if err != nil {
		return Replica{}, err
	}
	held, err := s.partitions(ctx)
	if err != nil {
		return Replica{}, err
	}
	for _, p := range held {
		if SameDN(p, partition) {
			return s.replica(ctx, p)
		}
	}
	root := cmp.Or(partition, "[Root]")
	return Replica{}, notDone("find a replica of", dn, "add a read/write replica of "+root+" to "+s.DN(),
		fmt.Errorf("%w: it holds no replica of %s", ErrWrongServer, root))
}

// RingDelta returns how long ago the replicas of this server were synchronized with their rings, the worst of them,
// from the monitor of the server (documented: MaxRingDelta, in seconds). The bool is false where the server or the
// rights of the user do not show it, or one of them is no number.
func (s *Server) RingDelta(ctx context.Context) (time.Duration, bool, error) {
	worst, known := int64(0), false
	for e, err := range s.Entries(ctx,
		Query{Base: "cn=monitor", Scope: ScopeSubtree, Filter: "(MaxRingDelta=*)", Attributes: []string{"MaxRingDelta"}}) {
		if _, refused := errors.AsType[*ResultError](err); refused {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		seconds, err := strconv.ParseInt(e.Text("MaxRingDelta"), 10, 32)
		if err != nil || seconds < 0 {
			return 0, false, nil
		}
		worst, known = max(worst, seconds), true
	}
	return time.Duration(worst) * time.Second, known, nil
}

// right is a privilege mask on an attribute (seen in published ACL values).
type right int64

// Of each two one is enough: the right itself, or supervisor.
const (
	rightsToRead  right = 2 | 32
	rightsToWrite right = 4 | 32
)

// privileges returns the effective rights of trustee to an attribute of an entry.
func (s *Server) privileges(ctx context.Context, dn, trusteeDN, attribute string) (right, error) {
	o := extop{words: "read rights to " + attribute + " of"}
	answer, err := s.askReplica(ctx, o, oidPrivileges, dn, octets(dn), octets(trusteeDN), octets(attribute))
	if err != nil {
		return 0, err
	}
	p, err := decode(answer)
	if err != nil {
		return 0, unknownLayout(o, dn, answer)
	}
	r := reply{o: o, target: dn, raw: answer, elements: []*ber.Packet{p}}
	if p.Tag == ber.TagSequence && len(p.Children) > 0 { // seen both bare and wrapped
		r.elements = p.Children
	}
	n, err := r.number(0)
	return right(n), err
}

// rightsNeeded are the attributes that guard the operations of the procedures, and the server list, which is written on
// the jobs when the drivers run already: that is no time to find out that a right is missing.
var rightsNeeded = []string{"DirXML-AccessRun", "DirXML-AccessConfigure", "DirXML-AccessMigrate", "DirXML-AccessManage",
	serverList}

// MissingRights returns which of the attributes the procedures need write on the user of this connection may not write
// on the driver set, and which of those that are copied and exported it may not read: what it may not read looks as if
// it were not set.
func (s *Server) MissingRights(ctx context.Context, setDN string) ([]string, error) {
	if s.conf.UserDN == "" {
		return rightsNeeded, nil
	}
	missing, err := s.without(ctx, rightsToWrite, setDN, rightsNeeded)
	if err != nil {
		return nil, err
	}
	hidden, err := s.without(ctx, rightsToRead, setDN, exported())
	for _, attribute := range hidden {
		missing = append(missing, attribute+" (read)")
	}
	return missing, err
}

// without returns on which of the attributes of an entry the user has none of the rights.
func (s *Server) without(ctx context.Context, enough right, dn string, attributes []string) ([]string, error) {
	var list []string
	for _, attribute := range attributes {
		r, err := s.privileges(ctx, dn, s.conf.UserDN, attribute)
		if err != nil {
			return nil, err
		}
		if r&enough == 0 {
			list = append(list, attribute)
		}
	}
	return list, nil
}

// exported are the attributes an export takes in and a copy compares, as far as every server has them.
func exported() []string {
	var names []string
	for _, row := range attributeTable {
		if row.traits&(engineOwned|hidden) == 0 && (row.copying == CopyingReplicated || row.copying == CopyingValue) {
			names = append(names, row.name)
		}
	}
	return names
}

// readable refuses what the user may not read of an entry, where the server can tell. Rights are inherited downwards, so
// that one question for each attribute says most of what there is to know.
func (s *Server) readable(ctx context.Context, dn string, attributes ...string) error {
	if s.conf.UserDN == "" || !s.RootDSE().HasExtension(oidPrivileges) {
		return nil
	}
	hidden, err := s.without(ctx, rightsToRead, dn, attributes)
	if err != nil || len(hidden) == 0 {
		return unless(ErrUnknownLayout, unless(ErrNotSupported, err))
	}
	return notDone("check rights", dn, "grant "+s.conf.UserDN+" the right to read it",
		fmt.Errorf("%w: %s may not read %s of %s on %s, which looks as if it were not set", ErrNoAccess, s.conf.UserDN,
			strings.Join(hidden, ", "), dn, s.DN()))
}
