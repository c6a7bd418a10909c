package runbook

import "io/fs"

const openFlags = 0

// foreign is not looked at: the access list of a file is the administrator's.
func foreign(fs.FileInfo) bool { return false }
