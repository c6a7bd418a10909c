package eft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft/internal/scripts"
	"github.com/01b61c5c/failover/remote"
)

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

// ScriptNode is a Node reached over SSH that runs small POSIX shell scripts. It needs sha256sum and setsid.
type ScriptNode struct {
	c    ScriptNodeConfig
	host *remote.Host
}

var _ Node = (*ScriptNode)(nil)

// NewScriptNode checks the configuration; it does not connect.
func NewScriptNode(c ScriptNodeConfig) (*ScriptNode, error) {
	for _, f := range []struct{ field, value string }{{"Name", c.Name}, {"VersionFile", c.VersionFile},
		{"ProductsFile", c.ProductsFile}, {"RunsDir", c.RunsDir}, {"Control", c.Control}} {
		if !cleanName(f.value) {
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
var refusals = map[int]error{21: ErrInstallerDiffers, 22: ErrInstallerMissing, 23: ErrNoSpace, 24: ErrBackup}

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
		outcome, cause := unknown, fmt.Errorf("exit status %d: %s", res.Exit, tail(string(res.Stderr)))
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
func (n *ScriptNode) Facts(ctx context.Context) (Facts, error) {
	const op = "read facts"
	out, err := n.run(ctx, op, scripts.FactsSh, failover.NotApplied, n.c.VersionFile, n.c.ProductsFile, n.c.Control,
		n.c.RunsDir)
	if err != nil {
		return Facts{}, err
	}
	// The name in the cluster need not be that of the machine; the address is pinned by its host key.
	f := Facts{ConfigDir: n.c.ConfigDir}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		var bad error
		switch key {
		case "program":
			f.Program, bad = ParseVersion(value)
		case "product":
			text, name, _ := strings.Cut(value, " ")
			p := InstalledProduct{Name: name}
			p.Version, bad = ParseVersion(text)
			f.Products = append(f.Products, p)
		case "service":
			parts := strings.Split(value, "\t")
			if len(parts) != 4 || parts[0] == "" || parts[1] != "running" && parts[1] != "stopped" {
				return Facts{}, n.garbage(op, line)
			}
			s := Service{Name: parts[0], Running: parts[1] == "running", Account: parts[3]}
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
			return Facts{}, n.garbage(op, line)
		}
		if bad != nil {
			return Facts{}, n.garbage(op, line)
		}
	}
	return f, nil
}

func unixTime(text string) (time.Time, error) {
	s, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(s, 0).UTC(), err
}

// File implements Node.
func (n *ScriptNode) File(ctx context.Context, path string) (File, error) {
	out, err := n.run(ctx, "read file", scripts.FileSh, failover.NotApplied, path)
	if err != nil || len(out) == 0 {
		return File{}, err
	}
	var f File
	if _, err := fmt.Sscanf(string(out), "%d %s", &f.Size, &f.SHA256); err != nil {
		return File{}, n.garbage("read file", string(out))
	}
	return f, nil
}

// Space implements Node.
func (n *ScriptNode) Space(ctx context.Context, path string) (Space, error) {
	out, err := n.run(ctx, "read space", scripts.SpaceSh, failover.NotApplied, path)
	if err != nil {
		return Space{}, err
	}
	var s Space
	if _, err := fmt.Sscanf(string(out), "%d %d", &s.Used, &s.Free); err != nil {
		return Space{}, n.garbage("read space", string(out))
	}
	return s, nil
}

// Stage implements Node. It uploads; letting the node fetch from a URL is not supported here.
func (n *ScriptNode) Stage(ctx context.Context, i Installer) error {
	if i.Source == nil {
		return refuse("stage", n.c.Name, "give Source", ErrInstallerMissing, "a script node fetches nothing itself")
	}
	return upload(ctx, n.host, n.c.Name, i)
}

// upload sends the installer over SFTP; it appears at its path only when it is right.
func upload(ctx context.Context, host *remote.Host, node string, i Installer) error {
	src, err := i.Source(ctx)
	if err != nil {
		return &failover.Error{Op: "stage", Target: node, Outcome: failover.NotApplied,
			Next: "make the installer readable here", Err: err}
	}
	file, err := host.Upload(ctx, src, i.Path, remote.UploadOptions{Mode: 0o700, SHA256: i.SHA256})
	if cerr := src.Close(); err == nil && cerr != nil {
		err = &failover.Error{Op: "stage", Target: node, Outcome: failover.Applied, Next: "go on: the file arrived",
			Err: cerr}
	}
	if err == nil && file.Size != i.Size {
		err = refuse("stage", node, "correct Size", ErrInstallerDiffers, "it has %d bytes, specified are %d",
			file.Size, i.Size)
	}
	return err
}

// StartInstaller implements Node.
func (n *ScriptNode) StartInstaller(ctx context.Context, s Start) error {
	args := append([]string{n.c.RunsDir, s.ID, s.SHA256, n.c.Control, s.Path}, s.Args...)
	var env []string
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, k+"="+s.Env[k])
	}
	_, err := n.line(ctx, "start installer", remote.EnvLine(remote.ShellLine("/bin/sh", scripts.StartSh, args...), env...),
		failover.InDoubt)
	return err
}

