// Package remotetest is an SSH server on 127.0.0.1 for simulators and tests, in the manner of net/http/httptest.
//
// It speaks the real protocol, runs what a [Handler] tells it to, records what it was asked, and fails on demand:
// see [Fault] and [Ending]. [Shell] is a Handler that runs the command lines with a real shell in a folder of its own.
package remotetest
