// Package scripts holds what package eft runs on the nodes: files an administrator can read and run alone.
package scripts

import "embed"

//go:embed *.ps1
var files embed.FS

// Text returns the script in the file of that name; "", which nothing runs, when there is none.
func Text(file string) string {
	text, err := files.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}
