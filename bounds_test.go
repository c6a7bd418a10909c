//go:build !race

package failover_test

// exploreDisturbances is what takes less than a minute.
const exploreDisturbances = 3

// defaultKills is how often TestKillAtRandomInstants kills a process.
const defaultKills = 2000
