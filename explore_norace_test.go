//go:build !race

package failover_test

// exploreDisturbances is what takes less than a minute.
const exploreDisturbances = 3
