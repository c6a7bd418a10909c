package main

import "github.com/01b61c5c/failover/eft/efttest"

// scenarios lists every procedure there is, in the order they are played.
func scenarios() []scenario {
	return []scenario{swap(), takeOver(), drivers(), transfer(), upgrade("eft", efttest.LayoutLocal),
		upgrade("eft-shared", efttest.LayoutShared), site()}
}
