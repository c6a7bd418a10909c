package efttest

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/remote"
)

//go:embed scripts/*.sh
var shellScripts embed.FS

// shell returns the script in a file; "", which no shell does anything with, when there is none.
func shell(file string) string {
	text, _ := shellScripts.ReadFile("scripts/" + file)
	return string(text)
}

// ScriptNodeConfig describes a POSIX node on which a program of the administrator's answers for the service. EFT
// Server itself is a Windows program; this node serves rehearsals on a Pacemaker cluster and products that are
// installed by a script.
type ScriptNodeConfig struct {
	Name string // in the cluster
	SSH  failover.SSH

	VersionFile  string // its first line is the version of the program; on the shared disk with UpgradeShared
	ProductsFile string // one installed product a line: version, space, name; on the node's own disk
	RunsDir      string // where installer runs are claimed and logged; on the node's own disk
	ConfigDir    string // told as Facts.ConfigDir; "" when not known

	// Control is a program on the node that answers for the service:
	//
	//	control status      one service a line: name, tab, running or stopped, tab, start mode, tab, account
	//	control stop        stops it; nothing to do is success
	//	control mode MODE   sets the start mode: manual, automatic or disabled
	//
	// A disabled service must not start, whoever asks.
	Control string
}

// ScriptNode is a Node reached over SSH that runs small POSIX shell scripts. It needs sha256sum and setsid. A run has ended
// when the installer itself has: what that leaves running is not waited for.
type ScriptNode struct {
	c    ScriptNodeConfig
	host *remote.Host
}

var _ eft.Node = (*ScriptNode)(nil)

// NewScriptNode checks the configuration; it does not connect.
func NewScriptNode(c ScriptNodeConfig) (*ScriptNode, error) {
	for _, f := range []struct{ field, value string }{{"Name", c.Name}, {"VersionFile", c.VersionFile},
		{"ProductsFile", c.ProductsFile}, {"RunsDir", c.RunsDir}, {"Control", c.Control}} {
		if f.value == "" || strings.ContainsFunc(f.value, unicode.IsControl) {
			return nil, failover.Invalid("ScriptNodeConfig."+f.field,
				fmt.Sprintf("%q is empty or has control characters", f.value), "give a name or an absolute path")
		}
		if f.field != "Name" && !strings.HasPrefix(f.value, "/") {
			return nil, failover.Invalid("ScriptNodeConfig."+f.field, fmt.Sprintf("%q is not absolute", f.value),
				"give an absolute path")
		}
	}
	host, err := remote.New(remote.Config{SSH: c.SSH})
	if err != nil {
		return nil, err
	}
	return &ScriptNode{c: c, host: host}, nil
}

// Close ends the connection.
func (n *ScriptNode) Close() error { return n.host.Close() }

// Name implements Node.
func (n *ScriptNode) Name() string { return n.c.Name }

// refusals are the exit statuses by which the scripts say that they changed nothing.
var refusals = map[int]error{21: eft.ErrInstallerDiffers, 22: eft.ErrInstallerMissing, 23: eft.ErrNoSpace, 24: eft.ErrBackup,
	31: eft.ErrNodeBusy}

// run runs one script. changes says whether an unknown exit status leaves doubt.
func (n *ScriptNode) run(ctx context.Context, op, script string, unknown failover.Outcome,
	args ...string) ([]byte, error) {
	for _, a := range args {
		if strings.ContainsRune(a, 0) {
			return nil, failover.Invalid(op, "a name holds a NUL byte", "use a name a file can have")
		}
	}
	return n.line(ctx, op, remote.ShellLine("/bin/sh", script, args...), unknown)
}

func (n *ScriptNode) line(ctx context.Context, op, line string, unknown failover.Outcome) ([]byte, error) {
	res, err := n.host.Run(ctx, remote.Command{Name: op, Line: line, MaxOutput: 16 << 20})
	if err != nil {
		if unknown == failover.NotApplied && failover.OutcomeOf(err) == failover.InDoubt {
			err = &failover.Error{Op: op, Target: n.c.Name, Outcome: failover.NotApplied, Next: "read again", Err: err}
		}
		return nil, err
	}
	if res.Truncated {
		return nil, &failover.Error{Op: op, Target: n.c.Name, Outcome: unknown, Next: "look at the node",
			Err: errors.New("the answer is too long")}
	}
	if res.Exit != 0 {
		outcome, cause := unknown, fmt.Errorf("exit status %d: %s", res.Exit, bytes.TrimSpace(res.Stderr))
		if kind := refusals[res.Exit]; kind != nil {
			outcome, cause = failover.NotApplied, fmt.Errorf("%w: %w: %w", failover.ErrPrecondition, kind, cause)
		}
		return nil, &failover.Error{Op: op, Target: n.c.Name, Outcome: outcome, Next: "look at the node", Err: cause}
	}
	return res.Stdout, nil
}

