// Package efttest simulates EFT Server on the two nodes of a failover cluster, for tests of upgrade tools and for
// drills.
//
// [World] is the modelled pair: the cluster of package clustertest, and on it two installations with service, program,
// uninstall entry and configuration. Its nodes implement eft.Node and its Admin implements eft.Admin, in memory.
// [World.ServeREST] puts the same settings behind the REST administration API over TLS.
//
// The installer is as nasty as the real ones: it starts the service, resets account and start mode, renames the
// service, asks for a reboot, hangs, dies, or leaves a half-installed node. [Faults] lists what can be armed. An
// installer comes one step further each time its run is read, so tests need no waiting.
//
// The state lives in a directory, so that the driver of a procedure can be killed and another process can go on.
// Counters tell how often the installer really ran on each node and whether both services ever ran together.
package efttest
