package idm_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/idm"
)

// BenchmarkPolicies moves 10,000 policies of 3 to 4 KB out of and into one real OpenLDAP server, beside OpenLDAP's own
// tools.
func BenchmarkPolicies(b *testing.B) {
	const n = 10_000
	slapd, from := tree(b, serverA)
	populate(b, from, 1)
	addPolicies(b, slapd, 1, n)
	var out bytes.Buffer
	m, err := from.Export(b.Context(), &out, idm.ExportOptions{Base: setDN, TempDir: b.TempDir()})
	require.NoError(b, err)

	b.Run("export", func(b *testing.B) {
		b.SetBytes(m.Size)
		dir := b.TempDir()
		for b.Loop() {
			if _, err := from.Export(b.Context(), io.Discard, idm.ExportOptions{Base: setDN, TempDir: dir}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ldapsearch", func(b *testing.B) {
		b.SetBytes(m.Size)
		for b.Loop() {
			if _, err := slapd.Tool(b.Context(), nil, "ldapsearch", "-LLL", "-b", setDN); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.SetBytes(m.Size)
		dir := b.TempDir()
		for b.Loop() {
			drift, err := from.Verify(b.Context(), source(out.String(), &m), idm.ImportOptions{TempDir: dir})
			if err != nil || !drift.Equal() {
				b.Fatal(err, drift)
			}
		}
	})
	b.Run("import", func(b *testing.B) {
		b.SetBytes(m.Size)
		for b.Loop() {
			b.StopTimer()
			_, to := tree(b, serverA)
			b.StartTimer()
			if _, err := to.Import(b.Context(), source(out.String(), &m), idm.ImportOptions{TempDir: b.TempDir()}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ldapadd", func(b *testing.B) {
		b.SetBytes(m.Size)
		for b.Loop() {
			b.StopTimer()
			empty, _ := tree(b, serverA)
			b.StartTimer()
			if text, err := empty.Tool(b.Context(), out.Bytes(), "ldapadd"); err != nil {
				b.Fatal(err, string(text))
			}
		}
	})
}
