//go:build race

package failover_test

// exploreDisturbances is smaller with the race detector, which makes everything ten times slower; make test explores
// further without.
const exploreDisturbances = 2

// defaultKills is smaller too: a process with the race detector takes long to begin.
const defaultKills = 200
