// Package cluster moves groups between the nodes of a failover cluster and knows when a move is over.
//
// [Cluster] is one interface for a Windows Server Failover Cluster ([NewWindows]: PowerShell over SSH) and for
// Pacemaker ([NewPacemaker]: its command-line tools over SSH). Any node serves every call. [New] builds the same
// semantics on a [Driver] for another make; package clustertest has one in memory.
//
// # When a move is over
//
// Both makes report success early: Windows when ownership has changed (documented), Pacemaker when there is nothing
// left to do (documented). Here a move is over when owner and state have been observed.
//
//   - A group that is on the target and up already: success, nothing is asked for.
//   - On the target in the state it had before: success.
//   - Up again at its source: [ErrReturned]. Up on a third node: [ErrElsewhere]. Both are NotApplied, and the outage is over. Back at
//     its source and down there: ErrReturned, in doubt.
//   - On the target, failed or only partly up for the time of grace: [ErrFailed], [ErrPartial]. The move took effect
//     (Applied) and is not made again; a person repairs the group or moves it back.
//   - Never left its source for the time to settle: [ErrNotStarted], NotApplied when the cluster had answered the
//     request or it was taken back since (Pacemaker; the time counts from then). A request without an answer that cannot
//     be taken back (Windows) may still come: in doubt.
//   - Failed at its source and not seen to leave it, as after a stop that failed: [ErrFailed], in doubt.
//   - Line lost or no answer after the request was sent: in doubt, then settled by reading from another node as above.
//   - Time over before any of these: [ErrTimeout], in doubt. Nothing is asked for again while the group
//     is changing: a second Move then returns [ErrBusy].
//
// A group is only as alive as its node: on one that the cluster does not reach its state is StateUnknown, whatever the
// cluster remembers of it, and nothing that waits for the group ends on that. What the cluster has on record of members
// that failed since the move began stands in the error, with the node, the reason and the time.
//
// A move request is sent at most once. It is offered to a second node only if it provably did not leave for the first.
//
// # Transfer
//
// [Transfer] is the ownership transfer as a procedure:
//
//  1. check/reachable: Each node answers at its own address and says its own name
//  2. check/quorum: The cluster has quorum and its witness is up
//  3. check/nodes: Every node is up, none is kept out or draining
//  4. check/group: The group is up on exactly one node and free to move
//  5. check/target: The target can take every member of the group
//  6. check/disks: Every disk the group needs is part of it and of its dependencies
//  7. check/maintenance: No member is in maintenance
//  8. check/backup: No backup of the cluster is in progress
//  9. check/stop-time: The cluster gives the service the time it needs to stop
//  10. check/reboot: No node waits for a reboot
//  11. check/build: All nodes run the same build
//  12. prepare/remember: Remember the owner and the failback setting
//  13. prepare/clear: Remove a move request that an earlier run of ours left
//  14. prepare/failback: Keep the group from going home by itself
//  15. move/move: Move the group to the target
//  16. move/clear: Remove the move request
//  17. arrived/verify: See the group stay up on the node with all its members
//  18. back/move: Move the group back to the node it came from
//  19. back/clear: Remove the move request
//  20. returned/verify: See the group stay up on the node with all its members
//  21. finish/failback: Put the failback setting back as it was
//  22. finish/verify: See the group stay where it belongs without the guard
//
// Steps 18 to 20 are there with [AfterMoveBack] only. Users are cut off during move/move and, with MoveBack, during
// back/move: from the moment the group's members stop until they are up on the other node. MoveResult.Outage is what
// the readings showed of it.
//
// All checks stand until the last move: what they look at can change while a run waits for a person. Only check/group
// and check/target stand until move/move, after which the group is no longer where it was; arrived/verify then stands
// until back/move. [TransferStages] has the stages for procedures that do something of their own in between.
//
// A move is a change of the whole cluster. What it will do to groups that nobody named stands in the line of move/move,
// which a person approves: on Pacemaker as its own scheduler says (crm_simulate, documented: it has the rules of the
// running cluster, colocation, order and sets included). It is "not known beforehand" where crm_simulate is not there,
// on a Windows cluster, and of back/move. These groups are looked at before the first change and at the end;
// finish/verify tells which stand otherwise. check/target also asks the scheduler whether the group itself would be up.
//
// Until move/move everything can be taken back by Undo. After it, the way back is another Transfer.
//
// Checks 2, 4 and 5 and the verifications are firm. The others can be waived with a reason: check/build during a
// rolling upgrade of the operating system, check/reachable, check/reboot and check/build when a node has no SSH. What a
// check could not read does not pass ([ErrNotTold]). check/reboot asks the system's own means, on Pacemaker the file of
// Debian, zypper needs-rebooting and needs-restarting -r. check/stop-time compares the members that are known to run a
// service; where none is known, all of them.
//
// # What a crash leaves
//
// On Pacemaker a move leaves a location constraint that would hold the group for ever. It is removed after every move,
// also a failed one. A mark in the cluster's configuration, written before the constraint, tells ours from an
// administrator's, so the next run finds and removes what a killed one left. An administrator's own constraint stops
// the transfer with [ErrStandingRequest] and is left alone, and so does what holds the group on its node as strongly
// as a request draws it away: an infinite preference or an infinite stickiness. On a Windows cluster a mark stands
// from before each request until its end is known; it moves nothing.
//
// The failback guard is on the group until finish/failback; the setting to restore is in the journal. A run that is
// given up after move/move leaves the guard: run it again, or set failback by hand.
//
// # Limits
//
// The lock is one per cluster. On Windows it is not a true compare-and-set; see [Windows]. Without fencing, Pacemaker
// itself cannot keep a node that is cut off from running a group that was started elsewhere; nor can this package.
// Clones and bundles of Pacemaker are not read. Failback windows of a Windows cluster are left as they are, since
// preventing failback makes them void.
package cluster
