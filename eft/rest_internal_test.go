package eft

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

// TestSettingsAreNormalised leaves out what changes by itself and nothing else, hides what may be secret, and does not
// take another order of named things for a change.
func TestSettingsAreNormalised(t *testing.T) {
	for text, want := range map[string]map[string]string{
		`{"version":"8.1","softwareVersion":"8.1_openssh","minTlsVersion":"1.2","versions":["a"]}`:          {"p/minTlsVersion": "1.2", "p/versions/0": "a"},
		`{"retryCount":3,"connectedUserCount":7,"activeClientUploadCount":1,"runningAwTaskCount":2}`:        {"p/retryCount": "3"},
		`{"lastModifiedBy":"a","lastModifiedTime":1,"startTime":2,"lastUserLoginTime":3,"timeout":4.5}`:     {"p/timeout": "4.5"},
		`{"smtp":{"password":"x","authToken":"y","secretKey":"z","passphrase":""},"usePassword":true}`:      {"p/smtp/password": "[redacted]", "p/smtp/authToken": "[redacted]", "p/smtp/secretKey": "[redacted]", "p/smtp/passphrase": "", "p/usePassword": "true"},
		`{"rules":[{"id":"b","on":true},{"id":"a","on":false}],"ciphers":["x","y"],"none":null,"empty":[]}`: {"p/rules/b/id": "b", "p/rules/b/on": "true", "p/rules/a/id": "a", "p/rules/a/on": "false", "p/ciphers/0": "x", "p/ciphers/1": "y"},
		`{"l":[{"name":"n","v":1},{"name":"n","v":2}]}`:                                                     {"p/l/0/name": "n", "p/l/0/v": "1", "p/l/1/name": "n", "p/l/1/v": "2"},
		// Policy under a name that sounds like a secret; the shape is that of the vendor's user templates.
		`{"changePassword":{"enabled":true,"value":{"minLength":8,"hint":"x"}},"passwordExpiration":{"enabled":false,"value":{"maxAgeDays":0}}}`: {
			"p/changePassword/enabled": "true", "p/changePassword/value/minLength": "8", "p/changePassword/value/hint": "[redacted]",
			"p/passwordExpiration/enabled": "false", "p/passwordExpiration/value/maxAgeDays": "0"},
		`{"passwordHistory":["a",{"name":"b"}],"info":{"eventRuleVersion":"416"}}`: {
			"p/passwordHistory/0": "[redacted]", "p/passwordHistory/1/name": "[redacted]"},
	} {
		var doc any
		require.NoError(t, json.Unmarshal([]byte(text), &doc))
		got := map[string]string{}
		flatten(got, "p", doc, shown)
		require.Equal(t, want, got, text)
	}
}

func TestObjectsAreNamedApart(t *testing.T) {
	var list []object
	require.NoError(t, json.Unmarshal([]byte(`[{"id":"1","attributes":{"name":"a/b"}},{"id":"2","attributes":{"info":{"Name":"r"}}},
		{"id":"3","attributes":{"profileName":"p"}},{"id":"4","attributes":{"loginName":"r"}},{"id":"5"}]`), &list))
	require.Equal(t, []string{"a%2Fb", "r (2)", "p", "r (4)", "5"}, paths(list))
}

func TestAnEqualComparisonSaysWhatItDoesNotCover(t *testing.T) {
	s := Settings{Values: map[string]string{"a": "1", "b": redacted}, Absent: []string{"sites/x/sms"}}
	require.Equal(t, "all 2 values as before; of 1 of them, which may be secrets, only that they are there; "+
		"not there to compare: sites/x/sms", s.compared())
}

// Nodes that do not say whether EFT is its own cluster manager have not said that it is not.
func TestModeIsTold(t *testing.T) {
	for doc, told := range map[string]bool{`[]`: false, `[{"id":"n","attributes":{"isStarted":true}}]`: false,
		`[{"id":"n","attributes":{"isInCluster":false}}]`: true} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, req *http.Request) {
			switch {
			case strings.HasSuffix(req.URL.Path, "/authentication"):
				_, _ = io.WriteString(out, `{"authToken":"t"}`)
			case strings.HasSuffix(req.URL.Path, "/nodes"):
				_, _ = io.WriteString(out, `{"data":`+doc+`}`)
			default:
				out.WriteHeader(http.StatusNotFound)
			}
		}))
		t.Cleanup(srv.Close)
		sum := sha256.Sum256(srv.Certificate().Raw)
		r, err := NewREST(RESTConfig{URL: srv.URL, User: "u", TLS: failover.TLS{Fingerprints: []string{hex.EncodeToString(sum[:])}},
			Password: func(context.Context) (failover.Secret, error) { return failover.NewSecret("p"), nil }})
		require.NoError(t, err)
		now := reading{REST: r, Settings: Settings{Licences: map[string]string{}}}
		now.nodes(t.Context())
		require.NoError(t, now.err)
		require.Equal(t, told, !slices.Contains(now.Absent, nodesPath), doc)
	}
}
