package remotetest

import (
	"context"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
)

func (s *Server) connection(raw net.Conn) {
	gone := context.AfterFunc(s.ctx, func() { _ = raw.Close() })
	defer gone()
	switch {
	case s.strikes(FaultHangUp):
		return
	case s.strikes(FaultMute):
		_, _ = io.Copy(io.Discard, raw)
		return
	case s.strikes(FaultMuteKex):
		_, _ = raw.Write([]byte("SSH-2.0-OpenSSH_7.5\r\n"))
		_, _ = io.Copy(io.Discard, raw)
		return
	}
	conn, chans, reqs, err := ssh.NewServerConn(raw, s.config(raw))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.logins++
	s.mu.Unlock()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { s.globalRequests(reqs) })
	for ch := range chans {
		switch {
		case ch.ChannelType() != "session":
			_ = ch.Reject(ssh.UnknownChannelType, "only sessions are known")
		case s.strikes(FaultRefuseSession):
			_ = ch.Reject(ssh.Prohibited, "open failed")
		case s.strikes(FaultMuteSession):
		default:
			work.Go(func() { s.session(raw, conn, ch) })
		}
	}
}

func (s *Server) globalRequests(reqs <-chan *ssh.Request) {
	for req := range reqs {
		if req.Type == "keepalive@openssh.com" && s.strikes(FaultMuteKeepalive) {
			continue
		}
		if req.WantReply {
			_ = req.Reply(false, nil)
		}
	}
}

func (s *Server) session(raw net.Conn, conn *ssh.ServerConn, open ssh.NewChannel) {
	ch, reqs, err := open.Accept()
	if err != nil {
		return
	}
	s.mu.Lock()
	s.open++
	s.mostOpen = max(s.mostOpen, s.open)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	begun := false
	for req := range reqs {
		switch {
		case req.Type == "exec" && !begun:
			begun = true
			if !s.exec(raw, conn.User(), ch, req) {
				return
			}
		case req.Type == "subsystem" && !begun && s.files != nil && subsystem(req) == "sftp":
			begun = true
			_ = req.Reply(true, nil)
			s.work.Go(func() { s.files.serve(ch) })
		case req.WantReply:
			_ = req.Reply(false, nil)
		}
	}
	if !begun {
		_ = ch.Close()
	}
}

func subsystem(req *ssh.Request) string {
	var msg struct{ Name string }
	_ = ssh.Unmarshal(req.Payload, &msg)
	return msg.Name
}

// exec starts one command and reports whether the session goes on.
func (s *Server) exec(raw net.Conn, user string, ch ssh.Channel, req *ssh.Request) bool {
	var msg struct{ Line string }
	if err := ssh.Unmarshal(req.Payload, &msg); err != nil {
		_ = req.Reply(false, nil)
		return true
	}
	s.mu.Lock()
	s.asked = append(s.asked, msg.Line)
	s.mu.Unlock()
	switch {
	case s.strikes(FaultDropExec):
		_ = raw.Close()
		return false
	case s.strikes(FaultMuteExec):
		return true
	case s.strikes(FaultRefuseExec):
		_ = req.Reply(false, nil)
		return true
	}
	dropStarted, dropStatus := s.strikes(FaultDropStarted), s.strikes(FaultDropStatus)
	if !dropStarted {
		_ = req.Reply(true, nil)
	}
	cmd := &Command{Line: msg.Line, User: user, Stdin: ch, Stdout: ch, Stderr: ch.Stderr()}
	// The command belongs to the server, not to the connection: it outlives a dropped line.
	s.work.Go(func() {
		end := s.handler(s.ctx, cmd)
		if dropStatus {
			_ = raw.Close()
		}
		s.end(raw, ch, end)
	})
	if dropStarted {
		_ = raw.Close()
		return false
	}
	return true
}

func (s *Server) end(raw net.Conn, ch ssh.Channel, end Ending) {
	switch end.kind {
	case endDrop:
		_ = raw.Close()
		return
	case endHang:
		<-s.ctx.Done()
		return
	case endSignal:
		_, _ = ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal     string
			CoreDumped bool
			Message    string
			Lang       string
		}{Signal: end.signal}))
	case endExit:
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(end.code)})) //nolint:gosec // exit statuses are small
	}
	if end.streams != nil {
		select {
		case <-end.streams:
		case <-s.ctx.Done():
		}
	}
	_ = ch.Close()
}
