package idm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/idm"
)

// wire is a server that knows nothing of Identity Manager: it writes down what was sent and answers with given bytes.
type wire struct {
	listener net.Listener
	roots    *x509.CertPool
	answers  map[string]string // by the number of the operation, hexadecimal

	mu   sync.Mutex
	sent []string // "number value"
}

func newWire(t *testing.T, answers map[string]string) *wire {
	t.Helper()
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS() // for its certificate only
	config, roots := &tls.Config{Certificates: cert.TLS.Certificates, MinVersion: tls.VersionTLS12}, x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	cert.Close()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	require.NoError(t, err)
	w := &wire{listener: l, roots: roots, answers: answers}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { w.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return w
}

func (w *wire) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // test
	for {
		p, err := ber.ReadPacket(conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		var answer *ber.Packet
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			answer = resultOf(ldap.ApplicationBindResponse)
		case ldap.ApplicationSearchRequest:
			entry := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
			attribute := ber.NewSequence("")
			values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
			values.AppendChild(octets("cn=srv,o=sys"))
			attribute.AppendChild(octets("dsaName"))
			attribute.AppendChild(values)
			attributes := ber.NewSequence("")
			attributes.AppendChild(attribute)
			entry.AppendChild(octets(""))
			entry.AppendChild(attributes)
			if _, err := conn.Write(messageOf(id, entry)); err != nil {
				return
			}
			answer = resultOf(ldap.ApplicationSearchResultDone)
		case ldap.ApplicationExtendedRequest:
			number := strings.TrimPrefix(op.Children[0].Data.String(), "2.16.840.1.113719.1.14.100.")
			value := "none"
			if len(op.Children) > 1 {
				value = hex.EncodeToString(op.Children[1].Data.Bytes())
			}
			w.mu.Lock()
			w.sent = append(w.sent, number+" "+value)
			w.mu.Unlock()
			answer = resultOf(ldap.ApplicationExtendedResponse)
			if raw, err := hex.DecodeString(w.answers[number]); err == nil && len(raw) > 0 {
				answer.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 11, string(raw), ""))
			}
		default:
			return
		}
		if _, err := conn.Write(messageOf(id, answer)); err != nil {
			return
		}
	}
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func resultOf(tag ber.Tag) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(0), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(""))
	return p
}

func messageOf(id int64, op *ber.Packet) []byte {
	m := ber.NewSequence("")
	m.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	m.AppendChild(op)
	return m.Bytes()
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent = nil
	return sent
}

