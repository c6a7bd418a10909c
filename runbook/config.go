package runbook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"golang.org/x/term"

	"github.com/01b61c5c/failover"
)

// fillIn marks what an example file leaves to the site.
const fillIn = "FILL-IN"

// ReadConfig reads a YAML or JSON file into v. It refuses keys that v does not have and values that v cannot take, with
// line and key, and places that an example file left to be filled in.
func ReadConfig(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return failover.Invalid("configuration file "+path, "is not there", "copy the program's site.example.yaml, fill it in and name it with -config")
	}
	if err != nil {
		return err
	}
	if left := places(raw, func(text string) bool { return strings.Contains(text, fillIn) }); len(left) > 0 {
		return failover.Invalid("configuration file "+path, "still says "+fillIn+" at "+strings.Join(left, ", "), "fill in what the comments there ask for")
	}
	if err := yaml.UnmarshalWithOptions(raw, v, yaml.Strict()); err != nil {
		if _, placed := err.(yaml.Error); !placed { //nolint:errorlint // the decoder's own errors name the place
			if at := places(raw, func(text string) bool { return strings.Contains(err.Error(), strconv.Quote(text)) }); len(at) > 0 {
				return fmt.Errorf("%s: at %s: %w", path, strings.Join(at, " or "), err)
			}
		}
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// places names the keys whose values are wanted, with their lines.
func places(raw []byte, wanted func(string) bool) []string {
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return nil // the decoder says what is wrong
	}
	p := &placer{wanted: wanted}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			ast.Walk(p, doc.Body)
		}
	}
	return p.found
}

type placer struct {
	wanted func(string) bool
	found  []string
}

// Visit implements ast.Visitor.
func (p *placer) Visit(n ast.Node) ast.Visitor {
	if pair, ok := n.(*ast.MappingValueNode); ok {
		p.look(pair.Value)
	}
	if list, ok := n.(*ast.SequenceNode); ok {
		for _, v := range list.Values {
			p.look(v)
		}
	}
	return p
}

func (p *placer) look(n ast.Node) {
	if _, scalar := n.(ast.ScalarNode); scalar && p.wanted(n.GetToken().Value) {
		p.found = append(p.found, fmt.Sprintf("%s (line %d)", strings.TrimPrefix(n.GetPath(), "$."), n.GetToken().Position.Line))
	}
}

// Duration is a length of time written as in "90s", "30m" or "1h30m".
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no length of time; write for example 90s or 30m", text)
	}
	*d = Duration(parsed)
	return nil
}

// Secret says where a secret comes from. The configuration file never holds one itself.
type Secret struct {
	File   string `yaml:"file"`   // the first line of this file; it must be readable by its owner only
	Env    string `yaml:"env"`    // this environment variable
	Prompt string `yaml:"prompt"` // asked on the terminal, without echo, once
}

// Func returns the function that fetches the secret, or nil when no source is named.
func (s Secret) Func() failover.SecretFunc {
	switch {
	case s.File != "":
		return func(context.Context) (failover.Secret, error) { return secretFile(s.File) }
	case s.Env != "":
		return func(context.Context) (failover.Secret, error) {
			value, ok := os.LookupEnv(s.Env)
			if !ok || value == "" {
				return failover.Secret{}, failover.Invalid("environment variable "+s.Env, "is not set", "set it to the secret")
			}
			return failover.NewSecret(value), nil
		}
	case s.Prompt != "":
		return askedOnce(func() (failover.Secret, error) { return secretPrompt(s.Prompt) })
	}
	return nil
}

// terminal is held while a question stands: there is one, and two machines may be logged in to at the same time.
var terminal sync.Mutex

// askedOnce keeps the answer for as long as the program runs. A line that drops in the middle of a move is dialled again,
// perhaps when nobody sits at the terminal any more.
func askedOnce(ask func() (failover.Secret, error)) failover.SecretFunc {
	var answer failover.Secret
	return func(context.Context) (failover.Secret, error) {
		terminal.Lock()
		defer terminal.Unlock()
		if !answer.Empty() {
			return answer, nil
		}
		secret, err := ask()
		if err == nil {
			answer = secret
		}
		return secret, err
	}
}

func secretFile(path string) (failover.Secret, error) {
	info, err := os.Stat(path)
	if err != nil {
		return failover.Secret{}, err
	}
	if info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
		return failover.Secret{}, failover.Invalid("secret file "+path, "is open to others", "chmod 600 it")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return failover.Secret{}, err
	}
	text := string(raw)
	if !strings.HasPrefix(text, "-----BEGIN") { // a private key has many lines, a password has one
		text, _, _ = strings.Cut(text, "\n")
		text = strings.TrimSuffix(text, "\r")
	}
	if text == "" {
		return failover.Secret{}, failover.Invalid("secret file "+path, "is empty", "put the secret on its first line")
	}
	return failover.NewSecret(text), nil
}

func secretPrompt(question string) (failover.Secret, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return failover.Secret{}, failover.Invalid("secret "+question, "cannot be asked for", "run on a terminal, or name a file or an environment variable")
	}
	fmt.Fprintf(os.Stderr, "%s: ", question)
	raw, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return failover.NewSecret(string(raw)), err
}

// SSH is the part of a configuration file that says how to reach a machine.
type SSH struct {
	Address          string   `yaml:"address"`
	User             string   `yaml:"user"`
	HostKeys         []string `yaml:"host_keys"`
	KnownHosts       string   `yaml:"known_hosts"`
	Key              Secret   `yaml:"key"`
	Passphrase       Secret   `yaml:"passphrase"`
	Agent            string   `yaml:"agent"`
	Password         Secret   `yaml:"password"`
	LegacyAlgorithms bool     `yaml:"legacy_algorithms"`
}

// Target returns the settings as the library takes them. peer is the other machine of a pair: meeting its key is an
// error of its own.
func (s SSH) Target(peer SSH) failover.SSH {
	return failover.SSH{Address: s.Address, User: s.User, HostKeys: s.HostKeys, KnownHosts: s.KnownHosts, PeerKeys: peer.HostKeys,
		Key: s.Key.Func(), Passphrase: s.Passphrase.Func(), Agent: s.Agent, Password: s.Password.Func(), LegacyAlgorithms: s.LegacyAlgorithms}
}
