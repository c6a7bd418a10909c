// Package edir is what the reference programs for Identity Manager share: the part of a configuration file that says
// how to reach an eDirectory server and what is proven about its dialect.
package edir

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/runbook"
)

// Server is one eDirectory server of a configuration file.
type Server struct {
	URL         string           `yaml:"url"`
	DN          string           `yaml:"dn"`
	Roots       string           `yaml:"roots"`
	Fingerprint string           `yaml:"fingerprint"`
	ServerName  string           `yaml:"server_name"`
	LegacyTLS   bool             `yaml:"legacy_tls"`
	User        string           `yaml:"user"`
	Password    runbook.Secret   `yaml:"password"`
	CallTimeout runbook.Duration `yaml:"call_timeout"`
}

// Check refuses what is missing, all of it at once. name is the key of the server in the file.
func (s Server) Check(name string) error {
	problems := []error{
		Filled(name+".url", s.URL, "its own address, as in ldaps://idm1.example:636"),
		Filled(name+".dn", s.DN, "the DN of the server object, the dsaName of its root DSE"),
		Filled(name+".user", s.User, "the DN of the user to log in as"),
	}
	if s.Password.Func() == nil {
		problems = append(problems,
			failover.Invalid(name+".password", "names no source", "name a file, an environment variable or a prompt"))
	}
	problems = append(problems,
		Filled(name+".roots or .fingerprint", s.Roots+s.Fingerprint,
			"the PEM file of the tree's CA or the certificate's SHA-256"),
		s.trust().Validate(name+".tls"))
	return errors.Join(problems...)
}

// Filled refuses what is empty.
func Filled(field, value, right string) error {
	if strings.TrimSpace(value) == "" {
		return failover.Invalid(field, "is missing", "give "+right)
	}
	return nil
}

// OneOf refuses a word that is not a key of values.
func OneOf[T any](field, value string, values map[string]T) error {
	if _, ok := values[value]; ok {
		return nil
	}
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return failover.Invalid(field, fmt.Sprintf("is %q", value), "use one of "+strings.Join(names, ", "))
}

// Config looks at the certificates and returns what idm.Dial takes. The password is asked for once, however often that
// is used. name is the key of the server in the file.
func (s Server) Config(name string) (idm.Config, error) {
	if _, err := s.TLS(name, ""); err != nil {
		return idm.Config{}, err // before anything is dialled
	}
	return idm.Config{URL: s.URL, TLS: s.trust(), UserDN: s.User, Password: Ask(new(sync.Mutex), s.Password.Func()),
		ExpectedServer: s.DN,
		CallTimeout:    time.Duration(s.CallTimeout)}, nil
}

func (s Server) trust() failover.TLS {
	t := failover.TLS{RootsFile: s.Roots, ServerName: s.ServerName, LegacyAlgorithms: s.LegacyTLS}
	if s.Fingerprint != "" {
		t.Fingerprints = []string{s.Fingerprint}
	}
	return t
}

// TLS returns settings that trust what Config trusts: the roots, or the one certificate with the fingerprint. host is
// the host of the URL.
func (s Server) TLS(name, host string) (*tls.Config, error) {
	return s.trust().Config(name+".tls", host)
}

// Ask fetches a secret once, although it is needed for each new connection. asking keeps two questions from being on
// the terminal at the same time.
func Ask(asking *sync.Mutex, fetch failover.SecretFunc) failover.SecretFunc {
	var kept failover.Secret
	return func(ctx context.Context) (failover.Secret, error) {
		asking.Lock()
		defer asking.Unlock()
		if !kept.Empty() {
			return kept, nil
		}
		secret, err := fetch(ctx)
		if err == nil {
			kept = secret
		}
		return secret, err
	}
}

// Dialect is the part of a configuration file that says what was proven on a lab server. Neither field has a default.
type Dialect struct {
	Framing    string `yaml:"framing"`
	ResyncFlag string `yaml:"resync_flag"`
}

var (
	framings = words(idm.FramingConcatenated, idm.FramingSequence)
	flags    = words(idm.ResyncFlagOneSkips, idm.ResyncFlagOneSyncs)
)

func words[T fmt.Stringer](values ...T) map[string]T {
	list := map[string]T{}
	for _, v := range values {
		list[v.String()] = v
	}
	return list
}

// Check refuses what is not filled in.
func (d Dialect) Check(name string) error {
	return errors.Join(OneOf(name+".framing", d.Framing, framings), OneOf(name+".resync_flag", d.ResyncFlag, flags))
}

// Value returns the dialect as the library takes it.
func (d Dialect) Value() idm.Dialect {
	return idm.Dialect{Framing: framings[d.Framing], Resync: flags[d.ResyncFlag]}
}
