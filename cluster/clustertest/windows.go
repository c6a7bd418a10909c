package clustertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/01b61c5c/failover/cluster"
	"github.com/01b61c5c/failover/cluster/internal/wsfc"
	"github.com/01b61c5c/failover/internal/powershell"
	"github.com/01b61c5c/failover/internal/powershell/powershelltest"
	"github.com/01b61c5c/failover/remote/remotetest"
)

// Shell is the DefaultShell of sshd on a Windows machine.
type Shell = powershelltest.Shell

// Shells returns the shells that are in use, by name; the zero value is cmd.exe.
func Shells() map[string]Shell { return powershelltest.Shells() }

// WindowsNodes are the nodes of a Sim behind SSH servers on 127.0.0.1. Each accepts PowerShell command lines that
// carry this module's frame and a script it knows, and nothing else: an unknown script is refused as PowerShell
// refuses a command it does not know, and recorded.
type WindowsNodes struct {
	sim     *Sim
	servers []*windowsServer

	mu      sync.Mutex
	refused []string
}

type windowsServer struct {
	node   string
	server *remotetest.Server
}

// ServeWindows starts one server per node. Close them when done.
func (s *Sim) ServeWindows() (*WindowsNodes, error) {
	m, err := s.Model()
	if err != nil {
		return nil, err
	}
	w := &WindowsNodes{sim: s}
	for _, n := range m.Nodes {
		srv := &windowsServer{node: n.Name}
		srv.server, err = remotetest.NewServer(
			func(_ context.Context, cmd *remotetest.Command) remotetest.Ending { return w.run(srv.node, cmd) })
		if err != nil {
			w.Close()
			return nil, err
		}
		w.servers = append(w.servers, srv)
	}
	return w, nil
}

// Close stops the servers.
func (w *WindowsNodes) Close() {
	for _, s := range w.servers {
		s.server.Close()
	}
}

// Addresses returns the nodes for cluster.NewWindows.
func (w *WindowsNodes) Addresses() []cluster.Address {
	var list []cluster.Address
	for _, s := range w.servers {
		list = append(list, cluster.Address{Node: s.node, SSH: s.server.SSH()})
	}
	return list
}

// Refused returns what the nodes were asked and did not know.
func (w *WindowsNodes) Refused() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.refused...)
}

// Sent returns the command lines every node received, for a look at what went over the line.
func (w *WindowsNodes) Sent() []string {
	var list []string
	for _, s := range w.servers {
		list = append(list, s.server.Commands()...)
	}
	return list
}

func (w *WindowsNodes) refuse(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, text)
}

// noise is what a Windows machine writes around an answer: a banner in the console's code page, CLIXML.
const noise = "Microsoft Windows [Version 10.0]\r\n\x84\x94\r\n#< CLIXML\r\n<Objs Version=\"1.1.0.1\"><Obj " +
	"S=\"progress\"></Obj></Objs>"

// run is what happens on a node when a command line arrives.
func (w *WindowsNodes) run(node string, cmd *remotetest.Command) remotetest.Ending {
	m, err := w.sim.Model()
	if err != nil {
		return remotetest.Drop()
	}
	if n := m.Node(node); n == nil || n.Unreachable || n.State == cluster.NodeDown {
		return remotetest.Drop() // a machine that is off; the simulated one cannot refuse the connection any more
	}
	frame, ok := powershelltest.Decode(cmd.Line)
	known := ok && cmd.Line == powershell.CommandLine() && frame == powershell.Frame()
	if !known || m.Node(node).NoPowerShell {
		if !known {
			w.refuse(cmd.Line)
		}
		program, _, _ := strings.Cut(cmd.Line, " ")
		text, exit := m.Shell.NotFound(program)
		_, _ = io.WriteString(cmd.Stderr, text)
		return remotetest.Exit(exit)
	}
	input, err := io.ReadAll(cmd.Stdin)
	if err != nil {
		return remotetest.Drop()
	}
	script, document, ok := powershelltest.Parse(input)
	if !ok {
		return w.answer(m.Shell, cmd, nil, errors.New("the input was cut off"))
	}
	for _, name := range wsfc.Names() {
		if wsfc.Script(name).Text == script {
			data, err := w.sim.serve(name, node, document)
			return w.answer(m.Shell, cmd, data, err)
		}
	}
	w.refuse(script)
	return w.answer(m.Shell, cmd, nil, fmt.Errorf("this node knows no such script: %.60q", script))
}

