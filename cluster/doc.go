// Package cluster moves groups between the nodes of a failover cluster, Windows or Pacemaker, and knows when a move
// is over.
package cluster
