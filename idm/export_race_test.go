//go:build race

package idm_test

// raceDetector makes everything ten times slower; tests of size then take a smaller size.
const raceDetector = true
