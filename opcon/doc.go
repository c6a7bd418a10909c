// Package opcon holds an OpCon machine still while the service behind it moves, and sets it going again afterwards. It
// speaks the OpCon REST API.
//
// OpCon must start no job on the machine while a Symitar pair is swapped, and none on the wrong host afterwards. The
// vendor's page on RSJ and FAILOVER asks for three things: bring the server down in OpCon before the macro, hold at
// least all schedules of the machine, and keep them held until it is determined what has to run or to be rerun. This
// package does these three, records what it found and held, and takes back exactly that.
//
// Use [Client.Quiesce], [Client.Interrupted], [Client.Rerun] and [Client.Resume] as functions, or [QuiesceStages] and
// [ResumeStages] as stages of a procedure of package failover; the latter survive a crash, since the [Record] is kept
// in the journal. Between the two the service moves.
//
// # Steps of a quiesce
//
//	   step                          kind    what
//	1. opcon-check/service           check   the API answers, the login works, the scheduling engine (SAM) runs
//	2. opcon-check/machine           check   exactly one machine has the name, and the type expected (firm)
//	3. opcon-check/scope             check   the machine has schedules that the service account can see
//	4. opcon-hold/snapshot           change  record machine, address, schedules and running jobs
//	5. opcon-hold/schedules          change  hold every root schedule over all built dates until nothing is left to hold
//	6. opcon-drain/limited           change  the machine starts no more jobs (planned only)
//	7. opcon-drain/jobs              check   wait for running jobs; may be waived with a reason (planned only)
//	8. opcon-drain/schedules         change  hold what was built while draining, as at midnight (planned only)
//	9. opcon-down/machine            change  hold what is new, note what still runs, take the machine down
//
// # Steps of a resume
//
//	   step                          kind    what
//	1. opcon-repoint/schedules       change  hold what midnight has built meanwhile
//	2. opcon-repoint/machine         change  write the new host's address into the machine record (RepointEditRecord only)
//	3. opcon-prove/old-agent         check   wait until the agent on the old host is stopped (OldAgent only)
//	4. opcon-prove/line              change  limited: the agent answers OpCon and no job starts
//	5. opcon-prove/agent             check   the agent that answers runs on the new host
//	6. opcon-decide/interrupted      check   list the jobs that need a decision, a row each; it always holds
//	7. opcon-decide/rerun            manual  a person decides and does it; with Decide a change that carries out the decisions
//	8. opcon-release/machine         change  hold what is new, see who answers, bring the machine up
//	9. opcon-release/schedules       change  release exactly what was held, and nothing else
//
// # Why in this order
//
// The vendor's page takes the machine down first. A machine that is down makes OpCon try a job's alternate machines
// (documented), so taking it down before its schedules are held can start jobs elsewhere. The schedules are therefore
// held first; the end state is the same (inferred). Down neither stops nor holds what runs on the host: OpCon merely
// stops hearing of it (documented).
//
// After the move the machine is limited before it is up: OpCon hears the agent and starts nothing (documented), so that
// it shows who answers, the interrupted jobs are reported, and a person can decide in peace, whatever midnight builds.
//
// # No job on the wrong host
//
// Nothing is released before the machine record leads to the new host and the agent that answers is the new host's.
// That is told by the host name in the machine record (seen in client code; that it follows the agent is inferred), or
// by the site's own question, ResumeOptions.AskAgent. An agent that reports the old host is disconnected, and nobody
// can waive that. Where nothing tells, the step opcon-prove/agent stops and a person has to say so: by waiving it with
// a reason, or by ResumeOptions.Vouch. With [RepointHostStayed] the hold is let go on the host as it was.
//
// # No job lost
//
// A job that was seen running or just sent before the machine went down stays in the list of interrupted jobs until
// OpCon shows that run Finished OK or a decision on it was carried out. A state or a count that is not known is never
// the harmless one: it keeps the drain waiting, a schedule held, a job in the list. A schedule that is not shown any
// more may be held still: the release stays in doubt until a person has looked, since a deleted one and one that the
// account may not see look the same. Jobs that fell due meanwhile would start by themselves at the release, so they
// need a decision too. Decisions can be corrected until they were sent; each is kept with its author. One that was made
// upon a running job does not fit a job that has ended meanwhile.
//
// # How long a check counts
//
// opcon-check/service and opcon-check/scope are about the start. opcon-check/machine and opcon-drain/jobs must hold
// until opcon-down/machine, opcon-prove/old-agent until opcon-release/schedules, opcon-prove/agent until
// opcon-decide/rerun; opcon-decide/interrupted is listed anew until opcon-release/machine. They are looked at again
// when a run is resumed and after a wait for a person. From opcon-decide/rerun on the steps ask by themselves who
// answers.
//
// # Outage
//
// No job starts from opcon-hold/schedules to opcon-release/schedules. Users of the Symitar host notice nothing of
// OpCon's part.
//
// # What can be undone
//
// Every change but opcon-decide/rerun, in reverse order: schedules that were held are released, and only those; the
// machine gets the address and the state it had. A restarted job stays restarted.
//
// # Outcomes
//
// OpCon answers a change with "submitted"; the result comes later and per item, and neither counts as proof here: after
// every change the schedules, the machine or the job are read again. Only the words "failed" and "error" prove that an
// item was not done; any other word, and none, is under way until the state tells, or in doubt. A request that provably
// did not leave, or was refused with a 4xx, is failover.NotApplied. One that was sent and got no answer is
// failover.InDoubt until reading the state settles it. Only reads are repeated by themselves. A change refused with 401
// was not executed (seen in client code); it is sent once more with a new token. Holds, releases and machine states are
// harmless to send twice and the steps do so when run again; starting a job is not, and is never sent again on a guess:
// see [Client.Rerun].
//
// # Privileges of the service account
//
// Documented by name: Maintain Machines; View Jobs in Schedule Operations; Hold Schedules and Release Schedules; for
// decisions also Restart, Force Start, Mark, Hold and Cancel jobs. Machine, schedule and department access decide what
// it sees at all: an empty list may be a lack of rights, which is why opcon-check/scope fails on it. Do not grant Kill
// Jobs.
//
// # Cost
//
// The jobs of all machines are read as a whole for opcon-check/scope, right before the machine goes down and for each
// list of interrupted jobs; in between, for ten minutes, only the jobs of new schedules. The server's filters by machine
// are not used: one that gave all jobs once may miss the next. With 12,000 jobs on three dates an unplanned quiesce takes
// about 35 requests, and a resume about 30.
//
// # What is not here
//
// Killing jobs: a killed RSJ job leaves ghost logons and may damage data (documented). Bulk restarts of a schedule's
// jobs: without a list of states they rerun finished jobs too. Machine groups as the way to repoint: changing groups by
// the API was broken before 25.1 (documented); move the member by a step of your own and use [RepointAliasMoves].
// "Re-synchronize running jobs": no API call for it is known, so a stale job count can keep the drain waiting until it
// is waived.
//
// # Limits
//
// A machine must keep its name while it is quiesced: jobs go by the name, and every step looks for it. Two agents on one
// host are two machines in OpCon (documented): quiesce each.
//
// A record that names an alias does not show where the alias leads; only who answers tells. A server that keeps the
// host name of an earlier agent in its record needs AskAgent. What happens to running jobs after a swap, which jobs the
// server's filters match, the numbers of statuses and the page limits are inferred; the package decides by names and
// words, filters on its own side and reads until nothing new comes. Written for and tested against the API of release
// 21.2 as published; both spellings of field names are read.
package opcon
