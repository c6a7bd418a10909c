package idm

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ber "github.com/go-asn1-ber/asn1-ber"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
	"github.com/01b61c5c/failover/internal/enum"
)

// SetApplicationPassword sets the password with which the driver's shim logs in to its application, on this server only
// (operation 67; its arguments are inferred). Nothing can read it back; only a start of the driver proves it. Safe to
// repeat.
func (s *Server) SetApplicationPassword(ctx context.Context, driverDN string, password failover.Secret) error {
	return s.setPassword(ctx, opSetAppPassword, driverDN, password)
}

// ClearApplicationPassword removes it (operation 69).
func (s *Server) ClearApplicationPassword(ctx context.Context, driverDN string) error {
	return s.order(ctx, opClearAppPassword, driverDN)
}

// SetRemoteLoaderPassword sets the password of the Remote Loader, on this server only (operation 71; its arguments are
// inferred). Nothing can read it back; only a start of the driver proves it. Safe to repeat.
func (s *Server) SetRemoteLoaderPassword(ctx context.Context, driverDN string, password failover.Secret) error {
	return s.setPassword(ctx, opSetRemotePassword, driverDN, password)
}

// ClearRemoteLoaderPassword removes it (operation 73).
func (s *Server) ClearRemoteLoaderPassword(ctx context.Context, driverDN string) error {
	return s.order(ctx, opClearRemotePassword, driverDN)
}

func (s *Server) setPassword(ctx context.Context, o extop, driverDN string, password failover.Secret) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	_, err := s.about(ctx, o, driverDN, []failover.Secret{password}, octets(password.Reveal()))
	return err
}

// SetDriverObjectPassword sets the password of the driver object itself, by which the Remote Loader knows the driver.
// It is an ordinary password of the entry and replicates (inferred). Where the server lets the user log in as the
// driver it could be tried out; this SDK does not. A password policy of the container may refuse it:
// [ErrPasswordPolicy].
func (s *Server) SetDriverObjectPassword(ctx context.Context, driverDN string, password failover.Secret) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	r := request{op: "set driver object password of", target: driverDN, secrets: []failover.Secret{password}}
	return s.modify(ctx, r, AttributeChange{ChangeReplace, Text("userPassword", password.Reveal())})
}

// NamedPassword is the name of a stored password; the value cannot be listed.
type NamedPassword struct {
	Name        string
	DisplayName string
}

// SetNamedPassword stores a named password on a driver, driver set, job or resource, on this server only (operation
// 75). That it is there is verified with [Server.NamedPasswords]; its value cannot be. Safe to repeat.
func (s *Server) SetNamedPassword(ctx context.Context, dn string, name NamedPassword, password failover.Secret) error {
	if name.Name == "" {
		return failover.Invalid("named password", "has no name", "give the name policies ask for")
	}
	if err := checkPassword(password); err != nil {
		return err
	}
	_, err := s.about(ctx, opSetNamedPassword, dn, []failover.Secret{password}, octets(name.Name),
		octets(name.DisplayName), octets(password.Reveal()))
	return err
}

// RemoveNamedPassword removes one named password (operation 77).
func (s *Server) RemoveNamedPassword(ctx context.Context, dn, name string) error {
	return s.order(ctx, opRemoveNamedPassword, dn, octets(name))
}

// RemoveAllNamedPasswords removes all named passwords of an object on this server (operation 79). They cannot be
// brought back.
func (s *Server) RemoveAllNamedPasswords(ctx context.Context, dn string) error {
	return s.order(ctx, opRemoveAllNamedPasswords, dn)
}

// NamedPasswords lists the named passwords of an object on this server, names only (operation 81). The nesting of the
// answer is not published: pairs of strings, each wrapped in a SEQUENCE or one behind the other, are understood,
// anything else is [ErrUnknownLayout].
func (s *Server) NamedPasswords(ctx context.Context, dn string) ([]NamedPassword, error) {
	answer, err := s.about(ctx, opListNamedPasswords, dn, nil)
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	r, err := sequence(opListNamedPasswords, dn, answer, nil)
	if err != nil {
		return nil, err
	}
	list, ok := namedPasswords(r.elements)
	if !ok {
		return nil, r.unknown()
	}
	return list, nil
}

// namedPasswordsOf asks for the named passwords of many objects, a few at a time. An object is in exactly one of the
// two maps.
func (s *Server) namedPasswordsOf(ctx context.Context, dns []string) (map[string][]NamedPassword, map[string]error) {
	lists, err := ofEach(ctx, defaultLimit, dns, s.NamedPasswords)
	failed := map[string]error{}
	if all, ok := errors.AsType[failover.Targets](err); ok {
		for _, r := range all {
			if r.Err != nil {
				failed[r.Target] = r.Err
			}
		}
	}
	return lists, failed
}

