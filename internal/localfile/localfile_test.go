package localfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/internal/localfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct{ content, want, err string }{
		"plain":              {"a\nb", "a\nb", ""},
		"CR LF":              {"a\r\nb\r\n", "a\r\nb\r\n", ""},
		"UTF-8 with mark":    {"\xef\xbb\xbfé", "é", ""},
		"UTF-16 little":      {"\xff\xfea\x00\xe9\x00=\xd8\x00\xde", "aé😀", ""},
		"UTF-16 big":         {"\xfe\xff\x00a\x00\xe9", "aé", ""},
		"UTF-16 cut":         {"\xff\xfea", "", "odd number"},
		"UTF-16 unmarked":    {"a\x00b\x00", "", "NUL"},
		"as much as allowed": {strings.Repeat("x", 20), strings.Repeat("x", 20), ""},
		"too much":           {strings.Repeat("x", 21), "", "more than 20 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			require.NoError(t, os.WriteFile(path, []byte(tc.content), 0o600))
			got, err := localfile.Read(path, 20)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.ErrorContains(t, err, path)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, string(got))
		})
	}
	_, err := localfile.Read(filepath.Join(dir, "missing"), 20)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = localfile.Read(dir, 20)
	require.ErrorContains(t, err, "no regular file")
}
