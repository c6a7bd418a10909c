package remotetest

import (
	"context"
	"io"
)

// Handler runs one command line. ctx ends when the server closes, not when the client's line drops: a command
// outlives its line, as with a real server.
type Handler func(ctx context.Context, cmd *Command) Ending

// Command is one exec request.
type Command struct {
	Line   string
	User   string
	Stdin  io.Reader // ends when the client closes it or the line drops
	Stdout io.Writer // writes fail when the line dropped
	Stderr io.Writer
}

// Ending is how a command ends on the wire.
type Ending struct {
	kind    endingKind
	code    int
	signal  string
	streams <-chan struct{}
}

type endingKind int

const (
	endExit endingKind = iota
	endSignal
	endNoStatus
	endDrop
	endHang
)

// Exit ends with an exit status.
func Exit(code int) Ending { return Ending{kind: endExit, code: code} }

// ExitOpen sends the exit status at once and keeps the streams open until streams closes, as a background process
// does that holds standard output.
func ExitOpen(code int, streams <-chan struct{}) Ending {
	return Ending{kind: endExit, code: code, streams: streams}
}

// Signalled ends by a signal, named without SIG.
func Signalled(name string) Ending { return Ending{kind: endSignal, signal: name} }

// NoStatus closes the channel without telling how the command ended.
func NoStatus() Ending { return Ending{kind: endNoStatus} }

// Drop cuts the TCP connection.
func Drop() Ending { return Ending{kind: endDrop} }

// Hang never ends: the command stays as it is until the line or the server closes.
func Hang() Ending { return Ending{kind: endHang} }
