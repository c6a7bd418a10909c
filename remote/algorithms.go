package remote

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/01b61c5c/failover"
)

// plainKeyAlgorithms are the signature algorithms of plain host keys, preferred first. SHA-1 signatures of RSA keys
// come behind them for those who ask for legacy algorithms; DSA, the only kind of some servers before OpenSSH 7, is no
// longer implemented.
var plainKeyAlgorithms = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}

// hostKeyAlgorithms are the algorithms asked for, in this order: those of the keys the known_hosts file has for the
// machine, authorities first; the other plain ones; certificates, for a server that shows nothing else. A server takes
// the first that it has a key for.
func (h *Host) hostKeyAlgorithms() []string {
	families := slices.Clone(plainKeyAlgorithms)
	if h.cfg.LegacyAlgorithms {
		families = append(families, ssh.KeyAlgoRSA)
	}
	var certs, algos []string
	for _, algo := range ssh.SupportedAlgorithms().HostKeys {
		if isCertificate(algo) {
			certs = append(certs, algo)
		}
	}
	if h.trust.known != nil && len(h.trust.pinned) == 0 {
		if h.trust.known.certified(h.cfg.Address) {
			algos = slices.Clone(certs) // an authority may certify keys of other kinds than its own
		}
		kinds := h.trust.known.keys(h.cfg.Address)
		for _, algo := range families {
			if slices.ContainsFunc(kinds, func(key ssh.PublicKey) bool { return ofKind(algo, key) }) {
				algos = addNew(algos, algo)
			}
		}
	}
	return addNew(algos, append(families, certs...)...)
}

// addNew appends what is not in the list yet.
func addNew(list []string, more ...string) []string {
	for _, name := range more {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

func isCertificate(algo string) bool { return strings.Contains(algo, "-cert-v01@") }

// ofKind reports whether a server shows the key under the algorithm.
func ofKind(algo string, key ssh.PublicKey) bool {
	if key.Type() == ssh.KeyAlgoRSA {
		return algo == ssh.KeyAlgoRSA || algo == ssh.KeyAlgoRSASHA256 || algo == ssh.KeyAlgoRSASHA512
	}
	return algo == key.Type()
}

// withoutFamily removes every algorithm under which the server could show the given key again, in a certificate too: a
// server has certificates only for keys that it also shows plain.
func withoutFamily(algos []string, key ssh.PublicKey) []string {
	return slices.DeleteFunc(slices.Clone(algos),
		func(algo string) bool { return isCertificate(algo) || ofKind(algo, plainKey(key)) })
}

// algorithms fills the lists of cfg. Setting a list replaces the library's default, so each is copied and appended to.
func algorithms(cfg *ssh.Config, legacy bool) {
	var defaults ssh.Config
	defaults.SetDefaults()
	old := ssh.InsecureAlgorithms()
	without := func(list, insecure []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(insecure, s) })
	}
	// The library's defaults hold a few insecure ones; only those who ask for legacy algorithms get them. The two
	// that are appended are safe, implemented, and the only ones some AIX servers are configured to offer.
	cfg.KeyExchanges = addNew(without(defaults.KeyExchanges, old.KeyExchanges), ssh.KeyExchangeDHGEXSHA256,
		ssh.KeyExchangeDH16SHA512)
	cfg.Ciphers = without(defaults.Ciphers, old.Ciphers)
	cfg.MACs = without(defaults.MACs, old.MACs)
	if legacy {
		cfg.KeyExchanges = addNew(cfg.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1, ssh.InsecureKeyExchangeDHGEXSHA1,
			ssh.InsecureKeyExchangeDH1SHA1)
		cfg.Ciphers = addNew(cfg.Ciphers, ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC)
		cfg.MACs = addNew(cfg.MACs, ssh.InsecureHMACSHA196)
	}
}

// negotiationError says which algorithm is missing and what would help.
func (h *Host) negotiationError(e *ssh.AlgorithmNegotiationError) *failover.Error {
	old := ssh.InsecureAlgorithms()
	legacy := slices.Concat(old.KeyExchanges, old.Ciphers, old.MACs, old.HostKeys)
	advice := "this client implements none of them: "
	if !h.cfg.LegacyAlgorithms && slices.ContainsFunc(e.RequestedAlgorithms, func(name string) bool {
		return slices.Contains(legacy, name) && !strings.HasPrefix(name, "arcfour")
	}) {
		advice = "set LegacyAlgorithms for this machine, or "
	}
	return h.notApplied("connect", advice+"let the machine's administrator allow newer algorithms in sshd_config", "%w",
		algorithmError{e})
}

// algorithmError leaves our own long list out of the text.
type algorithmError struct {
	cause *ssh.AlgorithmNegotiationError
}

func (e algorithmError) Error() string {
	return fmt.Sprintf("%v for %s, the server offers only %q", ErrNoCommonAlgorithm, e.cause.What,
		strings.Join(e.cause.RequestedAlgorithms, ", "))
}

func (e algorithmError) Unwrap() []error { return []error{ErrNoCommonAlgorithm, e.cause} }

// legacyOnly reports whether the offer holds an old host key algorithm and none of the safe ones.
func legacyOnly(offer, safe []string) bool {
	return slices.Contains(offer, ssh.KeyAlgoRSA) && !slices.ContainsFunc(offer,
		func(name string) bool { return name != ssh.KeyAlgoED25519 && slices.Contains(safe, name) })
}
