package runbook

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

type settings struct {
	Wait  Duration `yaml:"wait"`
	Hosts []struct {
		Name string   `yaml:"name"`
		Wait Duration `yaml:"wait"`
	} `yaml:"hosts"`
}

func read(t *testing.T, text string) (settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	var s settings
	err := ReadConfig(path, &s)
	return s, err
}

func TestWhatIsWrongInTheFileIsNamedWithItsPlace(t *testing.T) {
	s, err := read(t, "wait: 90s\nhosts: [{name: a, wait: 1m30s}]\n")
	require.NoError(t, err)
	assert.Equal(t, 90*time.Second, time.Duration(s.Wait))
	s, err = read(t, `{"wait": "90s", "hosts": [{"name": "a"}]}`)
	require.NoError(t, err, "JSON is read too")
	assert.Equal(t, "a", s.Hosts[0].Name)

	for text, want := range map[string][]string{
		"wait: 90s\nhost: []\n": {"[2:1]", "host"},
		"wait: soon\n":          {"wait (line 1)", "soon", "90s"},
		"wait: 90s\nhosts:\n  - {name: a, wait: soon}\n":    {"hosts[0].wait (line 3)", "soon"},
		"wait: 90s\nhosts:\n  - {name: FILL-IN}\n# FILL-IN": {"hosts[0].name (line 3)", "FILL-IN"},
		"wait: [\n": {"[1:"},
	} {
		_, err := read(t, text)
		require.Error(t, err, text)
		for _, part := range want {
			assert.Contains(t, err.Error(), part, text)
		}
	}
	err = ReadConfig(filepath.Join(t.TempDir(), "none"), &s)
	require.ErrorIs(t, err, failover.ErrInvalid)
	assert.Contains(t, failover.NextOf(err), "-config")
}

func TestSecretsComeFromWhereTheyAreSafe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte("s3cret\r\nsecond line\n"), 0o600))
	value, err := Secret{File: file}.Func()(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "s3cret", value.Reveal())
	require.NoError(t, os.Chmod(file, 0o640))
	if os.PathSeparator == '/' {
		_, err = Secret{File: file}.Func()(t.Context())
		require.ErrorIs(t, err, failover.ErrInvalid)
	}
	t.Setenv("A_SECRET", "")
	_, err = Secret{Env: "A_SECRET"}.Func()(t.Context())
	require.ErrorIs(t, err, failover.ErrInvalid)
	t.Setenv("A_SECRET", "x\n")
	value, err = Secret{Env: "A_SECRET"}.Func()(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "x", value.Reveal())
	_, err = Secret{Prompt: "password"}.Func()(t.Context())
	require.ErrorIs(t, err, failover.ErrInvalid, "there is no terminal")
	assert.Nil(t, Secret{}.Func())

	asked := 0
	once := askedOnce(func() (failover.Secret, error) {
		if asked++; asked == 1 {
			return failover.Secret{}, assert.AnError
		}
		return failover.NewSecret("typed"), nil
	})
	_, err = once(t.Context())
	require.ErrorIs(t, err, assert.AnError)
	for range 3 {
		value, err = once(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "typed", value.Reveal())
	}
	assert.Equal(t, 2, asked, "a line that is dialled again asks nobody")
}

func TestSSHTarget(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
address: a:22
user: u
known_hosts: /k
certificate: /c
connect_timeout: 5s
keepalive_every: 7s
keepalive_misses: 9
key: {file: /key}
jump:
  - {address: "hop:22", user: h, known_hosts: /k, agent: /sock}
`), 0o600))
	var s SSH
	require.NoError(t, ReadConfig(path, &s))
	target := s.Target(SSH{Address: "b:22", KnownHosts: "/k"},
		SSH{HostKeys: []string{"SHA256:uNiVztksCsDhcc0u9e8BrQvrIhBfcp7nOkDfWvPX12E"}})
	require.NoError(t, target.Validate("ssh"))
	require.Equal(t, 5*time.Second, target.ConnectTimeout)
	require.Equal(t, 7*time.Second, target.KeepaliveEvery)
	require.Equal(t, 9, target.KeepaliveMisses)
	require.Equal(t, "/c", target.Certificate)
	require.Equal(t, "hop:22", target.Jump[0].Address)
	require.Equal(t, []string{"b:22"}, target.PeerAddresses)
	require.Len(t, target.PeerKeys, 1)
}
