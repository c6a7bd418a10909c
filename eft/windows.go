package eft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/eft/internal/scripts"
	"github.com/01b61c5c/failover/internal/powershell"
	"github.com/01b61c5c/failover/remote"
)

// WindowsNodeConfig describes a Windows node with an SSH server (Win32-OpenSSH). The defaults are EFT Server's own
// names where they are documented or were seen, and can be changed because versions differ.
type WindowsNodeConfig struct {
	Name string       // in the cluster; the machine must say the same name of itself
	SSH  failover.SSH // the node's own address, with an administrator's account

	// Executable: the service's program; "" means cftpstes.exe (documented in an advisory, seen in the vendor's samples)
	Executable string
	Product    string // wildcard for the DisplayName of uninstall entries; "" means EFT Server* (inferred)
	// Consoles: programs that disturb an installation; nil means cftpsai.exe, the administration interface (seen)
	Consoles []string
	// RunsDir is where installer runs are claimed and logged; "" means C:\Program Files\failover-eft. SYSTEM runs what
	// lies there: one that is made is closed to all but administrators, one that is there already must be.
	RunsDir string

	// LocalConfigs are the default configuration folders on the node's own disk, where an empty configuration would
	// appear; nil means those of 7.x to 8.x (documented).
	LocalConfigs []string
	// ConfigKeys are registry keys whose value Config names the configuration folder; nil means those of kb 11378, with
	// and without Wow6432Node (the latter inferred for 8.1 and newer).
	ConfigKeys []string
}

// WindowsNode is a Node behind PowerShell 5.1 over SSH. A silent installer runs as a scheduled task under SYSTEM,
// because Windows ends what an SSH session started when the session ends (documented: Win32-OpenSSH).
type WindowsNode struct {
	c    WindowsNodeConfig
	host *remote.Host
}

var _ Node = (*WindowsNode)(nil)

// NewWindowsNode checks the configuration; it does not connect.
func NewWindowsNode(c WindowsNodeConfig) (*WindowsNode, error) {
	c.Executable, c.Product = cmp.Or(c.Executable, "cftpstes.exe"), cmp.Or(c.Product, "EFT Server*")
	c.RunsDir = cmp.Or(c.RunsDir, `C:\Program Files\failover-eft`)
	c.Consoles = given(c.Consoles, "cftpsai.exe")
	c.LocalConfigs = given(c.LocalConfigs, `C:\ProgramData\Globalscape\EFT Server`,
		`C:\ProgramData\Globalscape\EFT Server Enterprise`)
	c.ConfigKeys = given(c.ConfigKeys, `HKLM:\SOFTWARE\Wow6432Node\GlobalSCAPE Inc.\EFT Server 4.0`,
		`HKLM:\SOFTWARE\GlobalSCAPE Inc.\EFT Server 4.0`)
	for _, f := range []struct{ field, value string }{{"Name", c.Name}, {"Executable", c.Executable},
		{"Product", c.Product}} {
		if !cleanName(f.value) {
			return nil, failover.Invalid("WindowsNodeConfig."+f.field,
				fmt.Sprintf("%q is empty or has control characters", f.value), "give a name as Windows shows it")
		}
	}
	if strings.ContainsAny(c.Executable, `\/"*?`) {
		return nil, failover.Invalid("WindowsNodeConfig.Executable", fmt.Sprintf("%q is not a file name", c.Executable),
			"give the name without a folder")
	}
	if err := localPath("WindowsNodeConfig.RunsDir", c.RunsDir); err != nil {
		return nil, err
	}
	host, err := remote.New(remote.Config{SSH: c.SSH})
	if err != nil {
		return nil, err
	}
	return &WindowsNode{c: c, host: host}, nil
}

// devices matches names that no file can have, with or without an extension (documented: Naming Files, Paths, and
// Namespaces).
var devices = regexp.MustCompile(`(?i)\A(CON|PRN|AUX|NUL|COM[1-9]|LPT[1-9]) *(\.|\z)`)

var drive = regexp.MustCompile(`\A[A-Za-z]:\\`)

