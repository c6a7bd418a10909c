package powershell_test

import (
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/powershell"
	"github.com/01b61c5c/failover/internal/powershell/powershelltest"
	"github.com/01b61c5c/failover/remote"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var script = powershell.Script{Name: "try it", Text: "param([string]$Document)\n[pscustomobject]@{ é = 1 }\n"}

// serve answers every command with what reply writes and returns a host that reaches it.
func serve(t *testing.T, reply remotetest.Handler) *remote.Host {
	t.Helper()
	srv, err := remotetest.NewServer(reply)
	require.NoError(t, err)
	host, err := remote.New(remote.Config{SSH: srv.SSH()})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = host.Close()
		srv.Close()
	})
	return host
}

func TestScriptAndParametersArriveAndTheAnswerComesBack(t *testing.T) {
	type doc struct{ Name string }
	host := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
		frame, ok := powershelltest.Decode(cmd.Line)
		if !ok || frame != powershell.Frame() {
			return remotetest.Exit(9009)
		}
		input, _ := io.ReadAll(cmd.Stdin)
		text, document, ok := powershelltest.Parse(input)
		var in doc
		if !ok || text != script.Text || json.Unmarshal(document, &in) != nil {
			return remotetest.Exit(1)
		}
		framed, exit, _ := powershelltest.Answer(doc{in.Name + "!"})
		// A banner, the noise of 5.1, the answer broken into lines, more noise.
		_, _ = io.WriteString(cmd.Stdout,
			"Welcome to \x84\x94 SRV\r\n#< CLIXML\r\n<Objs><S S=\"Error\">x</S></Objs>"+framed+"\r\nbye")
		return remotetest.Exit(exit)
	})
	for _, name := range Nasty {
		var out doc
		require.NoError(t, powershell.Run(t.Context(), host, script, doc{name}, &out))
		require.Equal(t, strings.ToValidUTF8(name, "\ufffd")+"!", out.Name)
	}
}

func TestOutcomes(t *testing.T) {
	failed := func(f powershell.Failure) string {
		text, _, err := powershelltest.AnswerFailure(f)
		require.NoError(t, err)
		return text
	}
	denied := powershell.Failure{FQID: "X,Y",
		Chain: []powershell.Cause{{Type: "Outer", Message: "äußerer"}, {Type: "Inner", Win32: 5070, Message: "angehalten"}}}
	touched := denied
	touched.Touched = true
	ok, _, err := powershelltest.Answer(map[string]int{"a": 1})
	require.NoError(t, err)
	nothing, _, err := powershelltest.Answer(nil)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		out, stderr string
		exit        int
		want        error
		outcome     failover.Outcome
		text        string
	}{
		"failed before it touched anything": {failed(denied), "", 17, nil, failover.NotApplied, "Windows error 5070"},
		"failed after that":                 {failed(touched), "", 17, nil, failover.InDoubt, "Windows error 5070"},
		"PowerShell did not start": {"", "#< CLIXML\r\n<Objs><S S=\"Error\">gesperrt_x000D__x000A_</S></Objs>", 1,
			powershell.ErrNoAnswer, failover.InDoubt, "gesperrt"},
		"no program of that name": {"", "not recognized", 9009, powershell.ErrNoPowerShell,
			failover.NotApplied, "9009"},
		"silence":                              {"", "", 0, powershell.ErrNoAnswer, failover.InDoubt, ""},
		"an answer cut short":                  {ok[:len(ok)-3], "", 0, powershell.ErrNoAnswer, failover.InDoubt, ""},
		"an answer that is no document":        {"<<<R:AAAA:R>>>", "", 0, powershell.ErrBadAnswer, failover.InDoubt, ""},
		"an answer that is no base64":          {"<<<R:A:R>>>", "", 0, powershell.ErrBadAnswer, failover.InDoubt, ""},
		"refused, told by another exit status": {failed(denied), "", 1, nil, failover.NotApplied, "Windows error 5070"},
		"failed by the document, not by exit":  {failed(touched), "", 0, nil, failover.InDoubt, "Windows error 5070"},
		"not found by a PowerShell as shell": {"", "powershell.exe : …\r\n + FullyQualifiedErrorId : CommandNotFoundException",
			1, powershell.ErrNoPowerShell, failover.NotApplied, ""},
		"not found by a POSIX shell": {"", "bash: powershell.exe: command not found", 127, powershell.ErrNoPowerShell,
			failover.NotApplied, ""},
		"another command not found": {"", "x : CommandNotFoundException", 1, powershell.ErrNoAnswer, failover.InDoubt, ""},
		"a policy": {"<<<L:ConstrainedLanguage>>>\r\n", "", 18, powershell.ErrRestricted, failover.NotApplied,
			"ConstrainedLanguage"},
		"two answers":                  {ok + ok, "", 0, powershell.ErrBadAnswer, failover.InDoubt, ""},
		"a document that says nothing": {nothing, "", 0, powershell.ErrBadAnswer, failover.InDoubt, "says nothing"},
		"another shape than expected":  {ok, "", 0, powershell.ErrBadAnswer, failover.InDoubt, ""},
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, func(_ context.Context, cmd *remotetest.Command) remotetest.Ending {
				_, _ = io.WriteString(cmd.Stdout, c.out)
				_, _ = io.WriteString(cmd.Stderr, c.stderr)
				return remotetest.Exit(c.exit)
			})
			var answer []string
			err := powershell.Run(t.Context(), host, script, nil, &answer)
			require.Equal(t, c.outcome, failover.OutcomeOf(err), "%v", err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestTheLineIsShortAndTheSameForEveryCall(t *testing.T) {
	line := `c:\windows\system32\cmd.exe /c "` + powershell.CommandLine() + `"`
	require.Less(t, len(line), 8191-200)
	require.NotContains(t, line, "\n")
}

func TestNoNameEverLeavesTheBase64(t *testing.T) {
	plain := regexp.MustCompile(`\A[A-Za-z0-9+/=]*\n[A-Za-z0-9+/=]*\nend\n\z`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		input, err := powershell.Input(script, map[string]string{"name": name})
		require.NoError(t, err)
		require.Regexp(t, plain, string(input))
		text, document, ok := powershelltest.Parse(input)
		require.True(t, ok)
		require.Equal(t, script.Text, text)
		var back map[string]string
		require.NoError(t, json.Unmarshal(document, &back))
		require.Equal(t, strings.ToValidUTF8(name, "\ufffd"), back["name"])
	})
}

