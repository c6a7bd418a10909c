package powershell_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nasty are names that a careless program would execute.
var Nasty = []string{
	"EFT Server", "O'Brien", "it‘s", "it’s", "‚low‛", "“double”", `"quoted"`, "$(Stop-Computer)", "$env:PATH", "`n",
	"a`'b", "';Stop-Computer;'",
	"EFT*", "EFT?", "[abc]", "a\nb", "a\r\nb", "a\u2028b", "a\x00b", "#comment", "<#", "#>", "@'", "--%", "%PATH%", "a&b",
	"a|b", "a;b", "{}", "日本", "\xff", "",
}

type parsed struct {
	File   string
	Errors []struct {
		Line, Column int
		Text         string
	}
	Commands   []string
	Parameters []string
	Kinds      []string
	Root       string
}

// What only one of Windows PowerShell 5.1 and PowerShell 7 has, and what runs text as code.
var (
	badCommands = []string{"iex", "Invoke-Expression", "Add-Type",
		"Get-WmiObject", "gwmi", "Invoke-WmiMethod", "Set-WmiInstance", "Remove-WmiObject", "Register-WmiEvent",
		"Get-EventLog", "New-WebServiceProxy",
		"Get-Error", "Test-Json", "Join-String", "Get-Uptime", "Remove-Service", "Start-ThreadJob", "ConvertFrom-SddlString"}
	badParameters = []string{"-AsArray", "-AsHashtable", "-Parallel", "-AsByteStream", "-SkipCertificateCheck",
		"-NoEnumerate", "-LeafBase", "-Extension", "-ComputerName"}
)

func oneOf(list []string, word string) bool {
	return slices.ContainsFunc(list, func(bad string) bool { return strings.EqualFold(bad, strings.TrimRight(word, ":")) })
}

// grammar returns a function that parses files. It installs the grammar into a folder of its own.
func grammar(t *testing.T) func(files ...string) []parsed {
	t.Helper()
	missing := func(format string, args ...any) {
		if os.Getenv("PEERS") == "required" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("the PowerShell grammar needs node: %v", err)
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("grammar")))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund",
		"--no-package-lock", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		missing("the PowerShell grammar could not be installed: %v\n%s", err, out)
	}
	return func(files ...string) []parsed {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		check := exec.CommandContext(ctx, node, append([]string{filepath.Join(dir, "check.mjs"), "--tree"}, files...)...)
		var stderr bytes.Buffer
		check.Stderr = &stderr
		out, err := check.Output()
		require.NoError(t, err, stderr.String())
		var list []parsed
		for line := range strings.Lines(string(out)) {
			var p parsed
			require.NoError(t, json.Unmarshal([]byte(line), &p))
			list = append(list, p)
		}
		require.Len(t, list, len(files))
		return list
	}
}

// scripts returns every .ps1 file of the module.
func scripts(t *testing.T) []string {
	t.Helper()
	var files []string
	require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ".ps1") {
			files = append(files, path)
		}
		return err
	}))
	require.NotEmpty(t, files)
	return files
}

// embeds returns the patterns by which the module's Go files embed scripts.
func embeds(t *testing.T) []string {
	t.Helper()
	var patterns []string
	directive := regexp.MustCompile(`(?m)^\s*//go:embed (.*\.ps1.*)$`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, m := range directive.FindAllSubmatch(raw, -1) {
			for _, pattern := range strings.Fields(string(m[1])) {
				patterns = append(patterns, filepath.Join(filepath.Dir(path), pattern))
			}
		}
		return err
	}))
	require.NotEmpty(t, patterns)
	return patterns
}

func TestGrammar(t *testing.T) {
	parse := grammar(t)
	t.Run("every script is PowerShell that 5.1 and 7 share", func(t *testing.T) {
		for _, p := range parse(scripts(t)...) {
			require.Empty(t, p.Errors, p.File)
			require.NotContains(t, p.Kinds, "pipeline_chain_tail", "%s: && and || are not in 5.1", p.File)
			for _, c := range p.Commands {
				require.False(t, oneOf(badCommands, c), "%s: %s runs text as code or is not in both versions", p.File, c)
			}
			for _, param := range p.Parameters {
				require.False(t, oneOf(badParameters, param), "%s: %s is not in both versions", p.File, param)
			}
			source, err := os.ReadFile(p.File)
			require.NoError(t, err)
			for _, c := range source {
				require.True(t, c == '\n' || c >= ' ' && c < 0x7f, "%s: only ASCII means the same in every code page", p.File)
			}
		}
	})
	t.Run("every script that is sent is among them", func(t *testing.T) {
		checked, embedded := scripts(t), 0
		for _, pattern := range embeds(t) {
			files, err := filepath.Glob(pattern)
			require.NoError(t, err)
			require.NotEmpty(t, files, pattern)
			for _, f := range files {
				require.Contains(t, checked, f)
			}
			embedded += len(files)
		}
		require.Len(t, checked, embedded, "a script that nobody embeds is none of ours")
	})
	t.Run("the check finds what is wrong", func(t *testing.T) {
		dir := t.TempDir()
		var files []string
		for i, bad := range []string{"a && b", "if ($a { 1 }", "$a = $b ? 1 : 2", "$x = $y ?? 3", "@{ a = }", "'open",
			"$a ??= 1",
			"gwmi Win32_Service | ConvertTo-Json -AsArray"} {
			files = append(files, filepath.Join(dir, strconv.Itoa(i)+".ps1"))
			require.NoError(t, os.WriteFile(files[i], []byte(bad), 0o600))
		}
		all := parse(files...)
		require.Contains(t, all[0].Kinds, "pipeline_chain_tail")
		last := all[len(all)-1]
		require.True(t, oneOf(badCommands, last.Commands[0]))
		require.True(t, oneOf(badParameters, last.Parameters[0]))
		for _, p := range all[1 : len(all)-1] {
			require.NotEmpty(t, p.Errors, p.File)
		}
	})
}
