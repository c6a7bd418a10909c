package runbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
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

// ReadConfig reads a YAML or JSON file with exactly one document into v. It refuses keys that v does not have and
// values that v cannot take, with line and key, and places that an example file left to be filled in. The file may be
// UTF-8 with or without byte order mark, or UTF-16 with one.
func ReadConfig(path string, v any) error {
	field := "configuration file " + path
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return failover.Invalid(field, "is not there",
			"copy the program's site.example.yaml, fill it in and name it with -config")
	}
	text, err := localFile(field, path, configLimit, notWritable(field, path))
	if err != nil {
		return err
	}
	if line := tooDeep(text); line > 0 {
		return failover.Invalid(field, fmt.Sprintf("is nested too deeply at line %d", line),
			"write it as in the program's site.example.yaml")
	}
	raw := []byte(text)
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		file = new(ast.File) // the decoder says what is wrong
	} else {
		file.Docs = slices.DeleteFunc(file.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
		if n := len(file.Docs); n != 1 {
			return failover.Invalid(field, fmt.Sprintf("holds %d documents", n),
				"keep exactly one: the lines with --- part them")
		}
	}
	if left := places(file, func(text string) bool { return strings.Contains(text, fillIn) }); len(left) > 0 {
		return failover.Invalid(field, "still says "+fillIn+" at "+strings.Join(left, ", "),
			"fill in what the comments there ask for")
	}
	if err := yaml.UnmarshalWithOptions(raw, v, yaml.Strict()); err != nil {
		return failover.Invalid(field, wrongValue(file, err),
			"correct it there; the program's site.example.yaml explains each key")
	}
	return nil
}

// wrongValue says in words of the file what the decoder did not take.
func wrongValue(file *ast.File, err error) string {
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok && wrong.Token != nil {
		return fmt.Sprintf("[%d:%d] %s is %s, and %s is wanted", wrong.Token.Position.Line, wrong.Token.Position.Column,
			strconv.Quote(wrong.Token.Value), kindWord(wrong.SrcType), kindWord(wrong.DstType))
	}
	if wrong, ok := errors.AsType[*yaml.UnexpectedNodeTypeError](err); ok && wrong.Token != nil &&
		wrong.Token.Prev != nil && wrong.Token.Prev.Prev != nil {
		return strconv.Quote(wrong.Token.Prev.Prev.Value) + ": " + oneLine(yaml.FormatError(err, false, false))
	}
	if _, placed := err.(yaml.Error); !placed { //nolint:errorlint // the decoder's own errors name the place
		quoted := func(text string) bool { return strings.Contains(err.Error(), strconv.Quote(text)) }
		if at := places(file, quoted); len(at) > 0 {
			return "at " + strings.Join(at, " or ") + ": " + err.Error()
		}
	}
	return oneLine(yaml.FormatError(err, false, false)) // without the lines around the place
}

var kindWords = map[reflect.Kind]string{reflect.Bool: "true or false", reflect.String: "a text",
	reflect.Int: "a number", reflect.Int64: "a number", reflect.Uint: "a number", reflect.Uint64: "a number",
	reflect.Float64: "a number", reflect.Slice: "a list", reflect.Array: "a list", reflect.Struct: "a block of keys",
	reflect.Map: "a block of keys", reflect.Pointer: "a block of keys"}

func kindWord(t reflect.Type) string {
	if t == nil {
		return "another value"
	}
	return cmp.Or(kindWords[t.Kind()], "another value")
}

// deepest is how many levels a configuration file may have.
const deepest = 50

// tooDeep returns the line at which a file has more levels than any site needs, or 0: a parser would go down with them.
func tooDeep(text string) int {
	flow, n := 0, 0
	for line := range strings.Lines(text) {
		n++
		level := len(line) - len(strings.TrimLeft(line, " -?"))
		for _, r := range line {
			switch r {
			case '[', '{':
				flow++
			case ']', '}':
				flow = max(0, flow-1)
			}
		}
		if flow > deepest || level > 8*deepest {
			return n
		}
	}
	return 0
}

// localFiles looks at every file that the configuration names for a secret or for host keys.
func localFiles(field string, v reflect.Value) (wrong []error) {
	dot := func(name string) string { return strings.TrimPrefix(field+"."+name, ".") }
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			return localFiles(field, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			wrong = append(wrong, localFiles(fmt.Sprintf("%s[%d]", field, i), v.Index(i))...)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			wrong = append(wrong, localFiles(dot(fmt.Sprint(it.Key())), it.Value())...)
		}
	case reflect.Struct:
		switch s := v.Interface().(type) {
		case Secret:
			return append(wrong, s.check(field))
		case SSH:
			wrong = append(wrong, trusted(dot("known_hosts"), s.KnownHosts), trusted(dot("certificate"), s.Certificate))
		}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			switch {
			case !f.IsExported():
			case options == "inline":
				wrong = append(wrong, localFiles(field, v.Field(i))...)
			default:
				wrong = append(wrong, localFiles(dot(cmp.Or(name, strings.ToLower(f.Name))), v.Field(i))...)
			}
		}
	}
	return wrong
}

