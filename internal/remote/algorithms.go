package remote

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
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

// legacyHostKeyFamilies: the SHA-1 signatures of RSA keys come last, and DSA only where nothing else is left.
var legacyHostKeyFamilies = [][]string{{ssh.KeyAlgoRSA}, {ssh.InsecureKeyAlgoDSA}}

// algorithms fills the lists of cfg. Setting a list replaces the library's default, so each is copied and appended to.
func algorithms(cfg *ssh.Config, legacy bool) {
	var defaults ssh.Config
	defaults.SetDefaults()
	add := func(list []string, more ...string) []string {
		list = slices.Clone(list)
		for _, name := range more {
			if !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
		return list
	}
	// The default also holds group14-sha1; only those who ask for legacy algorithms get it. The two appended ones
	// are safe, implemented, and the only ones some AIX servers are configured to offer.
	kex := slices.DeleteFunc(slices.Clone(defaults.KeyExchanges), func(s string) bool { return s == ssh.InsecureKeyExchangeDH14SHA1 })
	cfg.KeyExchanges = add(kex, ssh.KeyExchangeDHGEXSHA256, ssh.KeyExchangeDH16SHA512)
	cfg.Ciphers = add(defaults.Ciphers)
	cfg.MACs = add(defaults.MACs)
	if legacy {
		cfg.KeyExchanges = add(cfg.KeyExchanges, ssh.InsecureKeyExchangeDH14SHA1, ssh.InsecureKeyExchangeDHGEXSHA1, ssh.InsecureKeyExchangeDH1SHA1)
		cfg.Ciphers = add(cfg.Ciphers, ssh.InsecureCipherAES128CBC, ssh.InsecureCipherTripleDESCBC)
		cfg.MACs = add(cfg.MACs, ssh.InsecureHMACSHA196)
	}
}

// negotiationHint says which algorithm is missing and what would help.
func negotiationHint(e *ssh.AlgorithmNegotiationError, legacy bool) (text, next string) {
	text = fmt.Sprintf("the server offers only %s for %s", strings.Join(e.RequestedAlgorithms, ", "), e.What)
	all := ssh.SupportedAlgorithms()
	old := ssh.InsecureAlgorithms()
	known := slices.Concat(all.KeyExchanges, all.Ciphers, all.MACs, all.HostKeys, old.KeyExchanges, old.Ciphers, old.MACs, old.HostKeys)
	usable := slices.ContainsFunc(e.RequestedAlgorithms, func(name string) bool {
		return slices.Contains(known, name) && !strings.HasPrefix(name, "arcfour")
	})
	switch {
	case usable && !legacy:
		return text, "set LegacyAlgorithms for this host, or let its administrator allow newer algorithms in sshd_config"
	default:
		return text, "this client does not implement any of them; let the host's administrator allow newer algorithms in sshd_config"
	}
}
