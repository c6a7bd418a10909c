package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/examples/internal/edir"
	"github.com/01b61c5c/failover/idm"
	"github.com/01b61c5c/failover/runbook"
)

// password says where one password of a driver comes from.
type password struct {
	Object string         `yaml:"object"` // DN of the driver, or of what holds the named password
	Kind   idm.SecretKind `yaml:"kind"`
	Name   string         `yaml:"name"`   // of a named password
	Server string         `yaml:"server"` // DN, only where the servers have different ones
	From   runbook.Secret `yaml:"from"`
}

func (p password) check(field string, before []password) error {
	problems := []error{edir.Filled(field+".object", p.Object, "the DN it is set on")}
	switch {
	case p.Kind == 0:
		problems = append(problems,
			failover.Invalid(field+".kind", "is missing", "say which password it is, for example application password"))
	case p.Kind == idm.SecretNamed && p.Name == "":
		problems = append(problems, failover.Invalid(field+".name", "is missing", "give the name of the named password"))
	case p.Kind != idm.SecretNamed && p.Name != "":
		problems = append(problems,
			failover.Invalid(field+".name", "is given for a "+p.Kind.String(),
				"leave it out, or choose the kind named password"))
	}
	if p.From.Func() == nil {
		problems = append(problems,
			failover.Invalid(field+".from", "names no source", "name a file, an environment variable or a prompt"))
	}
	for i, other := range before {
		if other.Kind == p.Kind && other.Name == p.Name && other.Server == p.Server && idm.SameDN(other.Object, p.Object) {
			problems = append(problems,
				failover.Invalid(field, fmt.Sprintf("is the same password as passwords[%d]", i), "name each password once"))
		}
	}
	return errors.Join(problems...)
}

func (p password) meets(n idm.SecretNeeded) bool {
	return p.Kind == n.Kind && p.Name == n.Name && idm.SameDN(p.Object, n.Object) &&
		(p.Server == "" || idm.SameDN(p.Server, n.Server))
}

// passwordSource returns nil when the file names no password: then a person sets them. One for this server goes before
// one for all.
func passwordSource(list []password) idm.PasswordSource {
	if len(list) == 0 {
		return nil
	}
	fetch := make([]failover.SecretFunc, len(list))
	var asking sync.Mutex // drivers are worked on at the same time, and a terminal takes one question at a time
	for i, p := range list {
		fetch[i] = edir.Ask(&asking, p.From.Func())
	}
	return func(ctx context.Context, need idm.SecretNeeded) (failover.Secret, error) {
		found := -1
		for i, p := range list {
			if p.meets(need) && (found < 0 || p.Server != "") {
				found = i
			}
		}
		if found < 0 {
			return failover.Secret{}, fmt.Errorf("%w: the file has no entry for it", idm.ErrNoPassword)
		}
		return fetch[found](ctx)
	}
}

// dialer connects to one server; it may be called again and again.
type dialer = func(context.Context) (*idm.Server, error)

// dialer reads the certificates of a server now and connects in the site's dialect when it is called.
func (s site) dialer(name string) (dialer, error) {
	server := s.Home
	if name == "standby" {
		server = s.Standby
	}
	conf, err := server.Config(name)
	if err != nil {
		return nil, err
	}
	conf.Dialect = s.Dialect.Value()
	return func(ctx context.Context) (*idm.Server, error) {
		server, err := idm.Dial(ctx, conf)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return server, nil
	}, nil
}
