package idm_test

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

// Many small trees come and go: collecting less often saves a fifth of the time.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	goleak.VerifyTestMain(m)
}
