// Package symitar swaps the primary and the secondary machine of a Symitar Episys installation with the FAILOVER macro,
// with OpCon held still around it. The macro is fired at most once, and what became of it is told truthfully, also when
// the line dropped half-way.
//
//	pair, err := symitar.NewPair(cfg)
//	defer pair.Close()
//	proc, err := symitar.Switchover(pair)
//	plan, err := proc.Plan(ctx, nil)       // changes nothing
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
// Home is primary, both hosts are alive. Failback is the same list in the other direction. "Stands" marks a check that
// is looked at again on every resume, after every wait for a person and right before the macro, or until jobs are
// released.
//
//	    step                             kind    what
//	 1. preflight/shell                  check   the login leads to a shell that runs our scripts (firm)
//	 2. preflight/identity               check   each address leads to the machine it should (firm, stands)
//	 3. preflight/roles                  check   exactly one primary, exactly one secondary (firm)
//	 4. preflight/failoverd              check   FAILOVERD does not run on either host and nothing would start it (firm, stands)
//	 5. preflight/foreign-macro          check   nobody runs FAILOVER on either host, whoever started it (firm, stands)
//	 6. preflight/macro                  check   the macro is there and the same on both hosts (firm, stands)
//	 7. preflight/launcher               check   no run of ours is open; the state directory is local and can be written (firm, stands)
//	 8. preflight/licences               check   all RSJ licences in a single file on both systems, where configured (stands)
//	 9. preflight/root-info              check   RSJ's root information is on both hosts (stands)
//	10. preflight/rsj                    check   RSJ is on both hosts, can be executed and is the same (stands)
//	11. preflight/agent                  check   the OpCon agent answers
//	12. preflight/agent-files            check   the agent is installed on both hosts, same version, same OpCon servers (stands)
//	13. preflight/stale-locks            check   no RSJ job was cut short: no stale sma_lock (stands)
//	14. preflight/disk                   check   no file system is nearly full (stands)
//	15. preflight/sym-dates              check   SMA_DATES is present and current in every SYM
//	16. preflight/clock                  check   the clocks agree
//	17. preflight/errors                 check   no permanent hardware errors (stands)
//	18. preflight/replication            check   the secondary is not too far behind, or a person's statement (firm)
//	19. opcon-hold/schedules             manual  hold all schedules of the machine
//	20. opcon-down/machine               manual  bring the server down in OpCon
//	21. quiet/stop-agent                 change  stop the OpCon agent on the old primary
//	22. quiet/rsj                        check   wait until no RSJ job runs (stands)
//	23. quiet/batch                      check   wait until the batch queue is idle (stands)
//	24. quiet/replication                check   wait until the secondary has caught up (firm, stands)
//	25. quiet/roles                      check   the roles are as they were, or somebody else has swapped them (firm, stands)
//	26. macro/run                        once    run the FAILOVER macro                       — the outage begins
//	27. macro/roles                      check   the new primary is primary and nobody else is (firm, stands) — it ends
//	28. verify/macro-result              check   the macro's output tells of no failure
//	29. verify/failoverd                 check   FAILOVERD is still absent (stands)
//	30. verify/sym-dates                 check   SMA_DATES is right on the new primary
//	    verify/…                         check   one per Config.Verify
//	31. archive/lock                     change  archive the launcher's lock of this run
//	32. opcon-repoint/machine            manual  point the OpCon machine at the new primary
//	33. agent/start                      change  start the OpCon agent on the new primary
//	34. opcon-prove/machine-up           manual  see in OpCon that the agent answers, with no job started
//	35. opcon-decide/rerun               manual  decide job by job what has to run again; nothing restarts without a decision
//	36. opcon-release/schedules          manual  bring the machine up, and release the schedules that were held, one by one
//
// With Config.OpCon set, the manual steps are replaced by the stages of [opcon.QuiesceStages] and [opcon.ResumeStages],
// which stand at the same places; the agent is started between their stages Repoint and Prove. The schedules are held
// before the machine goes down, although the vendor names "down" first: a machine that is down sends its jobs to
// alternate machines, and the end state is the same (inferred).
//
// # Steps of Failover
//
// Home is gone. What cannot be observed there is replaced by a person's statement. Where FAILOVERD or a person has made
// the swap already, no macro is run, and OpCon is brought along.
//
//	    step                             kind    what
//	 1. statement/primary-gone           check   a person answers for it that Home is gone (firm)
//	 2. preflight/old-primary-silent     check   Home is silent, or observed not to be primary (firm, stands)
//	 3. preflight/shell                  check   from here on Partner only
//	 4. preflight/identity               check   (firm, stands)
//	 5. preflight/roles                  check   Partner is secondary, or primary already (firm)
//	 6. preflight/failoverd              check   (firm, stands)
//	 7. preflight/foreign-macro          check   (firm, stands)
//	 8. preflight/macro                  check   (firm, stands)
//	 9. preflight/launcher               check   (firm, stands)
//	10. preflight/licences               check
//	11. preflight/root-info              check
//	12. preflight/rsj                    check
//	13. preflight/agent                  check
//	14. preflight/agent-files            check
//	15. preflight/stale-locks            check   names the jobs of Home that its death cut short, as far as their locks were replicated
//	16. preflight/disk                   check
//	17. preflight/sym-dates              check   looked at after the swap
//	18. preflight/clock                  check
//	19. preflight/errors                 check
//	20. opcon-hold/schedules             manual
//	21. opcon-down/machine               manual
//	22. quiet/rsj                        check
//	23. quiet/roles                      check   the roles are as they were, or somebody else has swapped them (firm, stands)
//	24. macro/run                        once    on Partner
//	25. macro/roles                      check   Partner is primary (firm, stands)
//	26. verify/old-primary-silent        check   Home has not come back as primary (firm, stands)
//	27. verify/macro-result              check
//	28. verify/failoverd                 check
//	29. verify/sym-dates                 check
//	30. archive/lock                     change
//	31. opcon-repoint/machine            manual
//	32. agent/start                      change
//	33. opcon-prove/machine-up           manual
//	34. opcon-decide/rerun               manual
//	35. opcon-release/schedules          manual
//
// Silence is proven, not inferred. Home is silent when no TCP connection to its address comes about because there is no
// route or nothing answers at all, while Partner answers: a machine without power does that. Everything else shows life:
// a refused port (its kernel refuses), any byte, a handshake or login that fails, a server that is full or hangs, a role
// probe that takes too long. Then the procedure stops, nobody can waive it, and what helps is to switch Home off, or to
// make its role readable: an observed role that is not primary serves too.
//
// The replication is checked too where its probe runs on the new primary. Before Home is switched on again, make sure
// that it cannot claim the primary role or the service address by itself.
//
// # Outage and what can be undone
//
// Members notice an outage from macro/run to macro/roles. How long that takes is not public. OpCon runs no jobs from
// opcon-hold/schedules to opcon-release/schedules.
//
// Up to macro/run everything can be taken back by the procedure's Undo: the agent is started again, and OpCon's steps
// bring the machine up and release what was held; manual steps are a person's to take back. From macro/run on there is
// no undo, and none where somebody else has swapped the roles: the way back is Failback.
//
// # The macro is fired at most once
//
// After a command was sent, a lost reply and a command that never ran look the same. So the firing is fenced on the
// host, by steps that are atomic on every POSIX system. The scripts are files beside this package; an administrator can
// read them, and run one alone behind those that its first line names:
//
//	cat marks.sh processes.sh status.sh | sh -s STATE RUN MACRO
//
//	lock on both hosts (mkdir, in fixed order) → run.<id> (mkdir) → fired (mkdir) → the macro → rc (rename)
//
// The run id is written to the journal before the first byte is sent. Whoever finds out what became of a run reads the
// marks and the list of processes, by reconnecting as often as it takes:
//
//	no run.<id>                     not launched so far; proven never to fire once it is voided
//	run.<id>, not fired             starting; voided when it does not come to fire
//	run.<id>, not fired, none lives the runner is gone or has refused; it never fires
//	fired, any process lives        running; its output is followed
//	fired, exit status, none lives  ended; the roles decide, the exit status proves nothing either way
//	fired, no status, none lives    unknown; only the roles can settle it, otherwise a person
//	fired, list not to be trusted   unknown, and waited for: what a list does not show may be there all the same
//
// A run lives as long as anything of it lives: launcher, runner and macro are written down with their number, group and
// age, and looked for by these, by their process group, by the run's folder in their command line, and by the macro's
// name. Numbers are used again, so a process of another age is another process; ages are counted from the start of
// process 1, which no clock that is set moves. A list that fails, or does not show who asks and process 1, is no list.
// What the macro left running when it ended keeps the run alive until the roles are as wanted; then it is taken for
// services it was to start.
//
// Right before the mark "fired" is taken, the host itself looks whether FAILOVER or FAILOVERD runs, whoever started it.
// A launcher or runner that refuses says so by its exit status or the file "refused", and the step ends at once as not
// applied. Every mark that cannot be made is read for what it is: read-only, full, no inodes, no right, something in
// the way.
//
// The lock never expires. [Pair.Acknowledge] archives it; it refuses while anything of the run may live, unless a
// person names it. [Pair.Resume] only observes; [Pair.Void] calls a run back that has not fired. A deadline here never
// ends the macro. The scripts are tested on Linux; try them on your AIX hosts before the first use.
//
// Every run keeps its folder, with output and marks, in Config.StateDir of the host: it is the proof that a late
// launcher starts nothing. Nothing removes the folders or those in "archive". A person may, when the journal of the run
// is finished.
//
// # How commands reach the host
//
// The login shell gets one plain word, the path of Config.Shell, which csh, tcsh, fish and rc read like the shells of
// the Bourne family. The script travels on standard input as one compound command: when the line breaks, nothing of it
// runs. Nothing of it stands in a list of processes. Start-up files may print what they like. A restricted shell, a
// menu and a forced command that does not pass commands on are named by preflight/shell, before anything is changed.
//
// One look at a host takes at most Limits.Look. A probe that hangs is given up and asked again; on the host it stays.
//
// # Limits
//
// The macro has no terminal unless Mode is ModeHostExpect. A terminal held by this side of the line is not offered: a
// dropped line would then end the macro half-way. A macro that must be started on both hosts is not covered. A question
// nobody expected is left unanswered: it is shown when the output stands still at it, and the run ends in doubt when
// Macro.Timeout passes. The macro inherits that hang-up signals are ignored (nohup); its umask and locale are the
// account's.
//
// What the checks cannot see: a part of the macro that has left its process group, changed its name and lost its
// parent; a process in another partition of the machine; FAILOVER typed on the partner in the seconds between the last
// look there and the macro; a host without a route from here that is alive and primary for everybody else, which is
// what the statement is for; processes of other accounts where the system hides them (then the list is not trusted).
// RSJ cannot be tried out over SSH: it refuses to run outside the agent (documented), so a smoke job through OpCon is a
// decision of opcon-decide/rerun. Where the agent's configuration accepts an OpCon server is compared between the
// hosts, not proven.
//
// A Failover that follows a Switchover which stopped half-way, behind its macro too, releases what it held itself; what
// the Switchover held stays held, for a person to release when its report has been read.
package symitar
