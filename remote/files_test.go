package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/faultnet"
	"github.com/01b61c5c/failover/remote/remotetest"
)

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestUploadAndDownload(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, nil, remotetest.WithFiles(dir))
	host := open(t, server.SSH())
	data := bytes.Repeat([]byte("installer "), 200_000)
	for range 2 { // the second replaces the first
		file, err := host.Upload(soon(t), bytes.NewReader(data), "/setup.exe",
			UploadOptions{Mode: 0o640, SHA256: strings.ToUpper(sum(data))})
		require.NoError(t, err)
		require.Equal(t, File{Path: "/setup.exe", Size: int64(len(data)), SHA256: sum(data)}, file)
		info, err := os.Stat(filepath.Join(dir, "setup.exe"))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode().Perm())
		require.Equal(t, []string{"setup.exe"}, names(t, dir))
		data = append(data, "more"...)
	}
	data = data[:len(data)-4]

	// A source that must not be read: the content is there already.
	file, err := host.Upload(soon(t), unreadable{t}, "/setup.exe", UploadOptions{SHA256: sum(data)})
	require.NoError(t, err)
	require.Equal(t, sum(data), file.SHA256)

	got, err := host.ReadFile(soon(t), "/setup.exe", int64(len(data)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	_, err = host.ReadFile(soon(t), "/setup.exe", int64(len(data))-1)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = host.ReadFile(soon(t), "/missing", 10)
	require.ErrorIs(t, err, fs.ErrNotExist)
	hasEnded(t, err, server.Address(), failover.NotApplied)
	_, err = host.ReadFile(soon(t), "/../../etc/passwd", 1<<20)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the source was read")
	return 0, io.EOF
}

func TestUploadRefusals(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, nil, remotetest.WithFiles(dir))
	host := open(t, server.SSH())
	for name, tc := range map[string]struct {
		src  io.Reader
		path string
		opt  UploadOptions
		want error
	}{
		"bad checksum":   {strings.NewReader("x"), "/f", UploadOptions{SHA256: "12"}, failover.ErrInvalid},
		"no path":        {strings.NewReader("x"), "", UploadOptions{}, failover.ErrInvalid},
		"other content":  {strings.NewReader("x"), "/f", UploadOptions{SHA256: sum([]byte("y"))}, ErrMismatch},
		"no folder":      {strings.NewReader("x"), "/no/f", UploadOptions{}, fs.ErrNotExist},
		"source breaks":  {io.MultiReader(strings.NewReader("x"), broken{}), "/f", UploadOptions{}, errBroken},
		"onto directory": {strings.NewReader("x"), "/", UploadOptions{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := host.Upload(soon(t), tc.src, tc.path, tc.opt)
			require.Error(t, err)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
			}
			require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
			require.Empty(t, names(t, dir), "nothing is left behind")
		})
	}
	t.Run("no sftp", func(t *testing.T) {
		plain := serve(t, nil)
		_, err := open(t, plain.SSH()).Upload(soon(t), strings.NewReader("x"), "/f", UploadOptions{})
		require.ErrorIs(t, err, ErrRefused)
		hasEnded(t, err, plain.Address(), failover.NotApplied)
	})
}

var errBroken = errors.New("disk error")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// TestUploadCut cuts the line at many places. The file is always the old one or the whole new one, and NotApplied is
// never said of a new one.
func TestUploadCut(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, nil, remotetest.WithFiles(dir))
	target := filepath.Join(dir, "f")
	data := bytes.Repeat([]byte("new"), 5000)
	done := false
	for after := int64(0); !done && after < 60_000; after += 331 {
		require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
		proxy, err := faultnet.NewProxy(server.Address())
		require.NoError(t, err)
		cfg := server.SSH()
		cfg.Address = proxy.Address()
		host := open(t, cfg)
		proxy.Add(faultnet.Fault{Kind: faultnet.Cut, Dir: faultnet.Out, After: after})
		_, err = host.Upload(soon(t), bytes.NewReader(data), "/f", UploadOptions{})
		require.NoError(t, host.Close())
		proxy.Close()
		got, readErr := os.ReadFile(target)
		require.NoError(t, readErr)
		switch {
		case err == nil:
			require.True(t, bytes.Equal(data, got))
			done = true
		case failover.OutcomeOf(err) == failover.NotApplied:
			require.Equal(t, "old", string(got), "after %d bytes: %v", after, err)
		default:
			require.True(t, string(got) == "old" || bytes.Equal(data, got))
		}
	}
	require.True(t, done)
}

// deafOnce is a connection that hears nothing more once something has happened.
type deafOnce struct {
	net.Conn

	happened func() bool
}

func (d deafOnce) Read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if err == nil && d.happened() {
		return 0, errors.Join(io.ErrUnexpectedEOF, d.Close())
	}
	return n, err
}

// TestAModeThatMayBeSetIsNotCalledUnset: the content is there already, the mode is set, and the answer is lost.
func TestAModeThatMayBeSetIsNotCalledUnset(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
	changed := func() bool {
		info, err := os.Stat(target)
		return err == nil && info.Mode().Perm() == 0o755
	}
	server := serve(t, nil, remotetest.WithFiles(dir))
	host, err := New(Config{SSH: server.SSH(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		return deafOnce{conn, changed}, err
	}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = host.Close() })
	_, err = host.Upload(soon(t), strings.NewReader("old"), "/f", UploadOptions{Mode: 0o755, SHA256: sum([]byte("old"))})
	require.True(t, changed())
	hasEnded(t, err, server.Address(), failover.InDoubt)
}

func TestTransfersEndWithTheContext(t *testing.T) {
	server := serve(t, nil, remotetest.WithFiles(t.TempDir()))
	proxy, err := faultnet.NewProxy(server.Address())
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	cfg := server.SSH()
	cfg.Address = proxy.Address()
	host := open(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	proxy.Add(faultnet.Fault{Kind: faultnet.Silence, Dir: faultnet.Out, After: 20_000})
	_, err = host.Upload(ctx, bytes.NewReader(make([]byte, 1<<20)), "/f", UploadOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
}

func TestUploadReplacesFilesOnly(t *testing.T) {
	dir := t.TempDir()
	server := serve(t, nil, remotetest.WithFiles(dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "real"), []byte("old"), 0o600))
	require.NoError(t, os.Symlink("real", filepath.Join(dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	host := open(t, server.SSH())
	for path, text := range map[string]string{"/link": `symbolic link to "real"`, "/folder": "is a folder"} {
		for _, sha := range []string{"", sum([]byte("old"))} { // also where the link leads to the very content
			_, err := host.Upload(soon(t), strings.NewReader("old"), path, UploadOptions{SHA256: sha})
			require.ErrorIs(t, err, ErrNotRegular)
			require.ErrorContains(t, err, text)
			hasEnded(t, err, server.Address(), failover.NotApplied)
		}
	}
	require.Equal(t, []string{"folder", "link", "real"}, names(t, dir))
}
