package remote

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
)

// Stream tells which output of a command a line came from.
type Stream int

// The two outputs of a command.
const (
	StreamStdout Stream = iota + 1
	StreamStderr
)

// String returns "stdout" or "stderr".
func (s Stream) String() string {
	switch s {
	case StreamStdout:
		return "stdout"
	case StreamStderr:
		return "stderr"
	}
	return "stream"
}

// maxLineLength bounds what is kept of a line that does not end.
const maxLineLength = 64 << 10

// output keeps both streams up to a cap and counts the rest. It never stops reading: an unread stream fills the
// channel's window and then the command blocks.
type output struct {
	mu        sync.Mutex
	limit     int
	onLine    func(Stream, string)
	kept      [2]bytes.Buffer
	partial   [2][]byte
	truncated bool
	closed    bool
	last      time.Time // of the last byte
}

// drain reads r to its end.
func (o *output) drain(stream Stream, r io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			o.add(stream, buf[:n])
		}
		if err != nil {
			o.flush(stream)
			return
		}
	}
}

func (o *output) add(stream Stream, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
	if o.closed {
		return
	}
	kept := &o.kept[stream-1]
	room := o.limit - kept.Len()
	if room < len(p) {
		o.truncated = true
	}
	kept.Write(p[:min(max(room, 0), len(p))])
	if o.onLine == nil {
		return
	}
	part := append(o.partial[stream-1], p...)
	for {
		end := bytes.IndexByte(part, '\n')
		if end < 0 && len(part) <= maxLineLength {
			break
		}
		if end < 0 || end > maxLineLength {
			o.onLine(stream, string(part[:maxLineLength]))
			part = part[maxLineLength:]
			continue
		}
		o.onLine(stream, strings.TrimSuffix(string(part[:end]), "\r"))
		part = part[end+1:]
	}
	o.partial[stream-1] = append([]byte(nil), part...)
}

func (o *output) flush(stream Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if part := o.partial[stream-1]; o.onLine != nil && !o.closed && len(part) > 0 {
		o.onLine(stream, strings.TrimSuffix(string(part), "\r"))
	}
	o.partial[stream-1] = nil
}

func (o *output) lastByte() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// seal ends the recording: no callback runs afterwards, and what was kept belongs to the caller.
func (o *output) seal(res *Result) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	res.Stdout, res.Stderr, res.Truncated = o.kept[0].Bytes(), o.kept[1].Bytes(), o.truncated
}
