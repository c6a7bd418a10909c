// Package badinput holds the one error that every reader of files in this module returns: which file, which line,
// which field, and why it was refused.
package badinput

import (
	"strconv"

	failover "github.com/01b61c5c/failover"
)

// Error says where a file was refused and why. It is failover.ErrInvalid and always NotApplied: files are read to
// their end before anything is written.
type Error struct {
	File   string // as the caller named it; may be empty
	Line   int    // 1 is the first line; 0 when the whole file is meant
	Field  string // attribute, element or header the reason is about
	Reason string // what is wrong and, where one rule decides it, what would be right
}

// Error returns "file:line: field: reason".
func (e *Error) Error() string {
	text := e.File
	if text == "" {
		text = "input"
	}
	if e.Line > 0 {
		text += ":" + strconv.Itoa(e.Line)
	}
	if e.Field != "" {
		text += ": " + e.Field
	}
	return text + ": " + e.Reason
}

// Is makes errors.Is(err, failover.ErrInvalid) hold.
func (e *Error) Is(target error) bool { return target == failover.ErrInvalid }
