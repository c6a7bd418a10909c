package idm

import "github.com/01b61c5c/failover"

// Stages are the stages of a procedure, in their order, for procedures that do something of their own in between. A
// stage without steps is one that the procedure does not have.
type Stages struct {
	Dead    failover.Stage // Failover: the source is stated dead, and does not answer
	Check   failover.Stage // servers, rights, replicas
	Prepare failover.Stage // the target serves the drivers, with the values and passwords it needs; Prepare ends here
	Stop    failover.Stage // Switchover, Failback: the drivers are stopped and disabled on the source
	Start   failover.Stage // the drivers are enabled and started on the target
	Moved   failover.Stage // the gap is closed, the jobs follow, and nothing runs on two servers
	Guard   failover.Stage // Failover: the old server is guarded; it is all of GuardOldServer
	Finish  failover.Stage // the drivers start by themselves
}

// The stages and steps up to which Checks of other stages must hold.
const (
	stagePrepare = "prepare"
	stageStop    = "stop"
	stageStart   = "start"
	stageFinish  = "finish"

	stepCopy   = "copy-data"
	stepByHand = "passwords-by-hand"
	stepWorks  = "references-by-hand"
	stepStop   = "stop"
	stepEnable = "enable-manual"
	stepStart  = "start"
	stepAuto   = "auto"

	untilCopy     = stagePrepare + "/" + stepCopy
	untilPrepared = stagePrepare + "/" + stepWorks // the last step of Prepare
	untilStop     = stageStop + "/" + stepStop
	untilEnable   = stageStart + "/" + stepEnable
	untilStart    = stageStart + "/" + stepStart
	untilAuto     = stageFinish + "/" + stepAuto // the last step that can make the target active
)

// procedure makes one of the stages that have steps.
func (s Stages) procedure(p failover.Procedure) (failover.Procedure, error) {
	for _, stage := range []failover.Stage{s.Dead, s.Check, s.Prepare, s.Stop, s.Start, s.Moved, s.Guard, s.Finish} {
		if len(stage.Steps) > 0 {
			p.Stages = append(p.Stages, stage)
		}
	}
	return p, p.Validate()
}
