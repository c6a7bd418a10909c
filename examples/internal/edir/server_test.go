package edir_test

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover/examples/internal/edir"
	"github.com/01b61c5c/failover/idm/idmtest"
)

func TestTLSTrustsTheCertificateOfTheFileOnly(t *testing.T) {
	tree := idmtest.Start(t, idmtest.Config{})
	right := tree.Server("srv1").Fingerprint()
	for fingerprint, trusted := range map[string]bool{right: true, strings.ToUpper(right): true,
		strings.Repeat("0", 64): false} {
		config, err := edir.Server{Fingerprint: fingerprint}.TLS("server", "127.0.0.1")
		require.NoError(t, err)
		conn, err := tls.Dial("tcp", tree.Server("srv1").TLSAddr(), config)
		if !trusted {
			require.ErrorContains(t, err, "another fingerprint")
			continue
		}
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	_, err := edir.Server{Roots: "nowhere.pem"}.TLS("server", "127.0.0.1")
	require.ErrorContains(t, err, "server.tls.RootsFile")
}
