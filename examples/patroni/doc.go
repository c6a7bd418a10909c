// Package patroni moves the leadership of a PostgreSQL cluster that Patroni runs, over Patroni's REST API. It is the
// example of a system that a team adds to package failover by itself.
//
// # Switchover
//
// [Switchover] hands the leadership of a healthy cluster to another member:
//
//  1. check/members     check   every member tells what it is, and the cluster has no others
//  2. check/leader      check   the named leader leads
//  3. check/candidate   check   the candidate streams from the leader and is not behind
//  4. check/quiet       check   nobody is at work: no maintenance mode, no switchover scheduled
//  5. move/switchover   change  hand the leadership over
//  6. verify/leader     check   the candidate is the only primary, by the store's word and by everybody's own
//  7. verify/replicas   check   every other member streams from it
//
// Step 5 is the outage: writes are refused until the new leader is promoted, some seconds. Its undo hands the
// leadership back. Only check 4 may be waived. Nothing is lost: the candidate has everything before it is promoted
// (seen).
//
// # Failover
//
// [Failover] promotes a member when the leader is dead and Patroni has not done it by itself:
//
//  1. check/gone        check   a person answers for it that the dead members are off
//  2. check/silent      check   nothing of the dead members answers
//  3. check/members     check   every other member tells what it is, and the cluster has no others
//  4. check/unled       check   nobody leads, or the candidate does already
//  5. check/newest      check   no other member has more of the data
//  6. move/failover     change  promote the candidate
//  7. verify/leader     check   as above
//  8. verify/replicas   check   as above
//
// All checks are firm. Step 6 has no undo: what the dead leader had not sent is lost unless the cluster is synchronous.
// The way back is to repair the machine, let it follow, and switch over.
//
// Each look asks each member for its own word; two primaries stop every step with [ErrTwoLeaders]. The REST API of
// every member must be reachable. Without a quorum of its store Patroni moves nothing, and neither does this package.
//
// # What the answers of Patroni mean
//
//   - 200 to POST /switchover and /failover: another member leads (documented), perhaps another one than the candidate:
//     "instead of" (seen in api.py, 3.0.2 and 4.1). So the leader is looked at, whatever the answer.
//   - 400 and 412: something was wrong (documented), found before anything was written: not done (seen). So are 401 and
//     403 (seen: the user is checked first), 404 and 501 (seen: the call is not known).
//   - 503 proves nothing: it is also the answer when the time of polling is over, "status unknown", while the order
//     still stands in the store (seen). No answer and other statuses prove nothing either. Who leads settles the order.
//   - The leader's own loop carries an order out, also when the call is cut. It and the API refuse a switchover when
//     somebody else leads (seen), so that giving it twice is harmless. A failover has no such condition.
//   - GET /cluster reads the store; GET /patroni asks the member's own PostgreSQL (seen).
//   - PATCH /config merges, and null removes (documented). It is written by compare-and-set (seen); see [Cluster.Lock].
//
// Sources: patroni.readthedocs.io; the sources of Patroni 3.0.2 and 4.1; tests with Patroni 3.0.2 and PostgreSQL 15.
//
// # Limits
//
// Standby clusters, Citus and scheduled switchovers are not handled. The lock keeps apart the runs of this package, not
// patronictl. A machine that hangs longer than ttl needs a watchdog (documented): no check from outside can see it.
package patroni
