package remotetest

// Fault is something that goes wrong on the server's side of the protocol. What goes wrong with a single command
// is the business of its Handler, see Ending.
type Fault int

// The faults. Each says what the server does at which moment.
const (
	FaultMute          Fault = iota + 1 // accepts the TCP connection and says nothing
	FaultMuteKex                        // sends its version line, then nothing
	FaultHangUp                         // accepts the TCP connection and closes it
	FaultRefuseLogin                    // refuses every login method
	FaultMuteLogin                      // never answers a login
	FaultDropLogin                      // cuts the line when a login arrives
	FaultRefuseSession                  // refuses to open a session
	FaultMuteSession                    // never answers the request for a session
	FaultRefuseExec                     // refuses the exec request
	FaultMuteExec                       // never answers the exec request and does not run the command
	FaultDropExec                       // cuts the line when the exec request arrives; the command does not run
	FaultDropStarted                    // cuts the line after the command was started; it runs on
	FaultDropStatus                     // runs the command to its end and cuts the line instead of telling how it ended
	FaultMuteKeepalive                  // never answers keepalives
)

// Always makes a fault stay until Clear.
const Always = -1

// Inject makes fault happen at its next times opportunities, or Always.
func (s *Server) Inject(fault Fault, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[fault] = times
}

// Clear removes every injected fault.
func (s *Server) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// strikes reports whether fault happens now and uses one of its times up.
func (s *Server) strikes(fault Fault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.faults[fault]
	if n > 0 {
		s.faults[fault] = n - 1
	}
	return n != 0
}
