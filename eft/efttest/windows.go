package efttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/eft"
	"github.com/01b61c5c/failover/eft/internal/scripts"
	"github.com/01b61c5c/failover/internal/powershell"
	"github.com/01b61c5c/failover/internal/powershell/powershelltest"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// WindowsNode is a node of a World behind an SSH server on 127.0.0.1. It runs exactly the scripts that eft.WindowsNode
// and cluster.Windows embed, against the model, as the one machine both reach; anything else is refused and recorded.
// Files sent over SFTP lie in a folder of their own. It needs a file system that takes a colon in names.
type WindowsNode struct {
	n   *node
	srv *remotetest.Server
	dir string

	mu      sync.Mutex
	refused []string
	ran     []string
}

// ServeWindows starts the server for one node. Close it when done.
func (w *World) ServeWindows(name string) (_ *WindowsNode, err error) {
	dir, err := os.MkdirTemp("", "eft-windows-")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "C:", "Install"), 0o700); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &WindowsNode{n: &node{w, name}, dir: dir}
	if s.srv, err = remotetest.NewServer(s.serve, remotetest.WithFiles(dir)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// SSH says how to reach the node.
func (s *WindowsNode) SSH() failover.SSH { return s.srv.SSH() }

// Close ends the server and removes its files.
func (s *WindowsNode) Close() error {
	s.srv.Close()
	return os.RemoveAll(s.dir)
}

// Refused returns the command lines that are none of ours.
func (s *WindowsNode) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// Ran returns the parameter documents of the scripts that were run, each after the script's name.
func (s *WindowsNode) Ran() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ran)
}

// Commands returns the command lines as they came.
func (s *WindowsNode) Commands() []string { return s.srv.Commands() }

func (s *WindowsNode) serve(ctx context.Context, cmd *remotetest.Command) remotetest.Ending {
	_, m, err := s.n.w.State()
	if err != nil || m.Node(s.n.name).Unreachable || m.Node(s.n.name).State == cluster.NodeDown {
		return remotetest.Drop() // a machine that is off; the simulated one cannot refuse the connection any more
	}
	frame, ok := powershelltest.Decode(cmd.Line)
	input, err := io.ReadAll(cmd.Stdin)
	script, document, parsed := powershelltest.Parse(input)
	name := ""
	for _, verb := range verbs {
		if scripts.Text(verb+".ps1") == script {
			name = verb
		}
	}
	known := ok && err == nil && frame == powershell.Frame() && parsed
	if known && name == "" {
		if a, ours := s.n.w.sim.Script(s.n.name, script, document); ours {
			_, _ = io.WriteString(cmd.Stdout, a.Output)
			_, _ = io.WriteString(cmd.Stderr, a.Errors)
			if a.Lost {
				return remotetest.Drop()
			}
			return remotetest.Exit(m.Shell.Exit(a.Exit))
		}
	}
	if !known || name == "" {
		s.mu.Lock()
		s.refused = append(s.refused, cmd.Line)
		s.mu.Unlock()
		return remotetest.Exit(1)
	}
	s.mu.Lock()
	s.ran = append(s.ran, name+" "+string(document))
	s.mu.Unlock()
	data, err := s.act(ctx, name, document)
	var out string
	exit := 0
	switch {
	case errors.Is(err, errLost):
		return remotetest.Drop()
	case err != nil:
		out, exit, err = powershelltest.AnswerFailure(
			powershell.Failure{FQID: "RuntimeException",
				Chain: []powershell.Cause{{Type: "System.Exception", Message: err.Error()}}})
	default:
		out, exit, err = powershelltest.Answer(data)
	}
	if err != nil {
		return remotetest.Exit(1)
	}
	// What comes before and after the answer on a real machine.
	_, _ = io.WriteString(cmd.Stdout, "Authorized use only\r\n"+out+"\r\n")
	return remotetest.Exit(m.Shell.Exit(exit))
}

// verbs are the names of the scripts that a node answers.
var verbs = []string{"facts", "file", "space", "fetch", "start", "run", "service", "backup", "manifest", "restore"}