// InstallerRun implements Node.
func (n *ScriptNode) InstallerRun(ctx context.Context, id string) (InstallerRun, error) {
	const op = "read installer run"
	out, err := n.run(ctx, op, scripts.RunSh, failover.NotApplied, n.c.RunsDir, id)
	if err != nil {
		return InstallerRun{}, err
	}
	first, log, _ := bytes.Cut(out, []byte("\n"))
	words := strings.Fields(string(first))
	run := InstallerRun{Log: string(log)}
	var errs [3]error
	switch {
	case len(words) == 1 && words[0] == "none":
		return InstallerRun{State: RunNotStarted}, nil
	case len(words) == 2 && words[0] == "running":
		run.State = RunRunning
	case len(words) == 2 && words[0] == "lost":
		run.State = RunLost
	case len(words) == 4 && words[0] == "ended":
		run.State = RunEnded
		run.Exit, errs[0] = strconv.Atoi(words[2])
		run.Ended, errs[1] = unixTime(words[3])
	default:
		return InstallerRun{}, n.garbage(op, string(first))
	}
	if run.Began, errs[2] = unixTime(words[1]); errors.Join(errs[:]...) != nil {
		return InstallerRun{}, n.garbage(op, string(first))
	}
	return run, nil
}

// StopService implements Node.
func (n *ScriptNode) StopService(ctx context.Context, _ string) error {
	_, err := n.line(ctx, "stop service", remote.Quote(n.c.Control)+" stop </dev/null", failover.InDoubt)
	return err
}

// ConfigureService implements Node. The account cannot be changed on such a node.
func (n *ScriptNode) ConfigureService(ctx context.Context, service string, c ServiceConfig) error {
	if c.Account != "" {
		return refuse("configure service", n.c.Name, "set the account by hand", ErrAccount,
			"the account of %q cannot be changed here", service)
	}
	if c.StartMode == StartUnknown {
		return nil
	}
	_, err := n.line(ctx, "configure service", remote.Quote(n.c.Control)+" mode "+c.StartMode.String()+" </dev/null",
		failover.InDoubt)
	return err
}

// Backup implements Node.
func (n *ScriptNode) Backup(ctx context.Context, b Backup) error {
	_, err := n.run(ctx, "back up", scripts.BackupSh, failover.InDoubt, append([]string{b.From, b.To}, b.Exclude...)...)
	return err
}

// ReadBackup implements Node.
func (n *ScriptNode) ReadBackup(ctx context.Context, dir string) (Manifest, error) {
	out, err := n.run(ctx, "read backup", scripts.ManifestSh, failover.NotApplied, dir)
	if err != nil || len(out) == 0 {
		return Manifest{}, err
	}
	var files []ManifestFile
	for line := range strings.Lines(string(out)) {
		parts := strings.SplitN(strings.TrimRight(line, "\n"), " ", 3)
		if len(parts) != 3 {
			return Manifest{}, n.garbage("read backup", line)
		}
		size, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return Manifest{}, n.garbage("read backup", line)
		}
		files = append(files, ManifestFile{Path: parts[2], Size: size, SHA256: parts[0]})
	}
	return NewManifest(files), nil
}

// Restore implements Node.
func (n *ScriptNode) Restore(ctx context.Context, b Backup) error {
	_, err := n.run(ctx, "restore", scripts.RestoreSh, failover.InDoubt, b.To, b.From)
	return err
}
