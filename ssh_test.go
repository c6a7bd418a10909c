package failover_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/01b61c5c/failover"
)

func TestSSHNamesTheField(t *testing.T) {
	const pin = "SHA256:uNiVztksCsDhcc0u9e8BrQvrIhBfcp7nOkDfWvPX12E"
	good := failover.SSH{Address: "a:22", User: "u", HostKeys: []string{pin}, Agent: "/sock"}
	hop := good
	hop.Address = "hop:22"
	for field, change := range map[string]func(*failover.SSH){
		"x.PeerKeys":         func(s *failover.SSH) { s.PeerKeys = []string{"SHA256:short"} },
		"x.PeerAddresses[0]": func(s *failover.SSH) { s.KnownHosts, s.PeerAddresses = "/k", []string{"b"} },
		"x.PeerAddresses":    func(s *failover.SSH) { s.PeerAddresses = []string{"b:22"} },
		"x.Certificate": func(s *failover.SSH) {
			s.Agent, s.Password, s.Certificate = "",
				func(context.Context) (failover.Secret, error) { return failover.NewSecret("p"), nil }, "/c"
		},
		"x.Jump[1].User": func(s *failover.SSH) { s.Jump = []failover.SSH{hop, hop}; s.Jump[1].User = "" },
		"x.Jump[0].Jump": func(s *failover.SSH) { h := hop; h.Jump = []failover.SSH{hop}; s.Jump = []failover.SSH{h} },
	} {
		s := good
		change(&s)
		err := s.Validate("x")
		require.ErrorIs(t, err, failover.ErrInvalid)
		var e *failover.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, field, e.Target)
		require.NotEmpty(t, e.Next)
	}
	s := good
	s.Jump, s.KnownHosts, s.PeerAddresses = []failover.SSH{hop, hop}, "/k", []string{"b:22"}
	require.NoError(t, s.Validate("x"))
}

func TestSSHWithPeer(t *testing.T) {
	a := failover.SSH{Address: "a:22", HostKeys: []string{"A"}, PeerKeys: []string{"X"}}
	b := failover.SSH{Address: "b:22", HostKeys: []string{"B"}}
	require.Equal(t, []string{"X", "B"}, a.WithPeer(b).PeerKeys)
	require.Empty(t, a.WithPeer(b).PeerAddresses)
	require.Equal(t, []string{"X"}, a.PeerKeys, "the original stays as it is")
	known := failover.SSH{Address: "b:22", KnownHosts: "/k"}
	require.Equal(t, []string{"b:22"}, a.WithPeer(known).PeerAddresses)
	require.Equal(t, "/k", a.WithPeer(known).KnownHosts)
	a.KnownHosts = "/another"
	require.Empty(t, a.WithPeer(known).PeerAddresses)
}

func TestMachinesThatCannotBeToldApartAreRefused(t *testing.T) {
	key := "SHA256:" + strings.Repeat("A", 43)
	target := failover.SSH{Address: "One.example:22", User: "u", Agent: "/agent", HostKeys: []string{key}}
	twin := target
	twin.PeerKeys = []string{key}
	err := twin.Validate("Host")
	require.ErrorIs(t, err, failover.ErrInvalid, "a cloned machine has the host key of its original")
	assert.Contains(t, err.Error(), "Host.PeerKeys")
	target.KnownHosts, target.PeerAddresses = "known_hosts", []string{"one.EXAMPLE:22"}
	require.ErrorIs(t, target.Validate("Host"), failover.ErrInvalid, "host names have no case")
}