// document is the union of the scripts' parameters.
type document struct {
	Path, Runs, ID, SHA256, URL, Executable, Runner string
	Product                                         string
	Consoles, LocalConfigs, ConfigKeys              []string
	Args, Logs, Exclude                             []string
	Env                                             map[string]string
	Name, StartMode, Account, Password              string
	Stop, Void                                      bool
	Turn                                            int
	From, To, Dir                                   string
}

// windowsModes are Windows' own words for start modes.
var windowsModes = map[eft.StartMode]string{eft.StartManual: "Manual", eft.StartAutomatic: "Auto",
	eft.StartDisabled: "Disabled"}

func (s *WindowsNode) act(ctx context.Context, name string, raw []byte) (any, error) {
	var d document
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, err
	}
	done := map[string]bool{"done": true}
	switch name {
	case "facts":
		return s.facts(ctx)
	case "file":
		return s.file(ctx, d.Path)
	case "space":
		return s.n.Space(ctx, d.Path)
	case "fetch":
		return done, s.n.Stage(ctx, eft.Installer{Path: d.Path, Source: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(string(installerBytes))), nil
		}})
	case "start":
		if _, err := s.file(ctx, d.Path); err != nil {
			return nil, err
		}
		err := s.n.StartInstaller(ctx,
			eft.Start{ID: d.ID, Turn: d.Turn, Path: d.Path, SHA256: d.SHA256, Args: d.Args, Env: d.Env})
		if errors.Is(err, eft.ErrInstallerDiffers) {
			return map[string]bool{"claimed": false, "differs": true}, nil
		}
		if errors.Is(err, eft.ErrNodeBusy) {
			return map[string]any{"claimed": false, "late": true, "result": "not started"}, nil
		}
		return map[string]bool{"claimed": true}, err
	case "run":
		look := s.n.InstallerRun
		if d.Void {
			look = s.n.VoidInstaller
		}
		run, err := look(ctx, d.ID)
		doc := map[string]any{"state": int(run.State), "turn": run.Turn, "exit": run.Exit, "log": run.Log, "began": nil, "ended": nil}
		if !run.Began.IsZero() {
			doc["began"] = run.Began
		}
		if !run.Ended.IsZero() {
			doc["ended"] = run.Ended
		}
		return doc, err
	case "service":
		if d.Stop {
			return done, s.n.StopService(ctx, d.Name)
		}
		c := eft.ServiceConfig{Account: d.Account, Password: failover.NewSecret(d.Password)}
		if err := c.StartMode.UnmarshalText([]byte(d.StartMode)); err != nil {
			return nil, err
		}
		return done, s.n.ConfigureService(ctx, d.Name, c)
	case "backup":
		return done, s.n.Backup(ctx, eft.Backup{From: d.From, To: d.To, Exclude: d.Exclude})
	case "manifest":
		m, err := s.n.ReadBackup(ctx, d.Dir)
		return map[string]any{"there": !m.IsZero(), "listed": m.Files, "found": m.Files}, err
	case "restore":
		return done, s.n.Restore(ctx, eft.Backup{From: d.To, To: d.Dir})
	}
	return nil, errors.New("efttest: no such script")
}

func (s *WindowsNode) facts(ctx context.Context) (any, error) {
	f, err := s.n.Facts(ctx)
	services := []map[string]any{}
	for _, v := range f.Services {
		services = append(services,
			map[string]any{"name": v.Name, "running": v.Running, "startMode": windowsModes[v.StartMode], "account": v.Account,
				"path": v.Path})
	}
	return map[string]any{"node": strings.ToLower(f.Node), "services": services, "program": f.Program,
		"products": f.Products, "configDir": f.ConfigDir,
		"localConfigs": f.LocalConfigs, "rebootPending": f.RebootPending, "booted": f.Booted, "busy": f.Busy}, err
}

// file looks at what was sent over SFTP first and takes it into the model.
func (s *WindowsNode) file(ctx context.Context, path string) (any, error) {
	raw, err := os.ReadFile(filepath.Join(s.dir, filepath.FromSlash(strings.ReplaceAll(path, `\`, "/"))))
	switch {
	case err == nil:
		sum := sha256.Sum256(raw)
		f := eft.File{Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:]), Product: "EFT Server", Version: NewVersion}
		return f, s.n.w.put(s.n.name, path, f)
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	f, err := s.n.File(ctx, path)
	return f, err
}
