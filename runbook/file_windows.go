package runbook

import "io/fs"

// foreign is not looked at: the access list of a file is the administrator's.
func foreign(fs.FileInfo) bool { return false }
