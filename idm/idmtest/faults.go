package idmtest

import "fmt"

// Fault is one thing that can go wrong in a move of drivers, by name.
type Fault struct {
	Name  string
	Title string // what happens, in one sentence
}

// The DirXML operations that the faults strike.
const (
	opSetStartOption         = 9
	opStartDriver            = 15
	opSetApplicationPassword = 67
	opLastPassword           = 82
)

var faults = []struct {
	Fault
	arm func(t *Tree, source, target *Server)
}{
	{Fault{"start-reply-lost", "a driver starts and the line drops before the answer"}, strikes(
		Injection{Kind: FaultDropReply, Extended: opStartDriver, Skip: 2})},
	{Fault{"option-reply-lost", "a start option is set and the line drops before the answer"}, strikes(
		Injection{Kind: FaultDropReply, Extended: opSetStartOption, Skip: 2})},
	{Fault{"start-request-lost", "the line drops before a driver is started"}, strikes(
		Injection{Kind: FaultDropRequest, Extended: opStartDriver, Skip: 2})},
	{Fault{"start-fails", "a driver does not start the first time"}, func(_ *Tree, _, target *Server) {
		target.Behave(DriverDN(3), Behaviour{FailStarts: 1})
	}},
	{Fault{"garbage", "a server answers bytes that mean nothing"}, strikes(
		Injection{Kind: FaultGarbage, Extended: opSetStartOption, Skip: 4})},
	{Fault{"password-refused", "the directory refuses to set a driver's password"}, strikes(
		Injection{Kind: FaultRefusal, Op: OperationExtended, DN: DriverDN(5), NDS: -672, Times: -1,
			If: func(r Request) bool { return r.Extended >= opSetApplicationPassword && r.Extended <= opLastPassword }})},
	{Fault{"source-returns", "somebody switches the dead server on in the middle of the failover"},
		func(t *Tree, source, target *Server) {
			t.Inject(Injection{Server: target.Name(), Extended: opSetApplicationPassword, Do: func() { _ = source.Start() }})
		}},
}

// strikes arms an injection on the server that the drivers move to.
func strikes(i Injection) func(*Tree, *Server, *Server) {
	return func(t *Tree, _, target *Server) {
		i.Server = target.Name()
		t.Inject(i)
	}
}

// Faults lists what [Tree.Arm] takes.
func Faults() []Fault {
	list := make([]Fault, len(faults))
	for i, f := range faults {
		list[i] = f.Fault
	}
	return list
}

// Arm prepares a fault for a move of at least six drivers from the tree's first server to its second one.
func (t *Tree) Arm(name string) error {
	servers := t.Servers()
	if len(servers) < 2 {
		return fmt.Errorf("idmtest: the fault %s needs two servers", name)
	}
	for _, f := range faults {
		if f.Name == name {
			f.arm(t, servers[0], servers[1])
			return nil
		}
	}
	return fmt.Errorf("idmtest: no fault is called %q", name)
}