func (n *ScriptNode) garbage(op string, what any) error {
	return &failover.Error{Op: op, Target: n.c.Name, Outcome: failover.NotApplied, Next: "look at what the node says",
		Err: fmt.Errorf("unreadable answer: %.200v", what)}
}

// Facts implements Node.
func (n *ScriptNode) Facts(ctx context.Context) (eft.Facts, error) {
	const op = "read facts"
	out, err := n.run(ctx, op, shell("facts.sh"), failover.NotApplied, n.c.VersionFile, n.c.ProductsFile, n.c.Control,
		n.c.RunsDir)
	if err != nil {
		return eft.Facts{}, err
	}
	// The name in the cluster need not be that of the machine; the address is pinned by its host key.
	f := eft.Facts{ConfigDir: n.c.ConfigDir}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		var bad error
		switch key {
		case "program":
			f.Program, bad = eft.ParseVersion(value)
		case "product":
			text, name, _ := strings.Cut(value, " ")
			p := eft.InstalledProduct{Name: name}
			p.Version, bad = eft.ParseVersion(text)
			f.Products = append(f.Products, p)
		case "service":
			parts := strings.Split(value, "\t")
			if len(parts) != 4 || parts[0] == "" || parts[1] != "running" && parts[1] != "stopped" {
				return eft.Facts{}, n.garbage(op, line)
			}
			s := eft.Service{Name: parts[0], Running: parts[1] == "running", Account: parts[3]}
			bad = s.StartMode.UnmarshalText([]byte(parts[2]))
			f.Services = append(f.Services, s)
		case "reboot":
			f.RebootPending = true
		case "busy":
			f.Busy = append(f.Busy, value)
		case "booted":
			f.Booted, bad = unixTime(value)
		case "node":
		default:
			return eft.Facts{}, n.garbage(op, line)
		}
		if bad != nil {
			return eft.Facts{}, n.garbage(op, line)
		}
	}
	return f, nil
}

func unixTime(text string) (time.Time, error) {
	s, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(s, 0).UTC(), err
}

// File implements Node.
func (n *ScriptNode) File(ctx context.Context, path string) (eft.File, error) {
	out, err := n.run(ctx, "read file", shell("file.sh"), failover.NotApplied, path)
	if err != nil || len(out) == 0 {
		return eft.File{}, err
	}
	var f eft.File
	if _, err := fmt.Sscanf(string(out), "%d %s", &f.Size, &f.SHA256); err != nil {
		return eft.File{}, n.garbage("read file", string(out))
	}
	return f, nil
}

// Space implements Node.
func (n *ScriptNode) Space(ctx context.Context, path string) (eft.Space, error) {
	out, err := n.run(ctx, "read space", shell("space.sh"), failover.NotApplied, path)
	if err != nil {
		return eft.Space{}, err
	}
	var s eft.Space
	if _, err := fmt.Sscanf(string(out), "%d %d", &s.Used, &s.Free); err != nil {
		return eft.Space{}, n.garbage("read space", string(out))
	}
	return s, nil
}

// Stage implements Node. It uploads; letting the node fetch from a URL is not supported here.
func (n *ScriptNode) Stage(ctx context.Context, i eft.Installer) error {
	if i.Source == nil {
		return &failover.Error{Op: "stage", Target: n.c.Name, Outcome: failover.NotApplied, Next: "give Source",
			Err: fmt.Errorf("%w: a script node fetches nothing itself", eft.ErrInstallerMissing)}
	}
	src, err := i.Source(ctx)
	if err != nil {
		return &failover.Error{Op: "stage", Target: n.c.Name, Outcome: failover.NotApplied,
			Next: "make the installer readable here", Err: err}
	}
	_, err = n.host.Upload(ctx, src, i.Path, remote.UploadOptions{Mode: 0o700, SHA256: i.SHA256})
	return errors.Join(err, src.Close())
}

