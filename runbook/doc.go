// Package runbook is what the reference programs share: the verbs of an operator, the strict configuration file,
// the questions on the terminal and the lines of a run.
package runbook