// places names the keys whose values are wanted, with their lines.
func places(file *ast.File, wanted func(string) bool) (found []string) {
	for _, doc := range file.Docs {
		ast.Walk(placer(func(n ast.Node) {
			if _, scalar := n.(ast.ScalarNode); scalar && wanted(n.GetToken().Value) {
				found = append(found,
					fmt.Sprintf("%s (line %d)", strings.TrimPrefix(n.GetPath(), "$."), n.GetToken().Position.Line))
			}
		}), doc.Body)
	}
	return found
}

// placer is called with each value of a file, and with no key.
type placer func(ast.Node)

// Visit implements ast.Visitor.
func (p placer) Visit(n ast.Node) ast.Visitor {
	switch n := n.(type) {
	case *ast.MappingValueNode:
		p(n.Value)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			p(v)
		}
	}
	return p
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
		return func(context.Context) (failover.Secret, error) { return secretFile("secret file", s.File) }
	case s.Env != "":
		return func(context.Context) (failover.Secret, error) {
			value := firstLine(os.Getenv(s.Env)) // a container's secret ends as its file does
			if value == "" {
				return failover.Secret{}, failover.Invalid("environment variable "+s.Env, "is not set", "set it to the secret")
			}
			return failover.NewSecret(value), nil
		}
	case s.Prompt != "":
		return askedOnce(func() (failover.Secret, error) { return secretPrompt(s.Prompt) })
	}
	return nil
}

// check refuses a secret with several sources, and a file that could not be used.
func (s Secret) check(field string) error {
	sources := slices.DeleteFunc([]string{s.File, s.Env, s.Prompt}, func(s string) bool { return s == "" })
	switch {
	case len(sources) > 1:
		return failover.Invalid(field, "names several sources", "name a file, an environment variable or a prompt")
	case s.File == "":
		return nil
	}
	_, err := secretFile(field+".file", s.File)
	return err
}

// terminal is held while a question stands: there is one, and two machines may be logged in to at the same time.
var terminal sync.Mutex

// askedOnce keeps the answer for as long as the program runs. A line that drops in the middle of a move is dialled
// again, perhaps when nobody sits at the terminal any more.
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

func secretPrompt(question string) (failover.Secret, error) {
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return failover.Secret{}, failover.Invalid("secret "+question, "cannot be asked for",
			"run on a terminal, or name a file or an environment variable")
	}
	fmt.Fprintf(os.Stderr, "%s: ", failover.Printable(question))
	raw, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return failover.NewSecret(string(raw)), err
}

// SSH is the part of a configuration file that says how to reach a machine.
type SSH struct {
	Address          string   `yaml:"address"`           // host:port, the machine's own
	User             string   `yaml:"user"`              // account to log in with
	HostKeys         []string `yaml:"host_keys"`         // fingerprints, SHA256:…
	KnownHosts       string   `yaml:"known_hosts"`       // or a known_hosts file
	Key              Secret   `yaml:"key"`               // private key
	Passphrase       Secret   `yaml:"passphrase"`        // of the key
	Certificate      string   `yaml:"certificate"`       // file of the key's certificate, -cert.pub
	Agent            string   `yaml:"agent"`             // or the socket of an agent
	Password         Secret   `yaml:"password"`          // or a password
	Jump             []SSH    `yaml:"jump"`              // machines to go through, the first one first
	ConnectTimeout   Duration `yaml:"connect_timeout"`   // as in failover.SSH
	KeepaliveEvery   Duration `yaml:"keepalive_every"`   // as in failover.SSH
	KeepaliveMisses  int      `yaml:"keepalive_misses"`  // as in failover.SSH
	LegacyAlgorithms bool     `yaml:"legacy_algorithms"` // what only old AIX and Windows servers need
}

// Target returns the settings as the library takes them. peers are the other machines of a pair or cluster: meeting the
// key of one is an error of its own.
func (s SSH) Target(peers ...SSH) failover.SSH {
	target := failover.SSH{Address: s.Address, User: s.User, HostKeys: s.HostKeys, KnownHosts: s.KnownHosts,
		Key: s.Key.Func(), Passphrase: s.Passphrase.Func(), Certificate: s.Certificate, Agent: s.Agent,
		Password: s.Password.Func(), ConnectTimeout: time.Duration(s.ConnectTimeout),
		KeepaliveEvery: time.Duration(s.KeepaliveEvery), KeepaliveMisses: s.KeepaliveMisses,
		LegacyAlgorithms: s.LegacyAlgorithms}
	for _, hop := range s.Jump {
		target.Jump = append(target.Jump, hop.Target())
	}
	for _, peer := range peers {
		target = target.WithPeer(failover.SSH{Address: peer.Address, HostKeys: peer.HostKeys, KnownHosts: peer.KnownHosts})
	}
	return target
}
