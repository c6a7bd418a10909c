// Package idm moves Identity Manager (DirXML) drivers between eDirectory servers over LDAP, without Java and without
// the vendor's command line tool.
//
// A driver's configuration is in two parts. Policies, filter and shim class replicate. Start option, state, shim
// parameters, global configuration values, login and address of the application, passwords and the event queue belong
// to one server, and only a connection to that very server reads or writes them. A move is therefore: bring the second
// part to the other server, make sure that the driver is out on the old one, and start it on the new one. A driver that
// runs on two servers writes the same events twice and corrupts data; that is the one thing the procedures never let
// happen.
//
// A [Server] is one eDirectory server, proven by its dsaName. [Server.Export], [Server.Import], [Server.Verify] and
// [CopyServerData] carry configuration, [Server.SecretsNeeded] lists what no export carries. [Prepare], [Failover],
// [Switchover], [Failback] and [GuardOldServer] return a failover.Procedure: plan it, run it with a journal, resume it,
// undo it. [SwitchoverStages] and its like return their [Stages], for a procedure that does something of its own in
// between. Package idmtest is a tree of simulated servers to try all of it on.
//
// Facts are marked: documented by the vendor or the reference wiki; seen in published code, schema dumps or tests on
// live trees; inferred. What is inferred about the wire format is a [Dialect], to be proven before the first real run:
// with the wrong polarity of the resync flag, "do not synchronize" synchronizes everything. The program
// examples/labcheck proves it on a lab server: it reads the answers of the engine, finds the framing, tries the flag on
// one scratch driver where it is told to by name, and prints the Dialect to use. Without that it changes nothing.
//
// # Prepare
//
// Step 0, while all is well, which is looked at: the drivers are enabled on the source, and nothing waits on the
// target. Nothing changes on the source and users notice nothing. Repeat it after every change of configuration. Then,
// in a quiet hour, try a start with [Switchover] and [Failback]: what was prepared is not proven until then. An undo
// leaves what was prepared where it is: disabled drivers do nothing.
//
//  1. check/servers: Check that the right servers answer and the target's engine is as new as the source's (check)
//  2. check/rights: Check the rights of the user on the driver set (check)
//  3. check/replicas: Check that the target holds the replicas the drivers need (check)
//  4. check/health: Look at time and replication between the servers (manual)
//  5. prepare/source-enabled: Check that the drivers are enabled on the source (check)
//  6. prepare/export: Keep a working export of the drivers with the source's values (change)
//  7. prepare/add-server: Add the target to the driver set (change)
//  8. prepare/engine-serves: Have the target's engine serve the drivers (manual) [by hand only where the engine must be restarted]
//  9. prepare/target-passive: Check that no driver runs on the target and no events wait there (check)
//  10. prepare/keep-disabled: Keep the drivers disabled on the target (change)
//  11. prepare/copy-data: Copy the per-server values from the source to the target (change)
//  12. prepare/passwords-needed: List the passwords the target needs (check)
//  13. prepare/passwords: Set the passwords on the target (change)
//  14. prepare/passwords-by-hand: Set the passwords on the target by hand (manual) [without a PasswordSource]
//  15. prepare/passwords-complete: Check that no password is missing on the target (check)
//  16. prepare/references: Check Remote Loader and certificate references as far as the directory shows them (check)
//  17. prepare/references-by-hand: Make sure the references work from the target (manual)
//
// # Failover
//
// The source is gone. The drivers are down until start/start is done. That the source is dead is a person's statement;
// the old server must not be let back before [GuardOldServer] watches it. The events in the old server's queue are gone
// with it: moved/close-gap asks for everything that changed since the time the source was last known to work. An undo
// stops and disables the drivers on the target again; it does not bring the source back.
//
//  1. dead/source-dead: State that the source is down and cannot come back by itself (check)
//  2. dead/source-silent: Look whether the source answers after all (check) [with TrySource]
//  3. check/servers: Check that the right servers answer and the target's engine is as new as the source's (check)
//  4. check/rights: Check the rights of the user on the driver set (check)
//  5. check/replicas: Check that the target holds the replicas the drivers need (check)
//  6. prepare/add-server: Add the target to the driver set (change)
//  7. prepare/engine-serves: Have the target's engine serve the drivers (manual) [by hand only where the engine must be restarted]
//  8. prepare/target-quiet: Check that the drivers are disabled on the target, or wait there with an empty cache (check)
//  9. prepare/server-data: Have the per-server values on the target (check) [a change where it is imported from an export]
//  10. prepare/passwords-needed: List the passwords the target needs (check)
//  11. prepare/passwords: Set the passwords on the target (change)
//  12. prepare/passwords-by-hand: Set the passwords on the target by hand (manual) [without a PasswordSource]
//  13. prepare/passwords-complete: Check that no password is missing on the target (check)
//  14. prepare/references: Check Remote Loader and certificate references as far as the directory shows them (check)
//  15. prepare/references-by-hand: Make sure the references work from the target (manual)
//  16. start/enable-manual: Enable the drivers on the target: Manual, without synchronization (change)
//  17. start/start: Start the drivers on the target and see that they stay up (change)
//  18. moved/close-gap: Close the gap: synchronize what changed since the noted time (change) [unless the gap is left]
//  19. moved/jobs: Let the jobs run on the target instead of the source (change)
//  20. moved/verify: Observe that every driver runs on the target and nowhere else (change)
//  21. guard/guard-old-server: Set the guard over the old server (manual)
//  22. finish/all-good: Say that all is good before the drivers start by themselves (manual)
//  23. finish/auto: Let the drivers start by themselves on the target (change)
//
// # Switchover
//
// Both servers are well. The drivers are down in the stages stop and start; events that arise meanwhile are caught up
// by moved/close-gap, as are those that waited on the source when a driver was behind. Every step before the outage can
// be run days ahead by [Prepare]. An undo brings the drivers back to the source, catches up there what went past its
// queue while it was disabled, and never starts one there that is not stopped on the target.
//
//  1. check/servers: Check that the right servers answer and the target's engine is as new as the source's (check)
//  2. check/rights: Check the rights of the user on the driver set (check)
//  3. check/replicas: Check that the target holds the replicas the drivers need (check)
//  4. prepare/add-server: Add the target to the driver set (change)
//  5. prepare/engine-serves: Have the target's engine serve the drivers (manual) [by hand only where the engine must be restarted]
//  6. prepare/source-active: Check that the drivers run on the source (check)
//  7. prepare/target-quiet: Check that the drivers are disabled on the target, or wait there with an empty cache (check)
//  8. prepare/copy-data: Copy the per-server values from the source to the target (change)
//  9. prepare/passwords-needed: List the passwords the target needs (check)
//  10. prepare/passwords: Set the passwords on the target (change)
//  11. prepare/passwords-by-hand: Set the passwords on the target by hand (manual) [without a PasswordSource]
//  12. prepare/passwords-complete: Check that no password is missing on the target (check)
//  13. prepare/references: Check Remote Loader and certificate references as far as the directory shows them (check)
//  14. prepare/references-by-hand: Make sure the references work from the target (manual)
//  15. stop/stop: Note the time and stop the drivers on the source (change)
//  16. stop/save-caches: Save the events that wait on the source (change) [with CacheDir]
//  17. stop/disable-source: Disable the drivers on the source (change)
//  18. stop/source-quiet: Observe that every driver is stopped and disabled on the source (check)
//  19. start/enable-manual: Enable the drivers on the target: Manual, without synchronization (change)
//  20. start/start: Start the drivers on the target and see that they stay up (change)
//  21. moved/close-gap: Close the gap: synchronize what changed since the noted time (change) [unless the gap is left]
//  22. moved/jobs: Let the jobs run on the target instead of the source (change)
//  23. moved/verify: Observe that every driver runs on the target and nowhere else (change)
//  24. finish/all-good: Say that all is good before the drivers start by themselves (manual)
//  25. finish/auto: Let the drivers start by themselves on the target (change)
//
// # Failback
//
// The way back to a server that has returned, after [GuardOldServer]. It is a switchover in the other direction with
// two checks more; the returned server's own values are older than what happened since and are replaced, but for the
// positions of the shims, about which a person decides. The drivers are down in the stages stop and start.
//
//  1. check/servers: Check that the right servers answer and the target's engine is as new as the source's (check)
//  2. check/returned-quiet: Check that the returned server has every driver stopped and disabled (check)
//  3. check/rights: Check the rights of the user on the driver set (check)
//  4. check/replicas: Check that the target holds the replicas the drivers need (check)
//  5. check/health: Look at time and replication between the servers (manual)
//  6. prepare/add-server: Add the target to the driver set (change)
//  7. prepare/engine-serves: Have the target's engine serve the drivers (manual) [by hand only where the engine must be restarted]
//  8. prepare/source-active: Check that the drivers run on the source (check)
//  9. prepare/positions: Decide from which position in its application each shim goes on (manual)
//  10. prepare/copy-data: Copy the per-server values from the source to the target (change)
//  11. prepare/passwords-needed: List the passwords the target needs (check)
//  12. prepare/passwords: Set the passwords on the target (change)
//  13. prepare/passwords-by-hand: Set the passwords on the target by hand (manual) [without a PasswordSource]
//  14. prepare/passwords-complete: Check that no password is missing on the target (check)
//  15. prepare/references: Check Remote Loader and certificate references as far as the directory shows them (check)
//  16. prepare/references-by-hand: Make sure the references work from the target (manual)
//  17. stop/stop: Note the time and stop the drivers on the source (change)
//  18. stop/save-caches: Save the events that wait on the source (change) [with CacheDir]
//  19. stop/disable-source: Disable the drivers on the source (change)
//  20. stop/source-quiet: Observe that every driver is stopped and disabled on the source (check)
//  21. start/enable-manual: Enable the drivers on the target: Manual, without synchronization (change)
//  22. start/start: Start the drivers on the target and see that they stay up (change)
//  23. moved/close-gap: Close the gap: synchronize what changed since the noted time (change) [unless the gap is left]
//  24. moved/jobs: Let the jobs run on the target instead of the source (change)
//  25. moved/verify: Observe that every driver runs on the target and nowhere else (change)
//  26. finish/all-good: Say that all is good before the drivers start by themselves (manual)
//  27. finish/auto: Let the drivers start by themselves on the target (change)
//
// # GuardOldServer
//
// A server that comes back after a failover still has its drivers on Auto, in its own values, and starts them by
// itself. The guard sets them to Manual as soon as the server answers, stops and disables them. What waits in their
// queues goes with that: it is told, and saved where there is a folder for it. Between the start of its engine and the
// guard's first look both sides can be active. [WatchOldServer] makes that time short, power and network make it
// impossible.
//
//  1. guard/active-elsewhere: Check that the drivers are enabled on the active server (check)
//  2. guard/comes-back: Wait until the old server answers (check)
//  3. guard/disable: Disable and stop the drivers on the old server (change)
//  4. guard/quiet: Observe that nothing of it runs on the old server (check)
//
// # Checks
//
// Each check says up to which step it must hold. A run that goes on after a pause, or behind a person's answer, looks
// again at every check that still must hold. Rights, passwords, references and the drivers that run on the source must
// hold until the drivers are stopped there, in a failover until they are started. The engine, the replicas and the
// per-server values of the target must hold until the drivers are started. That the source is out must hold until the
// last step, and nobody may waive it. A source that dies after it was seen stopped and disabled counts as out. In
// [Prepare] every check must hold until its last step.
//
// # Passwords
//
// No export and no copy carries passwords. They come from a [PasswordSource] as failover.Secret when they are needed,
// go to the server inside TLS, and appear in no journal, plan, report or error. Named passwords are verified by name;
// that the value is right, and that an application, Remote Loader or driver object password was taken, only a start of
// the driver proves, and every text says so. A password that the source lacks ends the run once, so that it can be added
// and the same run goes on; what a later run lacks as well is left to the check behind it, which a person may waive.
//
// What the user of a connection may not read looks as if it were not set. The check of rights asks for reading, too; a
// copy removes nothing, and an export leaves nothing out, before the server was asked for that right.
//
// # Limits
//
// The event queue cannot be moved: it can be viewed and saved, and the gap is closed by time. That brings what was
// created or changed (documented), not what was deleted or was renamed away (inferred): look for it in the saved
// queues, and for what Out of Band Sync takes ahead, which may have waited longer than the gap reaches back. Cache limit, cache path and the password of mutual authentication with a Remote Loader have no published
// setter; they are told and set by hand. What shims and policies remember is copied and imported only on request.
// Certificates are created by hand. Rights of the driver objects are not changed. Adding a replica and restarting an
// engine are done by hand. The directory lock is atomic through one server; the procedures always use the target.
package idm
