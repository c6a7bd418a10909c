// Package scripts holds what package eft runs on the nodes: files an administrator can read and run alone.
package scripts

import _ "embed"

// The shell scripts, for a POSIX node.
var (
	//go:embed facts.sh
	FactsSh string
	//go:embed file.sh
	FileSh string
	//go:embed space.sh
	SpaceSh string
	//go:embed start.sh
	StartSh string
	//go:embed run.sh
	RunSh string
	//go:embed backup.sh
	BackupSh string
	//go:embed manifest.sh
	ManifestSh string
	//go:embed restore.sh
	RestoreSh string
)

// The PowerShell scripts, for a Windows node.
var (
	//go:embed facts.ps1
	Facts string
	//go:embed file.ps1
	File string
	//go:embed space.ps1
	Space string
	//go:embed fetch.ps1
	Fetch string
	//go:embed start.ps1
	Start string
	//go:embed runner.ps1
	Runner string
	//go:embed run.ps1
	Run string
	//go:embed service.ps1
	Service string
	//go:embed backup.ps1
	Backup string
	//go:embed manifest.ps1
	Manifest string
	//go:embed restore.ps1
	Restore string
)
