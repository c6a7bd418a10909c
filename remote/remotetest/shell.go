package remotetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// Shell runs command lines with a real shell, each in a process group of its own, and remembers the groups: Kill
// ends them all, as a machine does that goes down. A process that left its group on purpose (setsid) is not found.
type Shell struct {
	Path string   // "" means /bin/sh
	Dir  string   // working folder
	Env  []string // the whole environment; nil means PATH of this process and HOME=Dir

	mu     sync.Mutex
	groups map[int]struct{}
}

// Handle is a Handler.
func (s *Shell) Handle(ctx context.Context, cmd *Command) Ending {
	shell := s.Path
	if shell == "" {
		shell = "/bin/sh"
	}
	env := s.Env
	if env == nil {
		env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir}
	}
	args := []string{"-c", cmd.Line}
	if cmd.Line == shell { // it would only put itself in its own place
		args = nil
	}
	child := exec.Command(shell, args...) //nolint:gosec,noctx // what the client asks for; it outlives ctx by design
	child.Dir, child.Env = s.Dir, env
	ownGroup(child)
	var copies sync.WaitGroup
	var ours, theirs []*os.File
	pipe := func(into io.Writer) (*os.File, error) {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		ours, theirs = append(ours, r), append(theirs, w)
		copies.Go(func() {
			_, _ = io.Copy(into, r)
			_, _ = io.Copy(io.Discard, r) // the client is gone; the command must not block
		})
		return w, nil
	}
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close()
		}
	}
	fail := func(err error) Ending {
		closeAll(theirs)
		copies.Wait()
		closeAll(ours)
		_, _ = fmt.Fprintln(cmd.Stderr, err)
		return Exit(127)
	}
	// Own pipes instead of exec's copying: Wait then returns at the process's end, and a background process that
	// holds the streams is seen by the client as it is with a real server.
	stdout, err := pipe(cmd.Stdout)
	if err != nil {
		return fail(err)
	}
	stderr, err := pipe(cmd.Stderr)
	if err != nil {
		return fail(err)
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return fail(err)
	}
	child.Stdin, child.Stdout, child.Stderr = inRead, stdout, stderr
	if err := child.Start(); err != nil {
		_ = inWrite.Close()
		_ = inRead.Close()
		return fail(err)
	}
	closeAll(append(theirs, inRead))
	group := child.Process.Pid
	s.remember(group)
	go func() { // ends with the client's end of file, its line, or the command's end
		_, _ = io.Copy(inWrite, cmd.Stdin)
		_ = inWrite.Close()
	}()
	stop := context.AfterFunc(ctx, func() { killGroup(group) })
	waitErr := child.Wait()
	stop()
	_ = inWrite.Close()
	streams := make(chan struct{})
	go func() {
		copies.Wait()
		closeAll(ours)
		close(streams)
	}()
	if child.ProcessState == nil {
		_, _ = fmt.Fprintln(cmd.Stderr, waitErr)
		return NoStatus()
	}
	if name := signalName(child.ProcessState); name != "" {
		return Ending{kind: endSignal, signal: name, streams: streams}
	}
	return ExitOpen(child.ProcessState.ExitCode(), streams)
}

func (s *Shell) remember(group int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.groups == nil {
		s.groups = map[int]struct{}{}
	}
	for old := range s.groups {
		if !groupAlive(old) {
			delete(s.groups, old)
		}
	}
	s.groups[group] = struct{}{}
}

// Kill kills every process group the shell has started and that still has members.
func (s *Shell) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for group := range s.groups {
		killGroup(group)
		delete(s.groups, group)
	}
}