func (w *WindowsNodes) answer(shell Shell, cmd *remotetest.Command, data any, err error) remotetest.Ending {
	a := answerOf(data, err)
	_, _ = io.WriteString(cmd.Stdout, a.Output)
	_, _ = io.WriteString(cmd.Stderr, a.Errors)
	switch {
	case errors.Is(err, errLostRequest):
		return remotetest.NoStatus()
	case a.Lost:
		return remotetest.Drop()
	}
	return remotetest.Exit(shell.Exit(a.Exit))
}

// Answer is what a node says to a script.
type Answer struct {
	Output, Errors string // what it writes to its two streams
	Exit           int
	Lost           bool // the line ends without an exit status
}

// Script answers one of this module's cluster scripts as the node would, for simulators that serve scripts of their
// own on the same machine. The bool is false for a text that is none of them.
func (s *Sim) Script(node, text string, document []byte) (Answer, bool) {
	for _, name := range wsfc.Names() {
		if wsfc.Script(name).Text == text {
			data, err := s.serve(name, node, document)
			return answerOf(data, err), true
		}
	}
	return Answer{}, false
}

func answerOf(data any, err error) Answer {
	switch {
	case errors.Is(err, errLostReply), errors.Is(err, errLostRequest):
		return Answer{Lost: true}
	case errors.Is(err, errGarbage):
		return Answer{Output: "<<<R:garbage"}
	}
	var a Answer
	var merr error
	if err == nil {
		a.Output, a.Exit, merr = powershelltest.Answer(data)
	} else {
		f := powershell.Failure{FQID: "Simulated,clustertest", Category: "NotSpecified",
			Chain: []powershell.Cause{{Type: "Microsoft.FailoverClusters.PowerShell.ClusterCmdletException",
				HResult: "0x80131500", Message: "Ein Fehler ist aufgetreten."}}}
		if r, ok := errors.AsType[*Refusal](err); ok {
			f.Touched = true // the cmdlet was called
			f.Chain = append(f.Chain,
				powershell.Cause{Type: "System.ComponentModel.Win32Exception", HResult: "0x80004005", Win32: r.Win32,
					Message: r.Text})
		} else {
			f.Chain[0].Message = err.Error()
		}
		a.Output, a.Exit, merr = powershelltest.AnswerFailure(f)
	}
	if merr != nil {
		return Answer{Exit: 1}
	}
	a.Output, a.Errors = noise+a.Output+"\r\n", noise
	return a
}

// serve carries out one of the cluster scripts.
func (s *Sim) serve(name, node string, document []byte) (any, error) {
	var req wsfc.Request
	if err := json.Unmarshal(document, &req); err != nil {
		return nil, fmt.Errorf("parameter document: %w", err)
	}
	var data any = map[string]bool{"asked": true}
	var loss error
	err := s.Update(func(m *Model) (err error) {
		data, loss, err = m.script(name, node, req, data)
		return err
	})
	return data, errors.Join(loss, err)
}

func (m *Model) script(name, node string, req wsfc.Request, asked any) (data any, loss, refusal error) {
	want := cluster.StateOffline
	if req.Want == "online" {
		want = cluster.StateOnline
	}
	switch name {
	case wsfc.Snapshot:
		m.tick()
		return m.windows(node, req.Group), nil, nil
	case wsfc.Inspect:
		n := m.Node(node)
		in := wsfc.Inspection{Node: strings.ToUpper(n.Name), Build: n.Build, Reasons: wsfc.List[string]{}}
		if n.RebootPending {
			in.Reasons = wsfc.List[string]{"component based servicing"}
		}
		return in, nil, nil
	case wsfc.Move:
		loss, refusal = m.move(node, req.Group, req.Node)
		return map[string]bool{"started": true}, loss, refusal
	case wsfc.GroupState:
		return asked, nil, m.switchGroup(node, req.Want, req.Group, want)
	case wsfc.ResourceState:
		return asked, nil, m.switchResource(node, "resource-"+req.Want, req.Resource, want)
	case wsfc.NodeState:
		if req.Want == "drain" {
			return asked, nil, m.pause(node, req.Node)
		}
		return asked, nil, m.resume(node, req.Node)
	case wsfc.Failback:
		f := cluster.Failback{Policy: cluster.FailbackPrevented, Raw: "0"}
		if req.Type == 1 {
			f = cluster.Failback{Policy: cluster.FailbackAllowed, Raw: "1"}
		}
		return asked, nil, m.setFailback(node, req.Group, f)
	case wsfc.Service:
		return asked, nil, m.bindService(node, req.Resource, req.Service)
	case wsfc.Mark:
		if !req.Swap {
			return wsfc.Marked{Text: m.Marks[req.Key]}, nil, nil
		}
		swapped := m.swapMark(node, req.Key, req.Old, req.Text) == nil
		return wsfc.Marked{Text: m.Marks[req.Key], Swapped: swapped}, nil, nil
	}
	return nil, nil, fmt.Errorf("clustertest: no model for script %q", name)
}

