package remote

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// hostKeyFamilies are the kinds of host key a server can hold, preferred first, each with its signature algorithms.
// Certificates are left out: a pinned fingerprint names a plain key.
var hostKeyFamilies = [][]string{
	{ssh.KeyAlgoED25519},
	{ssh.KeyAlgoECDSA256},
	{ssh.KeyAlgoECDSA384},
	{ssh.KeyAlgoECDSA521},
	{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256},
}

// legacyHostKeyFamilies: the SHA-1 signatures of RSA keys. DSA, the only kind of some servers before OpenSSH 7, is no
// longer implemented.
var legacyHostKeyFamilies = [][]string{{ssh.KeyAlgoRSA}}

// algorithms fills the lists of cfg. Setting a list replaces the library's default, so each is copied and appended to.
func algorithms(cfg *ssh.Config, legacy bool) {
	var defaults ssh.Config
	defaults.SetDefaults()
	add := func(list []string, more ...string) []string {
		for _, name := range more {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		return list
	}
	old := ssh.InsecureAlgorithms()
	without := func(list, insecure []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(insecure, s) })
	}
	// The library's defaults hold a few insecure ones; only those who ask for legacy algorithms get them. The two
	// that are appended are safe, implemented, and the only ones some AIX servers are configured to offer.
	cfg.KeyExchanges = add(without(defaults.KeyExchanges, old.KeyExchanges), ssh.KeyExchangeDHGEXSHA256, ssh.KeyExchangeDH16SHA512)
	cfg.Ciphers = without(defaults.Ciphers, old.Ciphers)
	cfg.MACs = without(defaults.MACs, old.MACs)
	if legacy {
		cfg.KeyExchanges = add(cfg.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1, ssh.InsecureKeyExchangeDHGEXSHA1, ssh.InsecureKeyExchangeDH1SHA1)
		cfg.Ciphers = add(cfg.Ciphers, ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC)
		cfg.MACs = add(cfg.MACs, ssh.InsecureHMACSHA196)
	}
}

// negotiationError says which algorithm is missing and what would help.
func (h *Host) negotiationError(e *ssh.AlgorithmNegotiationError) *failover.Error {
	offer := strings.Join(e.RequestedAlgorithms, ", ")
	ask := "let the machine's administrator allow newer algorithms in sshd_config"
	all, old := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	safe := slices.Concat(all.KeyExchanges, all.Ciphers, all.MACs, all.HostKeys)
	legacy := slices.Concat(old.KeyExchanges, old.Ciphers, old.MACs, old.HostKeys)
	usable := func(list []string) bool {
		return slices.ContainsFunc(e.RequestedAlgorithms, func(name string) bool {
			return slices.Contains(list, name) && !strings.HasPrefix(name, "arcfour")
		})
	}
	switch {
	case e.What == "host key" && len(h.knownAlgorithms()) > 0 && usable(safe):
		// The library knows keys of this machine, and the machine has none of their kind.
		return h.fail("connect", failover.NotApplied, hostKeyNext(ErrHostKeyChanged),
			fmt.Errorf("%w: the known_hosts file has keys for %s of a kind the server no longer has; it offers %s", ErrHostKeyChanged, h.cfg.Address, offer))
	case usable(legacy) && !h.cfg.LegacyAlgorithms:
		ask = "set LegacyAlgorithms for this machine, or " + ask
	default:
		ask = "this client implements none of them: " + ask
	}
	return h.notApplied("connect", ask, "%w", algorithmError{e})
}

// algorithmError leaves our own long list out of the text.
type algorithmError struct {
	cause *ssh.AlgorithmNegotiationError
}

func (e algorithmError) Error() string {
	return fmt.Sprintf("%v for %s, the server offers only %s", ErrNoCommonAlgorithm, e.cause.What, strings.Join(e.cause.RequestedAlgorithms, ", "))
}

func (e algorithmError) Unwrap() []error { return []error{ErrNoCommonAlgorithm, e.cause} }

// legacyOnly reports whether the offer holds an old host key algorithm and none of the safe ones.
func legacyOnly(offer, safe []string) bool {
	return slices.ContainsFunc(offer, func(name string) bool { return name == ssh.KeyAlgoRSA }) &&
		!slices.ContainsFunc(offer, func(name string) bool { return name != ssh.KeyAlgoED25519 && slices.Contains(safe, name) })
}
