package runbook

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// utf16File is text as an editor saves it that writes UTF-16 with a byte order mark.
func utf16File(order binary.AppendByteOrder, text string) string {
	raw := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(text)) {
		raw = order.AppendUint16(raw, unit)
	}
	return string(raw)
}

type files struct {
	Name     string `yaml:"name"`
	Password Secret `yaml:"password"`
	Nodes    []struct {
		SSH SSH `yaml:"ssh"`
	} `yaml:"nodes"`
	Sudo bool `yaml:"sudo"`
}

func TestAFileIsReadAsOtherEditorsWriteIt(t *testing.T) {
	const config, password = "name: Bär\nsudo: true\n", "pä$$ word"
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for name, as := range map[string]func(string) string{
		"plain":           func(text string) string { return text },
		"no newline":      func(text string) string { return strings.TrimSuffix(text, "\n") },
		"CR LF":           func(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") },
		"byte order mark": func(text string) string { return "\ufeff" + text },
		"mark and CR LF":  func(text string) string { return "\ufeff" + strings.ReplaceAll(text, "\n", "\r\n") },
		"UTF-16 little":   func(text string) string { return utf16File(binary.LittleEndian, text) },
		"UTF-16 big":      func(text string) string { return utf16File(binary.BigEndian, text) },
		"UTF-16 little CR LF": func(text string) string {
			return utf16File(binary.LittleEndian, strings.ReplaceAll(text, "\n", "\r\n"))
		},
	} {
		require.NoError(t, os.WriteFile(path, []byte(as(config)), 0o600))
		var f files
		require.NoError(t, ReadConfig(path, &f), name)
		require.Equal(t, files{Name: "Bär", Sudo: true}, f, name)
		require.NoError(t, os.WriteFile(path, []byte(as(password+"\nsecond line\n")), 0o600))
		secret, err := Secret{File: path}.Func()(t.Context())
		require.NoError(t, err, name)
		require.Equal(t, password, secret.Reveal(), name)
		link := filepath.Join(dir, "link")
		require.NoError(t, os.Symlink(path, link))
		secret, err = Secret{File: link}.Func()(t.Context())
		require.NoError(t, err, "a link of our own")
		require.Equal(t, password, secret.Reveal())
		require.NoError(t, os.Remove(link))
	}
}

// TestWhatIsNoConfigurationIsRefusedByName has texts that a person can leave behind; nothing of them is guessed.
func TestWhatIsNoConfigurationIsRefusedByName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	for name, tt := range map[string]struct{ text, want string }{
		"empty":              {"", "holds 0 documents"},
		"comments only":      {"# nothing\n", "holds 0 documents"},
		"two documents":      {"name: a\n---\nname: b\n", "holds 2 documents"},
		"UTF-16 unmarked":    {utf16File(binary.LittleEndian, "name: a\n")[2:], "NUL bytes"},
		"UTF-16 cut":         {utf16File(binary.BigEndian, "name: a\n") + "x", "odd number of bytes"},
		"UTF-16 broken":      {"\xff\xfe\x00\xd8n\x00", "begins as UTF-16 and is not"},
		"Latin-1":            {"name: B\xe4r\n", "is not UTF-8"},
		"binary":             {"\x00\x01\x02", "NUL bytes"},
		"deep flow":          {"name: " + strings.Repeat("[", 100000), "nested too deeply at line 1"},
		"deep lists":         {strings.Repeat("- ", 100000), "nested too deeply at line 1"},
		"deep blocks":        {deepBlocks(400), "nested too deeply at line 202"},
		"a line of 1 MB":     {"name: " + strings.Repeat("x", 1<<20) + "\n", "more than 524288 bytes"},
		"a text for a truth": {"name: a\nsudo: perhaps\n", `[2:7] "perhaps" is a text, and true or false is wanted`},
		"a list for a text":  {"name: [a]\n", "[1:"},
		"a key twice":        {"name: a\nname: b\n", "name"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(tt.text), 0o600))
		var f files
		err := ReadConfig(path, &f)
		require.ErrorIs(t, err, failover.ErrInvalid, name)
		assert.Contains(t, err.Error(), path, name)
		assert.Contains(t, err.Error(), tt.want, name)
		assert.NotEmpty(t, failover.NextOf(err), name)
	}
	if os.PathSeparator == '/' {
		require.NoError(t, os.WriteFile(path, []byte("name: a\n"), 0o600))
		require.NoError(t, os.Chmod(path, 0o666))
		var f files
		require.ErrorContains(t, ReadConfig(path, &f), "can be written by every account")
	}
}

func deepBlocks(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat("  ", i) + "a:\n")
	}
	return b.String()
}

// TestAllLocalFilesAreLookedAtBeforeAnythingIsDialled names the field of each file that cannot be used, all at once.
func TestAllLocalFilesAreLookedAtBeforeAnythingIsDialled(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		require.NoError(t, os.Chmod(path, mode))
		return path
	}
	var f files
	f.Password = Secret{File: filepath.Join(dir, "none"), Env: ""}
	f.Nodes = append(f.Nodes, struct {
		SSH SSH `yaml:"ssh"`
	}{SSH{Key: Secret{File: dir}, Password: Secret{File: write("empty", "\nsecret\n", 0o600)},
		Passphrase:  Secret{Env: "A", Prompt: "B"},
		KnownHosts:  write("hosts", "node1 ssh-ed25519 AAAA\n", 0o666),
		Certificate: filepath.Join(dir, "id-cert.pub")}})
	var wrong error
	for _, err := range localFiles("", reflect.ValueOf(&f)) {
		wrong = errors.Join(wrong, err)
	}
	for _, part := range []string{"password.file: invalid input: " + filepath.Join(dir, "none") + " is not there",
		"nodes[0].ssh.key.file", "is a folder",
		"nodes[0].ssh.password.file", "is empty on its first line", "nodes[0].ssh.passphrase", "several sources",
		"nodes[0].ssh.known_hosts", "can be written by every account", "nodes[0].ssh.certificate: invalid input: "} {
		assert.ErrorContains(t, wrong, part)
	}
}
