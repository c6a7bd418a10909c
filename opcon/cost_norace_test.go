//go:build !race

package opcon_test

// jobsPerSchedule times 20 schedules is 12,000.
const jobsPerSchedule = 600