// StartInstaller implements Node.
func (n *ScriptNode) StartInstaller(ctx context.Context, s eft.Start) error {
	args := append([]string{n.c.RunsDir, s.ID, s.SHA256, n.c.Control, strconv.Itoa(s.Turn), s.Path}, s.Args...)
	var env []string
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, k+"="+s.Env[k])
	}
	_, err := n.line(ctx, "start installer", remote.EnvLine(remote.ShellLine("/bin/sh", shell("start.sh"), args...), env...),
		failover.InDoubt)
	return err
}

// InstallerRun implements Node.
func (n *ScriptNode) InstallerRun(ctx context.Context, id string) (eft.InstallerRun, error) {
	return n.installer(ctx, "read installer run", id, "")
}

// VoidInstaller implements Node.
func (n *ScriptNode) VoidInstaller(ctx context.Context, id string) (eft.InstallerRun, error) {
	return n.installer(ctx, "keep installer from starting", id, "void")
}

func (n *ScriptNode) installer(ctx context.Context, op, id, void string) (eft.InstallerRun, error) {
	out, err := n.run(ctx, op, shell("run.sh"), failover.NotApplied, n.c.RunsDir, id, void)
	if err != nil {
		return eft.InstallerRun{}, err
	}
	first, log, _ := bytes.Cut(out, []byte("\n"))
	words := strings.Fields(string(first))
	run := eft.InstallerRun{Log: string(log)}
	var errs [3]error
	switch {
	case len(words) == 2 && words[0] == "none":
		run.State = eft.RunNotStarted
		if run.Turn, err = strconv.Atoi(words[1]); err != nil {
			return eft.InstallerRun{}, n.garbage(op, string(first))
		}
		return run, nil
	case len(words) == 2 && words[0] == "running":
		run.State = eft.RunRunning
	case len(words) == 2 && words[0] == "lost":
		run.State = eft.RunLost
	case len(words) == 4 && words[0] == "ended":
		run.State = eft.RunEnded
		run.Exit, errs[0] = strconv.Atoi(words[2])
		run.Ended, errs[1] = unixTime(words[3])
	default:
		return eft.InstallerRun{}, n.garbage(op, string(first))
	}
	if run.Began, errs[2] = unixTime(words[1]); errors.Join(errs[:]...) != nil {
		return eft.InstallerRun{}, n.garbage(op, string(first))
	}
	return run, nil
}

// StopService implements Node.
func (n *ScriptNode) StopService(ctx context.Context, _ string) error {
	_, err := n.line(ctx, "stop service", remote.Quote(n.c.Control)+" stop </dev/null", failover.InDoubt)
	return err
}

// ConfigureService implements Node. The account cannot be changed on such a node.
func (n *ScriptNode) ConfigureService(ctx context.Context, service string, c eft.ServiceConfig) error {
	if c.Account != "" {
		return &failover.Error{Op: "configure service", Target: n.c.Name, Outcome: failover.NotApplied,
			Next: "set the account by hand", Err: fmt.Errorf("%w: that of %q cannot be changed here", eft.ErrAccount, service)}
	}
	if c.StartMode == eft.StartUnknown {
		return nil
	}
	_, err := n.line(ctx, "configure service", remote.Quote(n.c.Control)+" mode "+c.StartMode.String()+" </dev/null",
		failover.InDoubt)
	return err
}

// Backup implements Node.
func (n *ScriptNode) Backup(ctx context.Context, b eft.Backup) error {
	_, err := n.run(ctx, "back up", shell("backup.sh"), failover.InDoubt, append([]string{b.From, b.To}, b.Exclude...)...)
	return err
}

// ReadBackup implements Node.
func (n *ScriptNode) ReadBackup(ctx context.Context, dir string) (eft.Manifest, error) {
	out, err := n.run(ctx, "read backup", shell("manifest.sh"), failover.NotApplied, dir)
	if err != nil || len(out) == 0 {
		return eft.Manifest{}, err
	}
	var files []eft.ManifestFile
	for line := range strings.Lines(string(out)) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), " ", 3)
		if len(parts) != 3 {
			return eft.Manifest{}, n.garbage("read backup", line)
		}
		size, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return eft.Manifest{}, n.garbage("read backup", line)
		}
		files = append(files, eft.ManifestFile{Path: parts[2], Size: size, SHA256: parts[0]})
	}
	return eft.NewManifest(files), nil
}

// Restore implements Node.
func (n *ScriptNode) Restore(ctx context.Context, b eft.Backup) error {
	_, err := n.run(ctx, "restore", shell("restore.sh"), failover.InDoubt, b.To, b.From)
	return err
}
