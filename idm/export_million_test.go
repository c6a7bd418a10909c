package idm_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
)

// endlessDirectory answers searches with as many policies of that size as asked for, made on the way, so that the
// memory seen in this process is that of the client. Binds succeed; everything else is refused.
func endlessDirectory(tb testing.TB, policies, size int) *idm.Server {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(tb, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(tb, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(tb, err)
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		&tls.Config{MinVersion: tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	require.NoError(tb, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serveEndless(conn, policies, strings.Repeat("x", size))
		}
	}()
	server, err := idm.Dial(tb.Context(),
		idm.Config{URL: "ldaps://" + listener.Addr().String(), TLS: failover.TLS{Roots: roots},
			UserDN: "cn=admin,o=x", Password: secret("x")})
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_ = server.Close()
		_ = listener.Close()
		<-done
	})
	return server
}

// serveEndless serves one connection after the other; the client needs no more than one.
func serveEndless(conn net.Conn, policies int, text string) {
	defer conn.Close() //nolint:errcheck // a test server
	out := bufio.NewWriterSize(conn, 64<<10)
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id := p.Children[0].Value.(int64)
		send := func(op *ber.Packet) {
			m := ber.NewSequence("")
			m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
			m.AppendChild(op)
			_, _ = out.Write(m.Bytes())
		}
		result := func(tag ber.Tag) {
			op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
			op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(0), ""))
			op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
			op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
			send(op)
		}
		entry := func(dn string, attributes ...[2]string) {
			op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
			op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, ""))
			list := ber.NewSequence("")
			for _, a := range attributes {
				one := ber.NewSequence("")
				one.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a[0], ""))
				set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
				set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, a[1], ""))
				one.AppendChild(set)
				list.AppendChild(one)
			}
			op.AppendChild(list)
			send(op)
		}
		switch p.Children[1].Tag {
		case ldap.ApplicationBindRequest:
			result(ldap.ApplicationBindResponse)
		case ldap.ApplicationSearchRequest:
			switch base := p.Children[1].Children[0].Value.(string); base {
			case "":
				entry("", [2]string{"dsaName", "cn=srv,o=x"}, [2]string{"directoryTreeName", "BIG"})
			case "cn=ds,o=x":
				entry(base, [2]string{"objectClass", "DirXML-DriverSet"}, [2]string{"cn", "ds"})
				const step = 7_368_787 // a prime: no order in the names
				for i := range policies {
					name := fmt.Sprintf("policy %07d", i*step%policies)
					entry("cn="+name+","+base, [2]string{"objectClass", "DirXML-Rule"}, [2]string{"cn", name},
						[2]string{"XmlData", "<policy><rule><description>" + name + text +
							"</description><conditions/><actions/></rule></policy>"})
				}
			case "cn=schema":
				entry(base)
			}
			result(ldap.ApplicationSearchResultDone)
		default:
			return
		}
		if out.Flush() != nil {
			return
		}
	}
}

// peakHeap is the largest live heap that a collection finds while work runs. What is garbage depends on when it is
// collected.
func peakHeap(work func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for {
			metrics.Read(live)
			peak.Store(max(peak.Load(), live[0].Value.Uint64()))
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
		}
	}()
	work()
	close(stop)
	<-stopped
	return peak.Load()
}

// heapAllowed is what an export may take, however large: the sorted collection (16 MiB), twice while it is grown, and
// its index.
const heapAllowed = 64 << 20

func TestHeapDoesNotGrowWithTheExport(t *testing.T) {
	n := 8_000 // of 8 KB: four times the memory a sorted collection may take
	if raceDetector {
		n = 3_000
	}
	server := endlessDirectory(t, n, 8000)
	dir := t.TempDir()
	var m idm.Manifest
	peak := peakHeap(func() {
		var err error
		m, err = server.Export(t.Context(), io.Discard, idm.ExportOptions{Base: "cn=ds,o=x", TempDir: dir})
		require.NoError(t, err)
	})
	require.Equal(t, int64(n+1), m.Objects)
	require.Greater(t, m.Size, int64(n)*8000)
	require.Less(t, peak, uint64(heapAllowed))
	t.Logf("%d objects, %d MB, heap at most %d MB", m.Objects, m.Size>>20, peak>>20)
}

// BenchmarkExportMillion exports 1,000,000 objects in each round and fails when the heap grows over what is allowed.
func BenchmarkExportMillion(b *testing.B) {
	const n = 1_000_000
	server := endlessDirectory(b, n, 0)
	dir := b.TempDir()
	for b.Loop() {
		var m idm.Manifest
		peak := peakHeap(func() {
			var err error
			if m, err = server.Export(b.Context(), io.Discard, idm.ExportOptions{Base: "cn=ds,o=x", TempDir: dir}); err != nil {
				b.Fatal(err)
			}
		})
		if m.Objects != n+1 || peak > heapAllowed {
			b.Fatalf("%d objects with a heap of %d MB, allowed are %d", m.Objects, peak>>20, heapAllowed>>20)
		}
		b.SetBytes(m.Size)
		b.ReportMetric(float64(peak)/(1<<20), "peak-heap-MB")
	}
}
