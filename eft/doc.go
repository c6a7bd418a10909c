/*
Package eft upgrades EFT Server on the two nodes of an active-passive failover cluster, the way its vendor describes, and
judges every step by what it left behind.

The text it follows is the vendor's page "Upgrading the Server in a Cluster" (documented; written for version 5, and
nothing newer is published). It has two procedures, here called A and B, whose sentences stand in square brackets beside
the steps they became: [A4] is step 4 of the first. The other steps are added; each names its reason in Source.

  - [Upgrade] (A): the program lies on each node's own disk, only the configuration on the shared disk. The normal case.
  - [UpgradeShared] (B): the program lies on the shared disk too. The vendor does not recommend that installation.
  - [Rollback]: back to the old version, as long as one node carries it.

# What users notice

Upgrade: the service is down twice, for one move each, about as long as the group takes to go offline and online. Both
moves lie in the outage window of the plan; between them, while the second node is upgraded, the service runs. When the
new version registers its service under another name, the first move becomes offline, change, move, online.

UpgradeShared: the service is down from offline/group until upgraded/service, which includes both installations, and
once more for the move back.

# What can be undone

Before the first run of the installer, everything: Undo restores the start mode and the failback setting; staged file
and backup stay. After it, Undo ends with ErrIrreversible. Upgrade can still be left by Rollback until active/install,
which is its point of no return; while the group is still where it was, Rollback cuts nobody off. UpgradeShared has its
point of no return at its first installer run.

An upgrade that stops half-way keeps the lock of the cluster. To roll back, take the lock over with TakeOverLock, under
the name of the person who knows that the upgrade does not go on.

# Two running services

A service that starts without the shared disk makes itself an empty configuration (documented). The installer is
therefore run only where the cluster does not run the service, the service is disabled before, stopped as often as it
appears meanwhile, and stopped, checked and set back to its former start mode and account afterwards. While a node's
service is disabled the cluster cannot fail over to that node.

# How long a check holds

Every check is looked at again when a run is resumed, after every wait for a person and right before each step that cannot be
repeated, until the step whose work makes it untrue: check/installed until the guard disables the service, check/service until
the installer is run, which may start it. What protects against two running services, a wrong node or a loss stands to the
last installer or the last move. passive/ready and active/ready look right before the installer. While a person runs an
installer no check stands that this can make untrue.

# The installer

Neither switches nor exit codes of the EFT installer are published. [Installer] is therefore a specification, and by
default a person runs it. A silent run is started at most once per node and journal: the node itself claims the run
before it starts anything. Where the answer to the start is lost, its trace is looked for during Installer.Settle;
after that the claim is taken, so that a start that comes later does nothing, and the run can be started again. A start
that nothing came of in time takes the claim itself. It is judged by file version, uninstall entry and service; the
exit code proves nothing in either direction. A bad one stops the run where the node does not have the new version;
once a person has finished the work by hand, the next run goes on. An installer that takes too long is never killed.
A silent run has ended when every program that it started has, by two looks a second. What it has a service or a scheduled
task start for it is not seen; there Installer.Mode should be ModeByOperator. Nothing says whose a pending reboot is: one
that was pending before the installation is asked for, too.

On Windows the installer is an .exe: a .cmd or .bat would read its arguments a second time, and a .msi is an argument of
msiexec.exe.

# The comparison of settings

What is compared are the documents of [DefaultSettings], with what belongs to each object. Below a name that sounds like a
secret texts are not kept, and only their being there is compared; switches and numbers are. What the server does not have
is named beside the result. The formats that the server writes itself, counters and times are left out.

# Order and time

The order of the nodes is the vendor's and no option: the passive one first in Upgrade, the active one first in
UpgradeShared; the plan names it. Every node must be up, which nobody can waive. A harmless change is tried
Options.Attempts times on each node, the installer and the moves once. Installer.WarnAfter and StopAfter limit the
installer, which takes most of the time; closing failover.RunOptions.Stop ends a whole run before its next step.

# Limits

There are exactly two nodes. HA (active-active) installations are refused. The ARM database is not touched: put its
backup into Options.Before. Configuration and program on a shared disk are not copied together, so UpgradeShared has no
rollback. Rights of files are not in the backup, and links are refused: they lead to what is there later. A backup made while the service runs can miss changes that EFT writes at shutdown (documented); make EFT's own
backup too, in Options.Before, when the last minute matters. Branding under web\custom is per node and not touched.

# Steps of Upgrade

 1. check/reachable: each node answers at its own address and says its own name (check)
 2. check/quorum: the cluster has quorum and its witness is up (check)
 3. check/nodes: every node is up, none is kept out or draining (check)
 4. check/group: the group is up on exactly one node and free to move (check)
 5. check/target: the target can take every member of the group (check)
 6. check/disks: every disk the group needs is part of it and of its dependencies (check)
 7. check/maintenance: no member is in maintenance (check)
 8. check/backup: no backup of the cluster is in progress (check)
 9. check/stop-time: the cluster gives the service the time it needs to stop (check)
 10. check/reboot: no node waits for a reboot (check)
 11. check/build: all nodes run the same build (check)
 12. check/owner: the active node owns the group and the other one does not (check) [A3]
 13. check/other-nodes: both nodes are up, and no other node could take the group (check)
 14. check/installed: each node has the product once (check)
 15. check/service: the service runs on the active node and nowhere else (check)
 16. check/service-group: one group runs the service, and it is this one (check)
 17. check/mode: EFT is not its own cluster manager (check)
 18. check/versions: the new version is newer than what is installed (check)
 19. check/files: no other file lies where the installer goes (check) [A1]
 20. check/busy: no installer runs and no administration interface is open (check)
 21. check/space: there is room for installer and backup (check)
 22. check/account: the password of the service account is at hand (check)
 23. check/settings: the running server tells its settings and its version (check)
 24. prepare/facts: remember how EFT Server is installed on each node (change)
 25. prepare/settings: remember the settings, to compare them afterwards (change) [A7.1]
 26. prepare/remember: remember the owner and the failback setting (change)
 27. prepare/clear: remove a move request that an earlier run of ours left (change)
 28. prepare/failback: keep the group from going home by itself (change)
 29. stage/passive: bring the installer to the passive node (change) [A1]
 30. stage/active: bring the installer to the active node (change) [A1]
 31. stage/compare: the same installer lies on both nodes and is the right one (check) [A1]
 32. backup/copy: back up the configuration directory on the node that has the shared disk (change) [A2]
 33. backup/verify: read the backup again and compare it with its manifest (change) [A2]
 34. passive/guard: make the service on the passive node unstartable during the installation (change)
 35. passive/ready: the cluster does not run the service on the passive node, and it cannot start there (check)
 36. passive/install: run the installer on the passive node, Repair (once) [A4]
 37. passive/stop: see the service stopped on the passive node, and stop it if the installer started it (change)
 38. passive/reboot: reboot the passive node if the installer asks for it (manual)
 39. passive/no-clean-config: no empty configuration appeared on the passive node's own disk (check)
 40. passive/service: put account and start mode of the service on the passive node back as they were (change)
 41. passive/verify: see the new version complete on the passive node, the service stopped, account and start mode as before (check)
 42. quiesce/wait: wait until nobody is connected (check)
 43. rename/resource: let the cluster resource start the service by its present name (change)
 44. move/move: move the group to the passive node (once) [A5]
 45. move/clear: remove the move request (change)
 46. online/group: see the group online on the passive node (change) [A5]
 47. arrived/verify: see the group stay up on the node with all its members (check)
 48. moved/service: see the service run on the passive node and nowhere else (check)
 49. moved/version: see the running server tell the new version on the passive node (check)
 50. moved/settings: see the settings as they were on the passive node (check)
 51. moved/licence: see the licences as they were on the passive node (check)
 52. active/guard: make the service on the active node unstartable during the installation (change)
 53. active/ready: the cluster does not run the service on the active node, and it cannot start there (check)
 54. active/install: run the installer on the active node, Repair; afterwards no node carries the old version (once) [A6]
 55. active/stop: see the service stopped on the active node, and stop it if the installer started it (change)
 56. active/reboot: reboot the active node if the installer asks for it (manual)
 57. active/no-clean-config: no empty configuration appeared on the active node's own disk (check)
 58. active/service: put account and start mode of the service on the active node back as they were (change)
 59. active/verify: see the new version complete on the active node, the service stopped, account and start mode as before (check)
 60. upgraded/service: see the service run on the passive node and nowhere else (check)
 61. upgraded/version: see the running server tell the new version on the passive node (check) [A7.1]
 62. upgraded/settings: see the settings as they were on the passive node (check) [A7.1]
 63. upgraded/licence: see the licences as they were on the passive node (check)
 64. back/move: move the group back to the node it came from (once) [A7.2]
 65. back/clear: remove the move request (change)
 66. returned/verify: see the group stay up on the node with all its members (check)
 67. home/service: see the service run on the active node and nowhere else (check)
 68. home/version: see the running server tell the new version on the active node (check) [A7.2]
 69. home/settings: see the settings as they were on the active node (check) [A7.2]
 70. home/licence: see the licences as they were on the active node (check)
 71. finish/failback: put the failback setting back as it was (change)
 72. finish/verify: see the group stay where it belongs without the guard (check)
 73. consoles/ADMIN-PC: upgrade the administration interface on ADMIN-PC (manual) [A8]

# Steps of UpgradeShared

 1. check/reachable: each node answers at its own address and says its own name (check)
 2. check/quorum: the cluster has quorum and its witness is up (check)
 3. check/nodes: every node is up, none is kept out or draining (check)
 4. check/group: the group is up on exactly one node and free to move (check)
 5. check/target: the target can take every member of the group (check)
 6. check/disks: every disk the group needs is part of it and of its dependencies (check)
 7. check/maintenance: no member is in maintenance (check)
 8. check/backup: no backup of the cluster is in progress (check)
 9. check/stop-time: the cluster gives the service the time it needs to stop (check)
 10. check/reboot: no node waits for a reboot (check)
 11. check/build: all nodes run the same build (check)
 12. check/owner: the active node owns the group and the other one does not (check) [B4]
 13. check/other-nodes: both nodes are up, and no other node could take the group (check)
 14. check/installed: each node has the product once (check)
 15. check/service: the service runs on the active node and nowhere else (check)
 16. check/service-group: one group runs the service, and it is this one (check)
 17. check/mode: EFT is not its own cluster manager (check)
 18. check/versions: the new version is newer than what is installed (check)
 19. check/files: no other file lies where the installer goes (check) [B1]
 20. check/busy: no installer runs and no administration interface is open (check)
 21. check/space: there is room for installer and backup (check)
 22. check/account: the password of the service account is at hand (check)
 23. check/settings: the running server tells its settings and its version (check)
 24. prepare/facts: remember how EFT Server is installed on each node (change)
 25. prepare/settings: remember the settings, to compare them afterwards (change) [B9.1]
 26. prepare/remember: remember the owner and the failback setting (change)
 27. prepare/clear: remove a move request that an earlier run of ours left (change)
 28. prepare/failback: keep the group from going home by itself (change)
 29. stage/passive: bring the installer to the passive node (change) [B1]
 30. stage/active: bring the installer to the active node (change) [B1]
 31. stage/compare: the same installer lies on both nodes and is the right one (check) [B1]
 32. backup/copy: back up the configuration directory on the node that has the shared disk (change) [B2]
 33. backup/verify: read the backup again and compare it with its manifest (change) [B2]
 34. quiesce/wait: wait until nobody is connected (check)
 35. offline/group: take the group offline (change) [B3]
 36. offline/active: the active node still owns the group (check) [B4]
 37. active/disk-online: bring the shared disk alone online on the active node (change)
 38. active/guard: make the service on the active node unstartable during the installation (change)
 39. active/ready: the cluster does not run the service on the active node, and it cannot start there (check)
 40. active/install: run the installer on the active node, Repair (once) [B5]
 41. active/stop: see the service stopped on the active node, and stop it if the installer started it (change)
 42. active/reboot: reboot the active node if the installer asks for it (manual)
 43. active/no-clean-config: no empty configuration appeared on the active node's own disk (check)
 44. active/service: put account and start mode of the service on the active node back as they were (change)
 45. active/verify: see the new version complete on the active node, the service stopped, account and start mode as before (check)
 46. active/disk-offline: take the shared disk offline again on the active node (change)
 47. active/down: the group is offline as a whole (check)
 48. move/move: move the group to the passive node (once) [B6]
 49. move/clear: remove the move request (change)
 50. passive/disk-online: bring the shared disk alone online on the passive node (change)
 51. passive/guard: make the service on the passive node unstartable during the installation (change)
 52. passive/ready: the cluster does not run the service on the passive node, and it cannot start there (check)
 53. passive/install: run the installer on the passive node, Repair; afterwards no node carries the old version (once) [B7]
 54. passive/stop: see the service stopped on the passive node, and stop it if the installer started it (change)
 55. passive/reboot: reboot the passive node if the installer asks for it (manual)
 56. passive/no-clean-config: no empty configuration appeared on the passive node's own disk (check)
 57. passive/service: put account and start mode of the service on the passive node back as they were (change)
 58. passive/verify: see the new version complete on the passive node, the service stopped, account and start mode as before (check)
 59. rename/resource: let the cluster resource start the service by its present name (change)
 60. online/group: bring the group online on the passive node (change) [B8]
 61. arrived/verify: see the group stay up on the node with all its members (check)
 62. upgraded/service: see the service run on the passive node and nowhere else (check)
 63. upgraded/version: see the running server tell the new version on the passive node (check) [B9.1]
 64. upgraded/settings: see the settings as they were on the passive node (check) [B9.1]
 65. upgraded/licence: see the licences as they were on the passive node (check)
 66. back/move: move the group back to the node it came from (once) [B9.2]
 67. back/clear: remove the move request (change)
 68. returned/verify: see the group stay up on the node with all its members (check)
 69. home/service: see the service run on the active node and nowhere else (check)
 70. home/version: see the running server tell the new version on the active node (check) [B9.2]
 71. home/settings: see the settings as they were on the active node (check) [B9.2]
 72. home/licence: see the licences as they were on the active node (check)
 73. finish/failback: put the failback setting back as it was (change)
 74. finish/verify: see the group stay where it belongs without the guard (check)
 75. consoles/ADMIN-PC: upgrade the administration interface on ADMIN-PC (manual) [B10]

# Steps of Rollback

 1. check/old-version: one node still carries the old version (check)
 2. check/busy: no installer runs and no administration interface is open (check)
 3. check/backup: read the backup again and see that it is the one that was made (change)
 4. prepare/facts: remember how EFT Server is installed on each node (change)
 5. prepare/where: remember whether the old version serves (change)
 6. prepare/remember: remember the owner and the failback setting (change)
 7. prepare/clear: remove a move request that an earlier run of ours left (change)
 8. prepare/failback: keep the group from going home by itself (change)
 9. offline/group: take the group offline (change)
 10. offline/guard: make the new version's service on the passive node unstartable (change)
 11. offline/down: the group is offline as a whole (check)
 12. move/move: move the group to the active node (once)
 13. move/clear: remove the move request (change)
 14. restore/disk-online: bring the shared disk alone online on the active node (change)
 15. restore/config: put the configuration back as it was backed up; what was changed since is lost (change)
 16. restore/start-mode: let the cluster start the service on the active node (change)
 17. rename/resource: let the cluster resource start the service by its present name (change)
 18. online/group: bring the group online on the active node (change)
 19. arrived/verify: see the group stay up on the node with all its members (check)
 20. verify/service: see the service run on the active node and nowhere else (check)
 21. verify/version: see the running server tell the old version (check)
 22. finish/failback: put the failback setting back as it was (change)
 23. finish/verify: see the group stay where it belongs without the guard (check)

quiesce/wait is there only when Options.Quiesce asks for it; prepare/settings and the version and licence checks only with
an Admin; a consoles step stands for each of Options.Consoles, as a check where its version can be read. Options.Before comes before the first change,
Options.After after the last step.
*/
package eft