// What is not there must not look like something that was done.
func TestAnEmptyScriptIsRefused(t *testing.T) {
	err := powershell.Run(t.Context(), nil, powershell.Script{Name: "stop service"}, nil, nil)
	require.ErrorContains(t, err, "no such script")
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
}

func TestACutInputIsRefused(t *testing.T) {
	input, err := powershell.Input(script, map[string]string{"name": "x"})
	require.NoError(t, err)
	for n := range len(input) - 1 {
		_, _, ok := powershelltest.Parse(input[:n])
		require.False(t, ok, "cut at %d", n)
	}
}

func TestWin32CodeIsFoundInTheChain(t *testing.T) {
	for want, chain := range map[int][]powershell.Cause{
		5016: {{HResult: "0x80131500"}, {Win32: 5016, HResult: "0x80004005"}},
		5908: {{HResult: "0x80131500"}, {Type: "System.Runtime.InteropServices.COMException", HResult: "0x80071714"}},
		0: {{HResult: "0x80131500"}, {HResult: "garbage"},
			// The number of the type, not the answer of Windows.
			{Type: "System.ArgumentException", HResult: "0x80070057"},
			{Type: "System.IO.FileNotFoundException", HResult: "0x80070002"}},
	} {
		require.Equal(t, want, (&powershell.Failure{Chain: chain}).Win32())
	}
}

func TestEncodingAsDocumented(t *testing.T) {
	line := powershell.CommandLine()
	decoded, ok := powershelltest.Decode(line)
	require.True(t, ok)
	require.Equal(t, powershell.Frame(), decoded)
	decoded, ok = powershelltest.Decode("powershell.exe -EncodedCommand JwDpACcA")
	require.True(t, ok)
	require.Equal(t, "'é'", decoded)
}

func TestErrorTextReadsCLIXML(t *testing.T) {
	stream := "before #< CLIXML\r\n<Objs Version=\"1.1.0.1\"><Obj S=\"progress\"><S>no</S></Obj><S " +
		"S=\"Error\">a_x0041__xD83D__xDE00_</S><S S=\"Error\">b</S></Objs> after"
	require.Equal(t, "aA😀 b before after", powershell.ErrorText([]byte(stream)))
	require.Equal(t, "plain", powershell.ErrorText([]byte(" plain\r\n")))
	require.Equal(t, "#< CLIXML <Objs>cut", powershell.ErrorText([]byte("#< CLIXML <Objs>cut")))
}
