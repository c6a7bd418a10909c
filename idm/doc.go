// Package idm moves Identity Manager (DirXML) drivers between eDirectory servers over LDAP, without Java and without the vendor's
// command line tool.
//
// A driver's configuration is in two parts. Policies, filter and shim class replicate. Start option, state, shim parameters, global
// configuration values, login and address of the application, passwords and the event queue belong to one server, and only a
// connection to that very server reads or writes them. A move is therefore: bring the second part to the other server, make sure that
// the driver is out on the old one, and start it on the new one. A driver that runs on two servers writes the same events twice and corrupts data; that
// is the one thing the procedures never let happen.
//
// A [Server] is one eDirectory server, proven by its dsaName. [Server.Export], [Server.Import], [Server.Verify] and [CopyServerData] carry
// configuration, [Server.SecretsNeeded] lists what no export carries. [Prepare], [Failover], [Switchover], [Failback] and [GuardOldServer] return
// a failover.Procedure: plan it, run it with a journal, resume it, undo it. Package idmtest is a tree of simulated servers to try all of it on.
//
// Facts are marked: documented by the vendor or the reference wiki; seen in published code, schema dumps or tests on live trees; inferred.
// What is inferred about the wire format is a [Dialect], to be proven before the first real run: with the wrong polarity of the resync flag,
// "do not synchronize" synchronizes everything. The program examples/labcheck proves it on a lab server: it reads the answers of the engine, finds the framing,
// tries the flag on one scratch driver where it is told to by name, and prints the Dialect to use. Without that it changes nothing.
//
// # Prepare
//
// Step 0, while all is well. Nothing changes on the source and users notice nothing. Repeat it after every change of configuration. An undo
// leaves what was prepared where it is: disabled drivers do nothing.
//
//  1. Check that the right servers answer and the target's engine is as new as the source's
//  2. Check the rights of the user on the driver set
//  3. Check that the target holds the replicas the drivers need
//  4. Look at time and replication between the servers (by hand)
//  5. Keep a working export of the drivers with the source's values
//  6. Add the target to the driver set
//  7. Have the target's engine serve the drivers (by hand where the engine must be restarted)
//  8. Keep the drivers disabled on the target
//  9. Copy the per-server values from the source to the target
//  10. List the passwords the target needs
//  11. Set the passwords on the target
//  12. Check that no password is missing on the target
//  13. Check Remote Loader and certificate references as far as the directory shows them
//  14. Make sure the references work from the target (by hand)
//  15. Try a start on the standby in a quiet hour (by hand)
//
// # Failover
//
// The source is gone. The drivers are down until step 16 is done. That the source is dead is a person's statement; the old server must not be
// let back before [GuardOldServer] watches it. The events in the old server's queue are gone with it: step 17 asks for everything that changed since the time
// the source was last known to work. An undo stops and disables the drivers on the target again; it does not bring the source back.
//
//  1. State that the source is down and cannot come back by itself
//  2. Look whether the source answers after all (with TrySource)
//  3. Check that the right servers answer and the target's engine is as new as the source's
//  4. Check the rights of the user on the driver set
//  5. Check that the target holds the replicas the drivers need
//  6. Add the target to the driver set
//  7. Have the target's engine serve the drivers (by hand where the engine must be restarted)
//  8. Check that the drivers are disabled on the target, or wait there with an empty cache
//  9. Have the per-server values on the target (imported from an export, or checked)
//  10. List the passwords the target needs
//  11. Set the passwords on the target
//  12. Check that no password is missing on the target
//  13. Check Remote Loader and certificate references as far as the directory shows them
//  14. Make sure the references work from the target (by hand)
//  15. Enable the drivers on the target: Manual, without synchronization
//  16. Start the drivers on the target and see that they stay up
//  17. Close the gap: synchronize what changed since the noted time (unless the gap is left)
//  18. Let the jobs run on the target instead of the source
//  19. Observe that every driver runs on the target and nowhere else
//  20. Set the guard over the old server (by hand)
//  21. Say that all is good before the drivers start by themselves (by hand)
//  22. Let the drivers start by themselves on the target
//
// # Switchover
//
// Both servers are well. The drivers are down from step 14 to step 19; events that arise meanwhile are caught up by step 20, as are those that
// waited on the source when a driver was behind. Every step before the outage can be run days ahead by [Prepare]. An undo brings the drivers back to the source, catches up there what went past its
// queue while it was disabled, and never starts one there that is not stopped on the target.
//
//  1. Check that the right servers answer and the target's engine is as new as the source's
//  2. Check the rights of the user on the driver set
//  3. Check that the target holds the replicas the drivers need
//  4. Add the target to the driver set
//  5. Have the target's engine serve the drivers (by hand where the engine must be restarted)
//  6. Check that the drivers run on the source
//  7. Check that the drivers are disabled on the target, or wait there with an empty cache
//  8. Copy the per-server values from the source to the target
//  9. List the passwords the target needs
//  10. Set the passwords on the target
//  11. Check that no password is missing on the target
//  12. Check Remote Loader and certificate references as far as the directory shows them
//  13. Make sure the references work from the target (by hand)
//  14. Note the time and stop the drivers on the source
//  15. Save the events that wait on the source (with CacheDir)
//  16. Disable the drivers on the source
//  17. Observe that every driver is stopped and disabled on the source
//  18. Enable the drivers on the target: Manual, without synchronization
//  19. Start the drivers on the target and see that they stay up
//  20. Close the gap: synchronize what changed since the noted time (unless the gap is left)
//  21. Let the jobs run on the target instead of the source
//  22. Observe that every driver runs on the target and nowhere else
//  23. Say that all is good before the drivers start by themselves (by hand)
//  24. Let the drivers start by themselves on the target
//
// # Failback
//
// The way back to a server that has returned, after [GuardOldServer]. It is a switchover in the other direction with two checks more; the returned server's own
// values are older than what happened since and are replaced. The drivers are down from step 15 to step 20.
//
//  1. Check that the right servers answer and the target's engine is as new as the source's
//  2. Check that the returned server has every driver stopped and disabled
//  3. Check the rights of the user on the driver set
//  4. Check that the target holds the replicas the drivers need
//  5. Look at time and replication between the servers (by hand)
//  6. Add the target to the driver set
//  7. Have the target's engine serve the drivers (by hand where the engine must be restarted)
//  8. Check that the drivers run on the source
//  9. Copy the per-server values from the source to the target
//  10. List the passwords the target needs
//  11. Set the passwords on the target
//  12. Check that no password is missing on the target
//  13. Check Remote Loader and certificate references as far as the directory shows them
//  14. Make sure the references work from the target (by hand)
//  15. Note the time and stop the drivers on the source
//  16. Save the events that wait on the source (with CacheDir)
//  17. Disable the drivers on the source
//  18. Observe that every driver is stopped and disabled on the source
//  19. Enable the drivers on the target: Manual, without synchronization
//  20. Start the drivers on the target and see that they stay up
//  21. Close the gap: synchronize what changed since the noted time (unless the gap is left)
//  22. Let the jobs run on the target instead of the source
//  23. Observe that every driver runs on the target and nowhere else
//  24. Say that all is good before the drivers start by themselves (by hand)
//  25. Let the drivers start by themselves on the target
//
// # GuardOldServer
//
// A server that comes back after a failover still has its drivers on Auto, in its own values, and starts them by itself. The guard disables them as soon
// as the server answers; between the start of its engine and the guard's first look both sides can be active. [WatchOldServer] makes that time
// short, power and network make it impossible.
//
//  1. Check that the drivers are enabled on the active server
//  2. Wait until the old server answers
//  3. Disable and stop the drivers on the old server
//  4. Observe that nothing of it runs on the old server
//
// # Checks
//
// Each check says up to which step it must hold. A run that goes on after a pause, or behind a person's answer, looks again at every
// check that still must hold. Rights, passwords, references and the drivers that run on the source must hold until the drivers are stopped there,
// in a failover until they are started. The engine, the replicas and the per-server values of the target must hold until the drivers are started.
// That the source is out must hold until the last step, and nobody may waive it. A source that dies after it was seen stopped and
// disabled counts as out. In [Prepare] every check must hold until the trial.
//
// # Passwords
//
// No export and no copy carries passwords. They come from a [PasswordSource] as failover.Secret when they are needed, go to the server inside TLS, and appear in no journal,
// plan, report or error. Named passwords are verified by name; that the value is right, and that an application, Remote Loader or driver object password was
// taken, only a start of the driver proves, and every text says so.
//
// # Limits
//
// The event queue cannot be moved: it can be viewed and saved, and the gap is closed by time. That brings what was created or changed (documented), not what was
// deleted or was renamed away (inferred): look for it in the saved queues. Cache limit, cache path and the password of mutual authentication
// with a Remote Loader have no published setter; they are told and set by hand. What shims and policies remember is copied and imported only on request. Certificates are
// created by hand. Rights of the driver objects are not changed. Adding a replica and restarting an engine are done by hand. The directory lock is
// atomic through one server; the procedures always use the target.
package idm