var (
	groupCodes = map[cluster.State]wsfc.Number{cluster.StateOnline: 0, cluster.StateOffline: 1, cluster.StateFailed: 2,
		cluster.StatePartial: 3, cluster.StatePending: 4, cluster.StateUnknown: -1}
	resourceCodes = map[cluster.State]wsfc.Number{cluster.StateOnline: 2, cluster.StateOffline: 3, cluster.StateFailed: 4,
		cluster.StatePending: 129, cluster.StateUnknown: -1}
	nodeCodes = map[cluster.NodeState]wsfc.Number{cluster.NodeUp: 0, cluster.NodeDown: 1, cluster.NodePaused: 2,
		cluster.NodeJoining: 3, cluster.NodeUnknown: -1}
)

// windows renders the model as snapshot.ps1 does.
func (m *Model) windows(local, only string) wsfc.State {
	s := wsfc.State{Cluster: m.Cluster, Local: strings.ToUpper(local), Nodes: wsfc.List[wsfc.Node]{},
		Groups: wsfc.List[wsfc.Group]{}, Resources: wsfc.List[wsfc.Resource]{}}
	if s.Backup = new(wsfc.Number); m.Backup {
		*s.Backup = 1
	}
	for key, text := range m.Marks {
		if strings.HasPrefix(key, "failover-move-") {
			s.Marks = append(s.Marks, wsfc.MoveMark{Key: key, Text: text})
		}
	}
	for _, n := range m.Nodes {
		v := wsfc.Node{Name: n.Name, State: n.State.String(), Code: new(nodeCodes[n.State]), Drain: "NotInitiated",
			DrainCode: new(wsfc.Number), Build: n.Build}
		if n.Draining {
			*v.DrainCode, v.Info = 1, v.Info|4
		}
		if n.DrainFailed {
			*v.DrainCode, v.Info = 3, v.Info|16
		}
		if n.Quarantined {
			v.Info |= 2
		}
		s.Nodes = append(s.Nodes, v)
	}
	for _, g := range m.Groups {
		if only != "" && !m.same(g.Name, only) {
			continue
		}
		state := m.GroupState(g.Name)
		v := wsfc.Group{Name: g.Name, State: state.String(), Code: new(groupCodes[state]), Failback: new(wsfc.Number), Info: new(wsfc.Number),
			Owner: g.Owner, Core: g.Core, Locked: g.Locked}
		if g.Failback.Policy == cluster.FailbackAllowed {
			*v.Failback = 1
		}
		if g.Queued > 0 {
			*v.Info |= 4
		}
		s.Groups = append(s.Groups, v)
		for _, r := range m.Members(g.Name) {
			var depends []string
			for _, d := range r.DependsOn {
				depends = append(depends, "(["+d+"])")
			}
			s.Resources = append(s.Resources,
				wsfc.Resource{Name: r.Name, Group: g.Name, Type: r.Type, State: r.State.String(), Code: new(resourceCodes[r.State]),
					Owner: g.Owner, Core: g.Core && !g.Available, Maintenance: r.Maintenance,
					PendingMs: wsfc.Number(r.PendingTimeout.Milliseconds()),
					Depends:   strings.Join(depends, " and "), Service: r.Service, Possible: r.Possible})
		}
	}
	return s
}