func namedPasswords(elements []*ber.Packet) ([]NamedPassword, bool) {
	// A single wrapper around the pairs.
	if len(elements) == 1 && elements[0].Tag == ber.TagSequence && len(elements[0].Children) > 0 &&
		elements[0].Children[0].Tag == ber.TagSequence {
		elements = elements[0].Children
	}
	var flat []*ber.Packet
	for _, e := range elements {
		if e.ClassType == ber.ClassUniversal && e.Tag == ber.TagSequence {
			if len(e.Children) != 2 {
				return nil, false
			}
			flat = append(flat, e.Children...)
			continue
		}
		flat = append(flat, e)
	}
	if len(flat)%2 != 0 {
		return nil, false
	}
	var list []NamedPassword
	for i := 0; i < len(flat); i += 2 {
		name, ok1 := octetElement(flat[i])
		display, ok2 := octetElement(flat[i+1])
		if !ok1 || !ok2 || name == "" {
			return nil, false
		}
		list = append(list, NamedPassword{Name: name, DisplayName: display})
	}
	return list, true
}

// isListed reports whether a list names the password.
func isListed(list []NamedPassword, name string) bool {
	return slices.ContainsFunc(list, func(p NamedPassword) bool { return p.Name == name })
}

// PasswordsState returns which passwords are set on a driver of this server (operation 45), in a layout nobody has
// published.
func (s *Server) PasswordsState(ctx context.Context, driverDN string) (Raw, error) {
	return s.about(ctx, opGetPasswordsState, driverDN, nil)
}

func checkPassword(p failover.Secret) error {
	if p.Empty() {
		return failover.Invalid("password", "is empty", "give the password, or clear it with its own operation")
	}
	return nil
}

// PasswordSource returns the password for a need, from a vault, a prompt or wherever it lives. [ErrNoPassword] says
// that there is none: the need stays open and is listed.
type PasswordSource func(ctx context.Context, need SecretNeeded) (failover.Secret, error)

// ErrNoPassword is what a PasswordSource returns, wrapped or not, for a password it does not have.
var ErrNoPassword = errors.New("no password available")

// PasswordState says how far a password has come on one server.
type PasswordState int

const (
	// PasswordMissing: it is not set and no source has it.
	PasswordMissing PasswordState = iota + 1
	// PasswordListed: the server lists it by name. Whether the value is right only a start of the driver shows.
	PasswordListed
	// PasswordUnverified: it was set and the server accepted it; nothing can verify it but a start of the driver.
	PasswordUnverified
	// passwordLeft: it is missing, was asked for again by a later run, and no source had it then either.
	passwordLeft
)

var passwordStateNames = []string{PasswordMissing: "missing", passwordLeft: "missing",
	PasswordListed:     "set, verified by name; the value is proven only by a start of the driver",
	PasswordUnverified: "set, accepted by the server; proven only by a start of the driver"}

// String returns the state in words.
func (p PasswordState) String() string { return enum.Name(passwordStateNames, p) }

// SetSecret sets the password of one need on this server and says what is proven about it afterwards: PasswordMissing
// when source has none. A named password that the server accepts and does not list is failover.ErrNotObserved, in
// doubt. Safe to repeat.
func (s *Server) SetSecret(ctx context.Context, need SecretNeeded, source PasswordSource) (PasswordState, error) {
	if source == nil {
		return PasswordMissing, failover.Invalid("PasswordSource", "is nil", "give a function that returns passwords")
	}
	password, err := source(ctx, need)
	if errors.Is(err, ErrNoPassword) || err == nil && password.Empty() {
		return PasswordMissing, nil
	}
	if err != nil {
		return PasswordMissing, notDone("get "+need.Kind.String()+" for", need.Object, "make the password available", err)
	}
	switch need.Kind {
	case SecretApplication:
		err = s.SetApplicationPassword(ctx, need.Object, password)
	case SecretRemoteLoader:
		err = s.SetRemoteLoaderPassword(ctx, need.Object, password)
	case SecretDriverObject:
		err = s.SetDriverObjectPassword(ctx, need.Object, password)
	case SecretNamed:
		if err = s.SetNamedPassword(ctx, need.Object, NamedPassword{need.Name, need.DisplayName}, password); err == nil {
			return s.namedPasswordState(ctx, need)
		}
	default:
		err = failover.Invalid("SecretNeeded.Kind", fmt.Sprintf("%v is unknown", need.Kind), "use a constant of this package")
	}
	if err != nil {
		return PasswordMissing, err
	}
	return PasswordUnverified, nil
}

func (s *Server) namedPasswordState(ctx context.Context, need SecretNeeded) (PasswordState, error) {
	list, err := s.NamedPasswords(ctx, need.Object)
	if unsupported(err) {
		return PasswordUnverified, nil // it was set; this server's list cannot be read, and that is what the state says
	}
	if err != nil {
		return PasswordUnverified, behind.Effect(err)
	}
	if isListed(list, need.Name) {
		return PasswordListed, nil
	}
	return PasswordMissing, inDoubt(opSetNamedPassword.words, need.Object, "set it again",
		fmt.Errorf("%w: the server accepted it, and its list does not name it", failover.ErrNotObserved))
}
