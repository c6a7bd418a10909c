package symitartest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/01b61c5c/failover"
)

// MacroRuns returns how often the FAILOVER macro was executed, over all processes that used the folder.
func (p *Pair) MacroRuns() int { return p.lines("macro-runs") }

// Overlaps returns how often the macro was started while it ran.
func (p *Pair) Overlaps() int { return p.lines("macro-overlaps") }

func (p *Pair) lines(file string) int {
	text, err := os.ReadFile(filepath.Join(p.dir, file)) //nolint:gosec // a file of ours
	if err != nil {
		return 0
	}
	return strings.Count(string(text), "\n")
}

// EverTwoPrimaries reports whether two running hosts were ever primary together.
func (p *Pair) EverTwoPrimaries() bool {
	_, err := os.Stat(filepath.Join(p.dir, "two-primaries"))
	return err == nil
}

// Role returns what a host is: "primary" or "secondary".
func (p *Pair) Role(name string) string { return p.hosts[name].read("etc/role") }

// AgentRuns reports whether the OpCon agent runs on a host.
func (p *Pair) AgentRuns(name string) bool { return p.hosts[name].read("etc/agent") == "running" }

// Primaries returns the running hosts that are primary.
func (p *Pair) Primaries() []string {
	var list []string
	for _, name := range []string{Home, Partner} {
		if p.Role(name) == "primary" && p.hosts[name].read("etc/down") == "" {
			list = append(list, name)
		}
	}
	return list
}

// PowerOff makes a host go down as by a loss of power: its lines drop, its processes die, its role file stays as it
// was.
func (p *Pair) PowerOff(name string) error {
	h, ok := p.hosts[name]
	if !ok {
		return failover.Invalid("host", name+" is unknown", "use Home or Partner")
	}
	h.server.Stop()
	h.shell.Kill()
	return h.write("etc/down", "yes\n")
}

// PowerOn brings a host back with the role given, "primary" or "secondary". A host that was primary when it went down
// and comes back as primary is what makes two.
func (p *Pair) PowerOn(name, role string) error {
	h := p.hosts[name]
	if err := os.Remove(h.path("etc/down")); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := h.write("etc/role", role+"\n"); err != nil {
		return err
	}
	if len(p.Primaries()) > 1 {
		if err := os.WriteFile(filepath.Join(p.dir, "two-primaries"), nil, 0o600); err != nil {
			return err
		}
	}
	return h.server.Start()
}
