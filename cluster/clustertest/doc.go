// Package clustertest simulates a failover cluster, for tests of tools that move groups and for drills.
//
// [Sim] is the modelled cluster: nodes, groups with their resources, the operating-system services that the resources
// run, marks, standing move requests. It is as nasty as the real ones: groups stay pending, fail on the target, come
// up in part, go back, land elsewhere, are locked or queued; replies get lost after the effect or before it. [Faults]
// lists what can be armed.
//
// Time passes by readings, not by a clock: a group that is changing comes one step further each time it is read. Tests
// so need no waiting and see the same sequence every time.
//
// [Sim.Cluster] puts the model behind the cluster.Cluster interface in memory. [Sim.ServeWindows] puts it behind SSH
// servers on 127.0.0.1 that stand for Windows nodes: they accept exactly the scripts this module embeds, run them
// against the model and refuse everything else.
//
// A Sim made by [Open] keeps its state in a directory, so that the driver of a procedure can be killed and another
// process can go on; a Sim made by [New] lives in memory. Both record every request and count what must not happen
// twice.
package clustertest