// localPath refuses a path that is not an absolute one on a drive, that has characters no Windows file name has, or
// that Windows reads as another one than it is written: texts of two paths could not be compared then.
func localPath(field, path string) error {
	if len(strings.TrimRight(path, `\`)) <= 3 || !drive.MatchString(path) || strings.ContainsAny(path[2:], `:*?"<>|/`) ||
		!cleanName(path) {
		return failover.Invalid(field, fmt.Sprintf("%q is not a path on a local disk", path),
			`write it as C:\folder\file; shares are not reached without a password`)
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(path[3:], `\`), `\`) {
		if part == "" || strings.TrimRight(part, ". ") != part || devices.MatchString(part) {
			return failover.Invalid(field, fmt.Sprintf("%q is another path for Windows: see %q in it", path, part),
				"write it in full, without dots, blanks or backslashes to spare and without names of devices")
		}
	}
	return nil
}

// Close ends the connection.
func (n *WindowsNode) Close() error { return n.host.Close() }

// Name implements Node.
func (n *WindowsNode) Name() string { return n.c.Name }

func (n *WindowsNode) run(ctx context.Context, name, file string, params, answer any) error {
	err := powershell.Run(ctx, n.host, powershell.Script{Name: name, Text: scripts.Text(file)}, params, answer)
	if err == nil {
		return nil
	}
	return &failover.Error{Op: name, Target: n.c.Name, Outcome: failover.OutcomeOf(err), Next: failover.NextOf(err),
		Err: err}
}

// read is run for scripts that change nothing: whatever became of them, nothing happened.
func (n *WindowsNode) read(ctx context.Context, name, file string, params, answer any) error {
	if err := n.run(ctx, name, file, params, answer); err != nil {
		return unchanged(name, n.c.Name, "read again", err)
	}
	return nil
}

// Facts implements Node.
func (n *WindowsNode) Facts(ctx context.Context) (Facts, error) {
	var f Facts
	err := n.read(ctx, "read facts", "facts.ps1", map[string]any{"executable": n.c.Executable,
		"product": n.c.Product, "consoles": n.c.Consoles, "runs": n.c.RunsDir, "localConfigs": n.c.LocalConfigs,
		"configKeys": n.c.ConfigKeys}, &f)
	return f, err
}

// readPath is read for one path on the node.
func (n *WindowsNode) readPath(ctx context.Context, name, file, field, path string, answer any) error {
	if err := localPath(field, path); err != nil {
		return err
	}
	return n.read(ctx, name, file, map[string]string{field: path}, answer)
}

// File implements Node.
func (n *WindowsNode) File(ctx context.Context, path string) (File, error) {
	var f File
	err := n.readPath(ctx, "read file", "file.ps1", "path", path, &f)
	return f, err
}

// Space implements Node.
func (n *WindowsNode) Space(ctx context.Context, path string) (Space, error) {
	var s Space
	err := n.readPath(ctx, "read space", "space.ps1", "path", path, &s)
	return s, err
}

// Stage implements Node, by SFTP or by letting the node fetch from the URL. Only the right file appears there.
func (n *WindowsNode) Stage(ctx context.Context, i Installer) error {
	if err := localPath("Installer.Path", i.Path); err != nil {
		return err
	}
	if i.Source == nil {
		return n.run(ctx, "fetch installer", "fetch.ps1",
			map[string]string{"url": i.URL, "path": i.Path, "sha256": i.SHA256}, nil)
	}
	src, err := i.Source(ctx)
	if err != nil {
		return unchanged("stage", n.c.Name, "make the installer readable here", err)
	}
	defer func() { _ = src.Close() }()                 // it was read to its end, or not taken
	path := "/" + strings.ReplaceAll(i.Path, `\`, "/") // Win32-OpenSSH's SFTP server writes drives as /C:/ (documented)
	_, err = n.host.Upload(ctx, src, path, remote.UploadOptions{Mode: 0o700, SHA256: i.SHA256})
	return err
}

// StartInstaller implements Node.
func (n *WindowsNode) StartInstaller(ctx context.Context, s Start) error {
	const op = "start installer"
	if !strings.HasSuffix(strings.ToLower(s.Path), ".exe") {
		return failover.Invalid("Installer.Path", fmt.Sprintf("%q is no .exe", s.Path),
			"name a program: a .cmd or .bat would read its arguments a second time; for a .msi name msiexec.exe and give the "+
				"package as an argument")
	}
	var answer struct {
		Claimed, Missing, Differs, Late bool
		Result                          string // of the task that was late
	}
	err := n.run(ctx, op, "start.ps1", map[string]any{"runs": n.c.RunsDir, "id": s.ID, "turn": s.Turn, "path": s.Path,
		"sha256": s.SHA256, "args": s.Args, "env": s.Env, "logs": s.Logs, "executable": n.c.Executable,
		"consoles": n.c.Consoles, "runner": scripts.Text("runner.ps1")}, &answer)
	switch {
	case err != nil:
		return err
	case answer.Claimed:
		return nil
	case answer.Late:
		return refuse(op, n.c.Name, "see in Task Scheduler why it starts no task, then run again", ErrNodeBusy,
			"the task did not start in time, its last result is %s; it cannot start any more", answer.Result)
	case answer.Missing:
		return refuse(op, n.c.Name, "put the installer there, then run again", ErrInstallerMissing, "%s", s.Path)
	case answer.Differs:
		return refuse(op, n.c.Name, "put the right file there, then run again", ErrInstallerDiffers, "%s", s.Path)
	}
	return &failover.Error{Op: op, Target: n.c.Name, Outcome: failover.InDoubt, Next: "read the run",
		Err: errors.New("the answer says nothing")}
}

// InstallerRun implements Node.
func (n *WindowsNode) InstallerRun(ctx context.Context, id string) (InstallerRun, error) {
	return n.installer(ctx, "read installer run", map[string]any{"runs": n.c.RunsDir, "id": id})
}

// VoidInstaller implements Node.
func (n *WindowsNode) VoidInstaller(ctx context.Context, id string) (InstallerRun, error) {
	return n.installer(ctx, "keep installer from starting", map[string]any{"runs": n.c.RunsDir, "id": id, "void": true})
}

func (n *WindowsNode) installer(ctx context.Context, op string, document map[string]any) (InstallerRun, error) {
	var run InstallerRun
	err := n.read(ctx, op, "run.ps1", document, &run)
	if err == nil && (run.State < RunNotStarted || run.State > RunLost) {
		err = unchanged(op, n.c.Name, "read again", fmt.Errorf("state %d is unknown", run.State))
	}
	if err != nil {
		return InstallerRun{}, err
	}
	return run, nil
}

// StopService implements Node.
func (n *WindowsNode) StopService(ctx context.Context, service string) error {
	return n.run(ctx, "stop service", "service.ps1", map[string]any{"name": service, "stop": true}, nil)
}

// ConfigureService implements Node. The password travels on standard input, never in a command line.
func (n *WindowsNode) ConfigureService(ctx context.Context, service string, c ServiceConfig) error {
	const op = "configure service"
	mode := map[StartMode]string{StartManual: "Manual", StartAutomatic: "Automatic",
		StartDisabled: "Disabled"}[c.StartMode]
	err := n.run(ctx, op, "service.ps1", map[string]any{"name": service, "stop": false, "startMode": mode,
		"account": c.Account, "password": c.Password.Reveal()}, nil)
	if err != nil && !c.Password.Empty() {
		// What Windows quotes in its texts is not ours to trust.
		return &failover.Error{Op: op, Target: n.c.Name, Outcome: failover.OutcomeOf(err), Next: failover.NextOf(err),
			Err: errors.New(failover.Redact(err.Error(), c.Password))}
	}
	return err
}

// Backup implements Node.
func (n *WindowsNode) Backup(ctx context.Context, b Backup) error {
	if err := errors.Join(localPath("Backup.From", b.From), localPath("Backup.To", b.To)); err != nil {
		return err
	}
	return n.run(ctx, "back up", "backup.ps1", map[string]any{"from": b.From, "to": b.To, "exclude": b.Exclude}, nil)
}

// ReadBackup implements Node.
func (n *WindowsNode) ReadBackup(ctx context.Context, dir string) (Manifest, error) {
	const op = "read backup"
	var answer struct {
		There         bool
		Listed, Found []ManifestFile
	}
	if err := n.readPath(ctx, op, "manifest.ps1", "dir", dir, &answer); err != nil || !answer.There {
		return Manifest{}, err
	}
	listed := NewManifest(answer.Listed)
	if listed.Hash != NewManifest(answer.Found).Hash {
		return Manifest{}, refuse(op, n.c.Name, anotherCopy, ErrBackup, "the files in %s are not those of its list", dir)
	}
	return listed, nil
}

// Restore implements Node.
func (n *WindowsNode) Restore(ctx context.Context, b Backup) error {
	if err := errors.Join(localPath("Backup.From", b.From), localPath("Backup.To", b.To)); err != nil {
		return err
	}
	return n.run(ctx, "restore", "restore.ps1", map[string]string{"dir": b.To, "to": b.From}, nil)
}
