package powershell

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/remote"
)

//go:embed frame.ps1
var frame string

const (
	program = "powershell.exe" // Windows PowerShell 5.1, part of every Windows Server

	// ExitFailed is the frame's exit status for a script that ran and failed. PowerShell itself ends with 1 and
	// cmd.exe with 9009 when they could not start anything.
	ExitFailed = 17
	// exitNoProgram is cmd.exe's exit status for a program it does not find (documented).
	exitNoProgram = 9009

	maxAnswer = 16 << 20
	maxQuoted = 600
)

// Sentinels; test with errors.Is.
var (
	// ErrNoAnswer: the command ended without a framed answer, so nothing is known about the script.
	ErrNoAnswer = errors.New("no answer from PowerShell")
	// ErrNoPowerShell: the machine does not find the program.
	ErrNoPowerShell = errors.New("PowerShell not found")
	// ErrRestricted: a policy of the machine keeps PowerShell from running scripts as they are written.
	ErrRestricted = errors.New("PowerShell is restricted on this machine")
	// ErrBadAnswer: the answer is not the document it should be.
	ErrBadAnswer = errors.New("unreadable answer from PowerShell")
)

// Runner runs one command on one machine; *remote.Host is one.
type Runner interface {
	Run(ctx context.Context, cmd remote.Command) (remote.Result, error)
}

// Script is a .ps1 file with one parameter, a JSON document.
type Script struct {
	Name string // for errors, for example "move group"
	Text string
}

// Failure is a script that ran and failed.
type Failure struct {
	Touched  bool    `json:"touched"`  // it had begun to change something
	Changed  bool    `json:"changed"`  // the last change had been made: what failed came after it
	FQID     string  `json:"fqid"`     // fully qualified error id, not localised; the text where a script threw one
	Category string  `json:"category"` // error category, not localised
	Chain    []Cause `json:"chain"`    // outermost first
}

// Cause is one exception of the chain.
type Cause struct {
	Type    string `json:"type"`
	HResult string `json:"hresult"`
	Win32   int    `json:"win32"`
	Message string `json:"message"` // localised: for people only
}

// Error returns the code and the texts.
func (f *Failure) Error() string {
	var texts []string
	for _, c := range f.Chain {
		texts = append(texts, clip(c.Message))
	}
	text := strings.Join(texts, ": ")
	if code := f.Win32(); code != 0 {
		text = fmt.Sprintf("Windows error %d: %s", code, text)
	}
	if f.FQID != "" && !slices.Contains(texts, clip(f.FQID)) {
		text += " [" + clip(f.FQID) + "]"
	}
	return text
}

// packs reports whether an exception of this type carries the code of a Windows call in its HRESULT. In others, for
// example ArgumentException, the number is that of the type.
func (c Cause) packs() bool {
	return c.Type == "System.Runtime.InteropServices.COMException" || c.Type == "System.ComponentModel.Win32Exception" ||
		strings.HasPrefix(c.Type, "Microsoft.FailoverClusters.")
}

// Win32 returns the first Win32 code in the chain, also one packed into an HRESULT of the Win32 facility; 0 when
// there is none.
func (f *Failure) Win32() int {
	for _, c := range f.Chain {
		if c.Win32 != 0 {
			return c.Win32
		}
	}
	for _, c := range f.Chain {
		var h uint32
		if _, err := fmt.Sscanf(c.HResult, "0x%X", &h); err == nil && c.packs() && h>>16 == 0x8007 && h&0xffff != 0 {
			return int(h & 0xffff)
		}
	}
	return 0
}

// CommandLine returns the command line that every call uses.
func CommandLine() string {
	return program + " -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -OutputFormat Text -EncodedCommand " +
		encode(frame)
}

// Input returns what goes to standard input: script and parameters, each one line of base64, and the word end, without
// which the frame runs nothing.
func Input(s Script, params any) ([]byte, error) {
	document, err := json.Marshal(params)
	if s.Text == "" {
		err = errors.Join(err, errors.New("there is no such script"))
	}
	if err != nil {
		return nil, &failover.Error{Op: s.Name, Outcome: failover.NotApplied, Err: err,
			Next: "give a script, and parameters that marshal to JSON"}
	}
	b64 := base64.StdEncoding.EncodeToString
	return []byte(b64([]byte(s.Text)) + "\n" + b64(document) + "\nend\n"), nil
}