// Every operation as it leaves the machine: number, arguments and their order, in both framings. The driver is the one
// of the fact sheet's byte examples.
func TestEveryOperationIsPinnedByteByByte(t *testing.T) {
	const (
		driver, dn = "cn=AD,cn=ds1,o=sys", "0412636e3d41442c636e3d6473312c6f3d737973"
		set, setTV = "cn=ds1,o=sys", "040c636e3d6473312c6f3d737973"
		s3cret     = "0406733363726574"
	)
	answers := map[string]string{"1": "300e" + setTV, "7": "3003020101", "11": "3006020448070003", "13": "3003020102",
		"59": "3003020100", "81": "300b30090403737663" + "04025057",
		"19": "3006020107020105", "41": "3009020107020105020103", "33": "3007" + "0405" + hex.EncodeToString([]byte("<nds>")),
		"45": "0101ff"}
	server := newWire(t, answers)
	password := failover.NewSecret("s3cret")
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		call func(context.Context, *idm.Server) error
		want []string // as sent, concatenated
		seq  []string // as sent in a SEQUENCE; nil where it is the same
	}{
		{"GetDriverSet", func(ctx context.Context, s *idm.Server) error {
			_, err := s.AssociatedDriverSet(ctx)
			return err
		}, []string{"1 none"}, nil},
		{"SetDriverSet", func(ctx context.Context, s *idm.Server) error { return s.AssociateDriverSet(ctx, set) },
			[]string{"3 " + setTV}, nil},
		{"ClearDriverSet", func(ctx context.Context, s *idm.Server) error { return s.LeaveDriverSet(ctx) },
			[]string{"5 none"}, nil},
		{"GetDriverStartOption", func(ctx context.Context, s *idm.Server) error {
			_,
				err := s.StartOption(ctx, driver)
			return err
		}, []string{"7 " + dn}, nil},
		{"SetDriverStartOption manual, no resync", func(ctx context.Context, s *idm.Server) error {
			return s.SetStartOption(ctx, driver, idm.StartManual, idm.ResyncNone)
		}, []string{"9 " + dn + "020101" + "020101"}, []string{"9 301a" + dn + "020101" + "020101"}},
		{"SetDriverStartOption auto, resync", func(ctx context.Context, s *idm.Server) error {
			return s.SetStartOption(ctx, driver, idm.StartAuto, idm.ResyncEvents)
		}, []string{"9 " + dn + "020102" + "020100"}, []string{"9 301a" + dn + "020102" + "020100"}},
		{"GetVersion", func(ctx context.Context, s *idm.Server) error { _, err := s.EngineVersion(ctx); return err },
			[]string{"11 none"}, nil},
		{"GetDriverState", func(ctx context.Context, s *idm.Server) error { _, err := s.State(ctx, driver); return err },
			[]string{"13 " + dn}, nil},
		{"StartDriver", func(ctx context.Context, s *idm.Server) error { return s.Start(ctx, driver) },
			[]string{"15 " + dn}, nil},
		{"StopDriver", func(ctx context.Context, s *idm.Server) error { return s.Stop(ctx, driver) },
			[]string{"17 " + dn}, nil},
		{"GetDriverStats with GetChunkedResult and CloseChunkedResult", func(ctx context.Context, s *idm.Server) error {
			if _, err := s.Stats(ctx, driver); err == nil { // five bytes are no statistics; what was sent is the point
				return net.ErrClosed
			}
			return nil
		}, []string{"19 " + dn + "020105" + "020100", "33 020107" + "020105" + "020100", "35 020107"},
			[]string{"19 301a" + dn + "020105" + "020100", "33 3009020107" + "020105" + "020100", "35 020107"}},
		{"DriverGetSchema", func(ctx context.Context, s *idm.Server) error { return s.ReadApplicationSchema(ctx, driver) },
			[]string{"21 " + dn}, nil},
		{"DriverResync since", func(ctx context.Context, s *idm.Server) error { return s.ResyncSince(ctx, driver, since) },
			[]string{"23 " + dn + "02046955b900"}, []string{"23 301a" + dn + "02046955b900"}},
		{"DriverResync of everything", func(ctx context.Context, s *idm.Server) error { return s.ResyncAll(ctx, driver) },
			[]string{"23 " + dn + "020100"}, []string{"23 3017" + dn + "020100"}},
		{"InitDriverObject", func(ctx context.Context, s *idm.Server) error { return s.InitDriver(ctx, driver) },
			[]string{"39 " + dn}, nil},
		{"ViewCacheEntries", func(ctx context.Context, s *idm.Server) error {
			err := s.ViewCache(ctx, driver, func([]byte) error { return net.ErrClosed }) // one page
			if failover.OutcomeOf(err) != failover.NotApplied {
				return err
			}
			return nil
		}, []string{"41 " + dn + "020105" + "020100" + "020200c8" + "020100", "33 020107" + "020105" + "020100", "35 020107"},
			[]string{"41 3021" + dn + "020105" + "020100" + "020200c8" + "020100", "33 3009020107" + "020105" + "020100",
				"35 020107"}},
		{"GetPasswordsState", func(ctx context.Context, s *idm.Server) error {
			_,
				err := s.PasswordsState(ctx, driver)
			return err
		}, []string{"45 " + dn}, nil},
		{"NotifyJobUpdate", func(ctx context.Context, s *idm.Server) error { return s.NotifyJob(ctx, driver) },
			[]string{"53 " + dn}, nil},
		{"GetJobState", func(ctx context.Context, s *idm.Server) error { _, err := s.JobRunning(ctx, driver); return err },
			[]string{"59 " + dn}, nil},
		{"SetAppPassword", func(ctx context.Context,
			s *idm.Server) error {
			return s.SetApplicationPassword(ctx, driver, password)
		},
			[]string{"67 " + dn + s3cret}, []string{"67 301c" + dn + s3cret}},
		{"ClearAppPassword", func(ctx context.Context,
			s *idm.Server) error {
			return s.ClearApplicationPassword(ctx, driver)
		}, []string{"69 " + dn}, nil},
		{"SetRemoteLoaderPassword", func(ctx context.Context, s *idm.Server) error {
			return s.SetRemoteLoaderPassword(ctx, driver, password)
		},
			[]string{"71 " + dn + s3cret}, []string{"71 301c" + dn + s3cret}},
		{"ClearRemoteLoaderPassword",
			func(ctx context.Context, s *idm.Server) error { return s.ClearRemoteLoaderPassword(ctx, driver) },
			[]string{"73 " + dn}, nil},
		{"SetNamedPassword", func(ctx context.Context, s *idm.Server) error {
			return s.SetNamedPassword(ctx, driver, idm.NamedPassword{Name: "svc", DisplayName: "Service pw"}, password)
		}, []string{"75 " + dn + "0403737663" + "040a53657276696365207077" + s3cret},
			[]string{"75 302d" + dn + "0403737663" + "040a53657276696365207077" + s3cret}},
		{"RemoveNamedPassword", func(ctx context.Context,
			s *idm.Server) error {
			return s.RemoveNamedPassword(ctx, driver, "svc")
		},
			[]string{"77 " + dn + "0403737663"}, []string{"77 3019" + dn + "0403737663"}},
		{"RemoveAllNamedPasswords",
			func(ctx context.Context, s *idm.Server) error { return s.RemoveAllNamedPasswords(ctx, driver) },
			[]string{"79 " + dn}, nil},
		{"ListNamedPasswords", func(ctx context.Context, s *idm.Server) error {
			list, err := s.NamedPasswords(ctx, driver)
			if len(list) != 1 {
				return net.ErrClosed
			}
			return err
		}, []string{"81 " + dn}, nil},
		{"RestartDriver", func(ctx context.Context, s *idm.Server) error { return s.Restart(ctx, driver) },
			[]string{"101 " + dn}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, framing := range []idm.Framing{idm.FramingConcatenated, idm.FramingSequence} {
				s, err := idm.Dial(t.Context(),
					idm.Config{URL: "ldaps://" + server.listener.Addr().String(), TLS: failover.TLS{Roots: server.roots},
						Dialect: idm.Dialect{Framing: framing}})
				require.NoError(t, err)
				want := tt.want
				if framing == idm.FramingSequence && tt.seq != nil {
					want = tt.seq
				}
				require.NoError(t, tt.call(t.Context(), s))
				require.Equal(t, want, server.take(), framing)
				require.NoError(t, s.Close())
			}
		})
	}
}
