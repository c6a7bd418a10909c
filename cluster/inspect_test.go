package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each system has its own word for a pending reboot (Debian policy 9.12; zypper(8): 102; needs-restarting(1): 1). What
// says nothing, or something else, is not "no".
func TestWhatASystemSaysOfAReboot(t *testing.T) {
	const debian, suse, redhat = "ID=ubuntu\nID_LIKE=debian", "ID=sles\nID_LIKE=suse", "ID=\"almalinux\"\nID_LIKE=\"rhel fedora\""
	for name, c := range map[string]struct {
		system, want, reason string
		tools                map[string]string // what each does
	}{
		"debian, no file":              {debian, "no", "ubuntu: test", nil},
		"debian, a file":               {debian, "yes", "required ended with 1", map[string]string{"required": ""}},
		"suse, no":                     {suse, "no", "sles: zypper needs-rebooting", map[string]string{"zypper": "exit 0"}},
		"suse, yes":                    {suse, "yes", "ended with 102", map[string]string{"zypper": `[ "$1" = needs-rebooting ] && exit 102`}},
		"suse, locked":                 {suse, "unknown", "ended with 7", map[string]string{"zypper": "exit 7"}},
		"red hat, no":                  {redhat, "no", "almalinux: needs-restarting -r", map[string]string{"needs-restarting": "exit 0"}},
		"red hat, yes":                 {redhat, "yes", "ended with 1", map[string]string{"needs-restarting": `[ "$1" = -r ] && exit 1`}},
		"red hat, the tool is killed":  {redhat, "unknown", "ended with 137", map[string]string{"needs-restarting": "kill -9 $$"}},
		"red hat, a plug-in of dnf":    {redhat, "yes", "dnf needs-restarting -r", map[string]string{"dnf": `[ "$2" = -r ] && exit 1; exit 0`}},
		"red hat, dnf without plug-in": {redhat, "unknown", "needs-restarting -r ended with 127", map[string]string{"dnf": "exit 1"}},
		"red hat, no tool":             {redhat, "unknown", "needs-restarting -r ended with 127", nil},
		"another system":               {"ID=alpine", "unknown", "alpine", nil},
		"a system that says nothing":   {"", "unknown", "without os-release", nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(file, text string) {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o755))
			}
			put("os-release", c.system)
			put("crm_node", "#!/bin/sh\necho n1\n")
			for tool, text := range c.tools {
				put(tool, "#!/bin/sh\n"+text+"\n")
			}
			text, err := scripts.ReadFile("scripts/inspect.sh")
			require.NoError(t, err)
			script := strings.NewReplacer("/etc/os-release", dir+"/os-release", "/run/reboot-required", dir+"/required").
				Replace(string(text))
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
			cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
			out, err := cmd.Output()
			require.NoError(t, err)
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			require.Len(t, lines, 4, "%s", out)
			require.Equal(t, "n1", lines[0])
			require.Equal(t, c.want, lines[2])
			require.Contains(t, lines[3], c.reason)
		})
	}
}
