// Package symitar swaps the primary and the secondary machine of a Symitar Episys installation with the FAILOVER macro,
// with OpCon held still around it. The macro is fired at most once, and what became of it is told truthfully, also when
// the line dropped half-way.
//
//	pair, err := symitar.NewPair(cfg)
//	defer pair.Close()
//	proc, err := symitar.Switchover(pair)
//	plan, err := proc.Plan(ctx, nil)            // changes nothing
//	report, err := proc.Run(ctx, failover.RunOptions{…})
//
// # What the vendor says
//
// The only public text on FAILOVER is the page "RSJ and FAILOVER" of SMA's Episys connector (documented). It says:
//
//   - FAILOVER allows a user to swap a primary and secondary machine if the primary machine becomes unavailable for some
//     reason. Symitar has four main FAILOVER configurations; which four is not public, so nothing here depends on it.
//   - Neither the FAILOVER macro nor the FAILOVERD daemon has to run or be configured for RSJ or OpCon. If one of them is
//     wanted, the complete FAILOVER system must be implemented as described in "Episys Failover System Implementation – A
//     technical discussion for implementing the Episys Failover System for disaster preparedness 10Nov02". That document
//     is on the Symitar web site for customers; contact Symitar for assistance. If the FAILOVER systems are not fully
//     configured, RSJ will not run. No probe can show that: have it confirmed before the first planned swap.
//   - Both the primary and the secondary system have all of their RSJ licenses in a single file on both systems, or RSJ
//     will not run after the macro. The sentence was withdrawn in June 2026 and the file's name was never public, so the
//     check preflight/licences is made when Config.Licence.Path is set.
//   - It is highly recommended that the Symitar server be brought down in OpCon before the macro is run, and, at a
//     minimum, all schedules for the Symitar machine should be placed on hold, which prevents OpCon from inadvertently
//     running jobs on the wrong machine. That remains the users' responsibility once the macro has been run; all schedules
//     stay on hold until it is determined exactly what needs to run or be re-run.
//   - Users must take into account what happens when a program or a sequence of programs is interrupted because of the
//     macro. The worst case is that OpCon has just sent a job or series of jobs to the primary and the macro is
//     activated. Users must also take into account what was not run on the secondary machine; multiple jobs and schedules
//     may need to be re-run.
//   - FAILOVERD should not be run; FAILOVER should be run manually, since there is no notification facility to OpCon that
//     the primary machine has been replaced with the secondary machine. Since June 2026: update the machine record
//     afterwards, and undo that at the swap back.
//
// # Steps of Switchover
//
// Home is primary, both hosts are alive. Failback is the same list in the other direction.
//
//	    step                             kind    what
//	 1. preflight/identity               check   each address leads to the machine it should (firm)
//	 2. preflight/roles                  check   exactly one primary, exactly one secondary (firm)
//	 3. preflight/failoverd              check   FAILOVERD does not run on either host and nothing would start it (firm)
//	 4. preflight/macro                  check   the macro is there and the same on both hosts (firm)
//	 5. preflight/launcher               check   no earlier run of the macro is open; the state directory is local (firm)
//	 6. preflight/licences               check   all RSJ licences in a single file on both systems, where configured
//	 7. preflight/root-info              check   RSJ's root information is on both hosts
//	 8. preflight/agent                  check   the OpCon agent answers
//	 9. preflight/stale-locks            check   no RSJ job was cut short: no stale sma_lock
//	10. preflight/disk                   check   no file system is nearly full
//	11. preflight/sym-dates              check   SMA_DATES is present and current in every SYM
//	12. preflight/clock                  check   the clocks agree
//	13. preflight/errors                 check   no permanent hardware errors
//	14. preflight/replication            check   the secondary is not too far behind, or a person's statement (firm)
//	15. opcon/hold-schedules             manual  hold all schedules of the machine
//	16. opcon/machine-down               manual  bring the server down in OpCon
//	17. agent/stop                       change  stop the OpCon agent on the old primary
//	18. quiet/rsj                        check   wait until no RSJ job runs
//	19. quiet/batch                      check   wait until the batch queue is idle
//	20. quiet/replication                check   wait until the secondary has caught up (firm)
//	21. before/roles                     check   the roles once more (firm)
//	22. before/failoverd                 check   FAILOVERD once more (firm)
//	23. macro/run                        once    run the FAILOVER macro                       — the outage begins
//	24. verify/roles                     check   the new primary is primary and nobody else is (firm) — it ends
//	25. verify/macro-result              check   the macro's output tells of no failure
//	26. verify/failoverd                 check   FAILOVERD is still absent
//	27. verify/sym-dates                 check   SMA_DATES is right on the new primary
//	    verify/…                         check   one per Config.Verify
//	28. macro/archive-lock               change  archive the launcher's lock of this run
//	29. opcon/repoint-machine            manual  point the OpCon machine at the new primary
//	30. agent/start                      change  start the OpCon agent on the new primary
//	31. opcon/machine-up                 manual  bring the machine up in OpCon
//	32. opcon/rerun-interrupted          manual  decide job by job what has to run again; nothing restarts without a decision
//	33. opcon/release-schedules          manual  release the schedules that were held, one by one
//
// With Config.OpCon set, the manual steps 15 and 16 are the steps of [opcon.QuiesceSteps] and 29, 31, 32 and 33 those of
// [opcon.ResumeSteps]. The schedules are held before the machine goes down, although the vendor names "down" first: a
// machine that is down sends its jobs to alternate machines, and the end state is the same (inferred).
//
// # Steps of Failover
//
// Home is gone. What cannot be observed there is replaced by a person's statement.
//
//	    step                             kind    what
//	 1. statement/primary-gone           check   a person answers for it that Home is gone (firm)
//	 2. preflight/old-primary-silent     check   Home does not answer as primary (firm)
//	 3. preflight/identity               check   from here on Partner only
//	 4. preflight/roles                  check   Partner is secondary (firm)
//	 5. preflight/failoverd              check
//	 6. preflight/macro                  check
//	 7. preflight/launcher               check
//	 8. preflight/licences               check
//	 9. preflight/root-info              check
//	10. preflight/agent                  check
//	11. preflight/stale-locks            check
//	12. preflight/disk                   check
//	13. preflight/sym-dates              check   looked at after the swap
//	14. preflight/clock                  check
//	15. preflight/errors                 check
//	16. opcon/hold-schedules             manual
//	17. opcon/machine-down               manual
//	18. quiet/rsj                        check
//	19. before/roles                     check
//	20. before/failoverd                 check
//	21. macro/run                        once    on Partner
//	22. verify/roles                     check   Partner is primary (firm)
//	23. verify/old-primary-silent        check   Home has not come back as primary (firm)
//	24. verify/macro-result              check
//	25. verify/failoverd                 check
//	26. verify/sym-dates                 check
//	27. macro/archive-lock               change
//	28. opcon/repoint-machine            manual
//	29. agent/start                      change
//	30. opcon/machine-up                 manual
//	31. opcon/rerun-interrupted          manual
//	32. opcon/release-schedules          manual
//
// The replication is checked too where its probe runs on the new primary. Before Home is switched on again, make sure that
// it cannot claim the primary role or the service address by itself.
//
// # Outage and what can be undone
//
// Members notice an outage from macro/run to verify/roles. How long that takes is not public. OpCon runs no jobs from
// opcon/hold-schedules to opcon/release-schedules.
//
// Up to macro/run everything can be taken back by the procedure's Undo: the agent is started again, and OpCon's steps bring
// the machine up and release what was held; manual steps are a person's to take back. From macro/run on there is no undo:
// the way back is Failback.
//
// # The macro is fired at most once
//
// Right before it is fired, the roles, FAILOVERD, RSJ, the batch queue and the replication are looked at once more, and in
// a Failover the host that is gone: a person may have taken an hour to approve, or the run may be resumed a day later.
//
// After a command was sent, a lost reply and a command that never ran look the same. So the firing is fenced on the host,
// by steps that are atomic on every POSIX system. The scripts are files beside this package; an administrator can read
// and run them alone.
//
//	lock on both hosts (mkdir, in fixed order) → run.<id> (mkdir) → fired (mkdir) → the macro → rc (rename)
//
// The run id is written to the journal before the first byte is sent. Whoever finds out what became of a run reads the
// marks, by reconnecting as often as it takes:
//
//	no run.<id>                    not launched so far; proven never to fire once it is voided
//	run.<id>, not fired            starting; voided when it does not come to fire
//	fired, process lives           running; its output is followed
//	fired, exit status there       ended; the roles decide, the exit status proves nothing either way
//	fired, process gone, no status unknown; only the roles can settle it, otherwise a person
//
// The lock never expires. [Pair.Acknowledge] archives it; [Pair.Resume] only observes; [Pair.Void] calls a run back that
// has not fired. A deadline here never ends the macro. mkdir and rename are tried with ksh93, bash and dash on Linux; try
// them on your AIX hosts before the first use.
//
// An unfinished macro run keeps its folder, with the output, in Config.StateDir of the host.
//
// # Limits
//
// The macro has no terminal unless Mode is HostExpect. A terminal held by this side of the line is not offered: a dropped
// line would then end the macro half-way. A macro that must be started on both hosts is not covered. A question nobody expected is left unanswered; the run ends in
// doubt when Macro.Timeout passes. The macro inherits that hang-up signals are ignored (nohup); its umask and locale are
// the account's. The account's login shell must be of the Bourne family. RSJ cannot be tried out over SSH: it refuses to
// run outside the agent (documented), so a smoke job through OpCon is a decision of opcon/rerun-interrupted. A Failover
// that follows a Switchover which stopped half-way releases what it held itself; what the Switchover held stays held, for a
// person to release when its report has been read.
package symitar
