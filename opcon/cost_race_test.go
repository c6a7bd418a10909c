//go:build race

package opcon_test

// jobsPerSchedule is small where the race detector makes everything slow; the bounds on the requests are the same.
const jobsPerSchedule = 60