// Run runs the script once with params as its JSON document and reads its output into answer.
//
// Errors are *failover.Error around *Failure (the script ran and failed: NotApplied when it had touched nothing, else
// InDoubt, and the caller judges by the code), ErrNoPowerShell (NotApplied), ErrNoAnswer and ErrBadAnswer (InDoubt),
// or those of the line. The script is never sent twice.
func Run(ctx context.Context, r Runner, s Script, params, answer any) error {
	input, err := Input(s, params)
	if err != nil {
		return err
	}
	res, err := r.Run(ctx, remote.Command{Name: s.Name, Line: CommandLine(), Stdin: input, MaxOutput: maxAnswer})
	if err != nil {
		return err
	}
	return read(s, res, answer)
}

// limited is what the frame prints where a policy (AppLocker, WDAC) restricts the language.
var limited = regexp.MustCompile(`<<<L:(\w+)>>>`)

// notFound reports whether a shell says that it has no such program: cmd.exe, a POSIX shell, or a PowerShell as the
// login shell, whose error category is not localised (documented).
func notFound(res remote.Result) bool {
	return res.Exit == exitNoProgram || res.Exit == 126 || res.Exit == 127 ||
		bytes.Contains(res.Stderr, []byte("CommandNotFoundException")) && bytes.Contains(res.Stderr, []byte(program))
}

var framed = regexp.MustCompile(`<<<R:([A-Za-z0-9+/=\s]*):R>>>`)

// read finds the framed document in what came back.
func read(s Script, res remote.Result, answer any) error {
	fail := func(outcome failover.Outcome, next string, err error) error {
		return &failover.Error{Op: s.Name, Target: "PowerShell", Outcome: outcome, Next: next, Err: err}
	}
	found := framed.FindAllSubmatch(StripCLIXML(res.Stdout), -1)
	if len(found) == 0 {
		said := clip(strings.TrimSpace(string(StripCLIXML(res.Stdout)) + " " + ErrorText(res.Stderr)))
		if mode := limited.FindSubmatch(res.Stdout); mode != nil {
			return fail(failover.NotApplied, "let the policy of the machine allow this account the full language",
				fmt.Errorf("%w: language mode %s", ErrRestricted, mode[1]))
		}
		if notFound(res) {
			return fail(failover.NotApplied, "let the account find powershell.exe, which is part of Windows, in its PATH",
				fmt.Errorf("%w: exit status %d: %s", ErrNoPowerShell, res.Exit, said))
		}
		return fail(failover.InDoubt, "log in by hand and see whether PowerShell starts; read the state before anything else",
			fmt.Errorf("%w: exit status %d: %s", ErrNoAnswer, res.Exit, said))
	}
	var doc struct {
		OK   *bool           `json:"ok"`
		Data json.RawMessage `json:"data"`
		Failure
	}
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(found[len(found)-1][1])), ""))
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	bad := func(err error) error {
		return fail(failover.InDoubt, "read the state before anything else",
			fmt.Errorf("%w: exit status %d: %w", ErrBadAnswer, res.Exit, err))
	}
	switch {
	case err != nil:
		return bad(err)
	case len(found) > 1:
		return bad(errors.New("it answered more than once"))
	case doc.OK == nil:
		return bad(errors.New("it does not say whether it went well"))
	case !*doc.OK: // whatever the exit status: a PowerShell as login shell turns 17 into 1 (seen)
		outcome := failover.NotApplied
		if doc.Touched {
			outcome = failover.InDoubt
		}
		return fail(outcome, "act on what Windows says", &doc.Failure)
	case answer == nil:
		return nil
	case doc.Data == nil || string(doc.Data) == "null": // each field of the answer would be read as none
		return bad(errors.New("it says nothing"))
	}
	if err := json.Unmarshal(doc.Data, answer); err != nil {
		return bad(err)
	}
	return nil
}

// encode gives a script the form -EncodedCommand takes: base64 of UTF-16LE without a byte order mark (documented).
func encode(script string) string {
	units := utf16.Encode([]rune(script))
	raw := make([]byte, 2*len(units))
	for i, u := range units {
		binary.LittleEndian.PutUint16(raw[2*i:], u)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// Frame returns the text of frame.ps1, for simulators that must know what they are asked.
func Frame() string { return frame }

func clip(s string) string {
	if len(s) > maxQuoted {
		return strings.ToValidUTF8(s[:maxQuoted], "") + "…"
	}
	return s
}
