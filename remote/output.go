package remote

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
)

// maxLineLength bounds what is kept of a line that does not end.
const maxLineLength = 64 << 10

// The outputs of a command.
const (
	stdout = iota
	stderr
)

// output keeps both streams up to a cap and counts the rest. It never stops reading: an unread stream fills the
// channel's window and then the command blocks.
type output struct {
	mu        sync.Mutex
	limit     int
	onLine    func(string)
	kept      [2]bytes.Buffer
	partial   [2][]byte
	truncated bool
	closed    bool
	last      time.Time // of the last byte
}

func (o *output) drain(stream int, r io.Reader) {
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

func (o *output) add(stream int, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = time.Now()
	if o.closed {
		return
	}
	kept := &o.kept[stream]
	room := o.limit - kept.Len()
	if room < len(p) {
		o.truncated = true
	}
	kept.Write(p[:min(max(room, 0), len(p))])
	if o.onLine == nil {
		return
	}
	part := append(o.partial[stream], p...)
	for {
		end := bytes.IndexByte(part, '\n')
		if end < 0 && len(part) <= maxLineLength {
			break
		}
		if end < 0 || end > maxLineLength {
			o.onLine(string(part[:maxLineLength]))
			part = part[maxLineLength:]
			continue
		}
		o.onLine(strings.TrimSuffix(string(part[:end]), "\r"))
		part = part[end+1:]
	}
	o.partial[stream] = append([]byte(nil), part...)
}

func (o *output) flush(stream int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if part := o.partial[stream]; o.onLine != nil && !o.closed && len(part) > 0 {
		o.onLine(strings.TrimSuffix(string(part), "\r"))
	}
	o.partial[stream] = nil
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
	res.Stdout, res.Stderr, res.Truncated = o.kept[stdout].Bytes(), o.kept[stderr].Bytes(), o.truncated
}
