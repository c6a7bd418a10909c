//go:build !race

package idm_test

const raceDetector = false
