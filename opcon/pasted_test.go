package opcon_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/opcon"
	"github.com/01b61c5c/failover/opcon/opcontest"
)

// TestPastedTokens: the vendor's scripts keep and show a token as "Token <id>", and files have line ends.
func TestPastedTokens(t *testing.T) {
	const id = "4c1c7a-EXT"
	for text, ok := range map[string]bool{
		id: true, "Token " + id: true, "token  " + id: true, "TOKEN\t" + id: true, " " + id + "\n": true,
		"\ufeff" + id + "\r\n": true, `"Token ` + id + `"`: true, `Token "` + id + `"`: true,
		"'" + id + "'": true, "Authorization: Token " + id: true, "Bearer " + id: false, id + "\nsecond line": false,
		"": false, "Token": false, " \n": false, "tökén": false, id + "\u200b": false,
	} {
		t.Run(text, func(t *testing.T) {
			s := newSite(t, opcontest.Config{External: id}, withToken(secret(text)))
			_, err := s.client.Service(context.Background())
			if ok {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.ErrorContains(t, err, "log in")
			require.NotErrorIs(t, err, opcon.ErrUnavailable, "it is not the line that is wrong")
			require.NotContains(t, err.Error(), id)
			require.Contains(t, strings.ToLower(failover.NextOf(err)), "token")
		})
	}
}

func TestPastedPasswordsAddressesAndFingerprints(t *testing.T) {
	ctx := context.Background()
	for _, text := range []string{"secret", "secret\n", "secret\r\n", "\ufeffsecret\n"} {
		s := newSite(t, opcontest.Config{}, withUser(" failover_svc ", secret(text)))
		_, err := s.client.Service(ctx)
		require.NoError(t, err, "%q", text)
	}
	s := newSite(t, opcontest.Config{Password: " with blanks "}, withUser("failover_svc", secret(" with blanks ")))
	_, err := s.client.Service(ctx)
	require.NoError(t, err, "a blank belongs to a password")

	for _, tail := range []string{"", "/", "/api", "/api/", "/API/", "/api/machines", "/api-doc/index.html", " \n"} {
		c, err := connect(s.URL+tail, withRootCAs(s.CertPool()), withUser("failover_svc", secret(" with blanks ")))
		require.NoError(t, err)
		_, err = c.Service(ctx)
		require.NoError(t, err, tail)
		require.NoError(t, c.Close(ctx))
	}

	plain := strings.ToUpper(s.Fingerprint())
	var pairs []string
	for i := 0; i < len(plain); i += 2 {
		pairs = append(pairs, plain[i:i+2])
	}
	colons, blanks := strings.Join(pairs, ":"), strings.Join(pairs, " ")
	for _, text := range []string{plain, strings.ToLower(plain), colons, blanks, "sha256 Fingerprint=" + colons,
		"SHA256 Fingerprint=" + colons + "\n", "SHA256:" + plain,
		"sha256:" + colons, "\u200e" + blanks} {
		c, err := connect(s.URL, withPinnedCertificate(text), withUser("failover_svc", secret(" with blanks ")))
		require.NoError(t, err, text)
		_, err = c.Service(ctx)
		require.NoError(t, err, text)
		require.NoError(t, c.Close(ctx))
	}
	for text, want := range map[string]string{colons[:59]: "SHA-1", colons + ":AA": "no SHA-256",
		"SHA256:5zkO2kDGxGl0": "no SHA-256", "": "no SHA-256"} {
		_, err := connect(s.URL, withPinnedCertificate(text), withUser("u", secret("p")))
		require.ErrorIs(t, err, failover.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// TestRefusedLogins: only the API's own words say that the password is wrong; nothing else keeps it from being sent
// again when the address is right.
func TestRefusedLogins(t *testing.T) {
	for name, tc := range map[string]struct {
		code     int
		body     string
		is       error // nil: not ErrAuth
		next     string
		withheld bool
	}{
		"wrong password": {401,
			`[{"resource":"","name":"","code":2000,"message":"Invalid user or password","ids":[]}]`, opcon.ErrAuth,
			"password", true},
		"wrong, problem object": {401, `{"title":"Unauthorized","status":401,"detail":"Invalid user or password"}`,
			opcon.ErrAuth, "password", true},
		"disabled user":          {400, `[{"code":2003,"message":"User is disabled"}]`, opcon.ErrAuth, "enabled", true},
		"a proxy's login":        {401, `<html>Proxy login</html>`, nil, "address", false},
		"empty 401":              {401, ``, nil, "address", false},
		"clear text on TLS port": {400, "Client sent an HTTP request to an HTTPS server.\n", nil, "scheme", false},
		"the API's 400":          {400, `[{"code":1,"message":"malformed"}]`, nil, "scheme", false},
		"another web server":     {404, "404 page not found", nil, "address", false},
		"forbidden": {403, `[{"code":1001,"message":"no API access"}]`, opcon.ErrForbidden, "allowed",
			false},
		"server failure": {500, "oops", opcon.ErrUnavailable, "not judged", false},
	} {
		t.Run(name, func(t *testing.T) {
			logins := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				logins++
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, tc.body)
			}))
			defer server.Close()
			c, err := connect(server.URL, withInsecureClearText(), withUser("svc", secret("secret")))
			require.NoError(t, err)
			for i := range 2 {
				_, err = c.BuiltDates(context.Background())
				require.Error(t, err)
				require.Equal(t, failover.NotApplied, failover.OutcomeOf(err))
				if tc.is != nil {
					require.ErrorIs(t, err, tc.is)
				}
				if tc.is != opcon.ErrAuth { //nolint:errorlint // the table's own value
					require.NotErrorIs(t, err, opcon.ErrAuth)
				}
				if i == 0 {
					require.Contains(t, failover.NextOf(err), tc.next)
				}
			}
			require.Equal(t, !tc.withheld, logins == 2)
			require.NoError(t, c.Close(context.Background()))
		})
	}
	t.Run("no TLS there", func(t *testing.T) {
		server := httptest.NewServer(http.NotFoundHandler())
		defer server.Close()
		c, err := connect(strings.Replace(server.URL, "http:", "https:", 1), withUser("svc", secret("secret")))
		require.NoError(t, err)
		_, err = c.BuiltDates(context.Background())
		require.Contains(t, failover.NextOf(err), "does not speak TLS")
		require.NoError(t, c.Close(context.Background()))
	})
}
