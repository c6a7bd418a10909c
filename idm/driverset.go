package idm

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// AssociatedDriverSet returns the DN of the driver set the connected server is associated with, "" when it is with none
// (operation 1).
func (s *Server) AssociatedDriverSet(ctx context.Context) (string, error) {
	answer, err := s.perform(ctx, opGetDriverSet, s.DN(), nil)
	// What a server without a driver set answers is not published: an empty sequence, or that there is none.
	if errors.Is(err, ErrNoAttribute) || errors.Is(err, ErrNoEntry) {
		return "", nil
	}
	r, err := sequence(opGetDriverSet, s.DN(), answer, err)
	if err != nil || len(r.elements) == 0 {
		return "", err
	}
	return r.text(0)
}

// AssociateDriverSet adds the connected server to the driver set (operation 3, what the vendor's installer does). The
// engine may need a restart before it serves the set: StartOption of a driver answers [ErrNotServed] until then (seen).
// Safe to repeat.
func (s *Server) AssociateDriverSet(ctx context.Context, setDN string) error {
	return s.order(ctx, opSetDriverSet, setDN)
}

// LeaveDriverSet takes the connected server out of its driver set (operation 5). Whether the engine then wipes the
// server's values is not published: have an export first.
func (s *Server) LeaveDriverSet(ctx context.Context) error {
	_, err := s.perform(ctx, opClearDriverSet, s.DN(), nil)
	return err
}

const serverList = "DirXML-ServerList"

// ServerList returns the DNs in DirXML-ServerList of a driver set or a job. The attribute replicates.
func (s *Server) ServerList(ctx context.Context, dn string) ([]string, error) {
	e, err := s.Read(ctx, dn, serverList)
	return e.Texts(serverList), err
}

// AddToServerList adds a server to DirXML-ServerList of a driver set or a job. A server that is in the list already
// is success.
func (s *Server) AddToServerList(ctx context.Context, dn, serverDN string) error {
	if err := checkDN("server", serverDN); err != nil {
		return err
	}
	return unless(ErrExists, s.Modify(ctx, dn, AttributeChange{ChangeAdd, Text(serverList, serverDN)}))
}

func containsDN(list []string, dn string) bool {
	return slices.ContainsFunc(list, func(d string) bool { return SameDN(d, dn) })
}

// lacking returns the DNs of want that are not in have.
func lacking(want, have []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(dn string) bool { return containsDN(have, dn) })
}

// Drivers returns the DNs of the drivers of a driver set, sorted.
func (s *Server) Drivers(ctx context.Context, setDN string) ([]string, error) {
	q := Query{Base: setDN, Scope: ScopeOne, Filter: "(objectClass=DirXML-Driver)", Attributes: []string{"1.1"}}
	var list []string
	for e, err := range s.Entries(ctx, q) {
		if err != nil {
			return nil, err
		}
		list = append(list, e.DN)
	}
	slices.SortFunc(list, byName)
	return list, nil
}

// byName orders names as people do, without case.
func byName(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }
