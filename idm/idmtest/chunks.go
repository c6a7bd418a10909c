package idmtest

import (
	"fmt"
	"strings"
	"time"
)

// chunk is a result that waits to be fetched.
type chunk struct {
	data  []byte
	at    int
	until time.Time
}

// maxChunk is the largest piece one GetChunkedResult returns.
const maxChunk = 64512

// keep stores a result for as many minutes as the client asked and returns its handle.
func (k *call) keep(data []byte, minutes int64) int64 {
	now := k.tree.now()
	for h, c := range k.srv.results {
		if c.until.Before(now) {
			delete(k.srv.results, h)
		}
	}
	k.srv.handleSeq++
	k.srv.results[k.srv.handleSeq] = &chunk{data: data,
		until: now.Add(max(time.Duration(minutes)*time.Minute, time.Minute))}
	return k.srv.handleSeq
}

func getChunk(k *call) *result {
	c := k.srv.results[k.args[0].number]
	size := k.args[1].number
	if c == nil || c.until.Before(k.tree.now()) || size <= 0 || size > maxChunk || k.args[2].number != 0 {
		return nds(-641)
	}
	piece := c.data[c.at:min(len(c.data), c.at+int(size))]
	c.at += len(piece)
	return valueOf(newOctets(piece))
}

func closeChunk(k *call) *result {
	if k.srv.results[k.args[0].number] == nil {
		return nds(-641)
	}
	delete(k.srv.results, k.args[0].number)
	return &result{}
}

// OpenResults is how many chunked results of this server have not been closed.
func (s *Server) OpenResults() int {
	s.tree.lock()
	defer s.tree.mu.Unlock()
	return len(s.results)
}

const timeFormat = "20060102150405.000000"

func getStats(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	minutes := k.args[0].number
	if minutes < 0 || minutes > 10 || k.args[1].number < 0 || k.args[1].number > 1 {
		return nds(-641)
	}
	data := []byte(k.stats())
	return valueOf(newInteger(k.keep(data, minutes)), newInteger(int64(len(data))))
}

func (k *call) stats() string {
	var b strings.Builder
	c := k.tree.app(k.n.id).Counters
	size := len(k.d.Cache) * eventBytes
	fmt.Fprintf(&b, `<driver-info driver-dn="%s" server-dn="%s" timestamp="%s">`, xmlText(slashName(k.tree.cfg.Name, k.n)),
		xmlText(slashName(k.tree.cfg.Name, k.tree.find(k.srv.dn))), k.tree.now().UTC().Format(timeFormat))
	fmt.Fprintf(&b, `<subscriber><cache><size>%d</size><unprocessed-size>%d</unprocessed-size><transactions>`, size, size)
	if len(k.d.Cache) > 0 {
		fmt.Fprintf(&b, `<oldest>%s</oldest><newest>%s</newest>`, k.d.Cache[0].At.UTC().Format(timeFormat),
			k.d.Cache[len(k.d.Cache)-1].At.UTC().Format(timeFormat))
	}
	fmt.Fprintf(&b, `</transactions></cache><channel><modify>%d</modify></channel></subscriber><publisher><channel/></publisher></driver-info>`, c.Deliveries)
	return b.String()
}

// slashName is the form traces and statistics print: \TREE\org\set\driver.
func slashName(tree string, n *node) string {
	if n == nil {
		return `\` + tree
	}
	s := ""
	for e := n; e.parent != nil; e = e.parent {
		s = `\` + e.name.attrs[0].value + s
	}
	return `\` + tree + s
}

// viewCache reads the event cache. Asking for too much at once takes the server down, as it did a production server.
func viewCache(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	minutes, position, count, kind := k.args[0].number, k.args[1].number, k.args[2].number, k.args[3].number
	switch {
	case k.d.JustStopped:
		k.d.JustStopped = false
		k.tree.markDriver(k.srv, k.n.id)
		return nds(-641)
	case minutes < 0 || minutes > 10 || position < 0 || count <= 0 || kind != 0 && kind != 2:
		return nds(-641)
	case k.d.State != StateStopped && !k.tree.cfg.CacheReadableWhileRunning:
		return refused(codeOther, "NDS error: driver is running")
	case count > int64(k.tree.cfg.CacheViewLimit):
		k.srv.kill()
		return nds(-641)
	}
	events := k.d.Cache
	if kind == 2 {
		events = k.d.Ahead
	}
	if k.d.Behaviour.View == ViewNothing {
		events = nil
	}
	events = events[min(int64(len(events)), position):min(int64(len(events)), position+count)]
	if len(events) == 0 {
		return valueOf(newInteger(0), newInteger(0), newInteger(position))
	}
	var b strings.Builder
	b.WriteString("<nds dtdversion=\"4.0\"><input>")
	for i, ev := range events {
		if ev.XML != "" {
			b.WriteString(ev.XML)
			continue
		}
		name := `\` + k.tree.cfg.Name
		if n := k.tree.nodes[ev.Object]; n != nil {
			name = slashName(k.tree.cfg.Name, n)
		}
		op := "modify"
		if ev.Resync {
			op = "sync"
		}
		fmt.Fprintf(&b, `<%s cached-time="%s" class-name="User" event-id="%s#%d#%d" src-dn="%s"/>`, op,
			ev.At.UTC().Format(timeFormat), k.srv.name, ev.Event, position+int64(i), xmlText(name))
	}
	b.WriteString("</input></nds>")
	data := []byte(b.String())
	if k.d.Behaviour.View == ViewCut {
		data = data[:len(data)/2]
	}
	size := int64(len(data))
	if k.d.Behaviour.View == ViewLost && position > 0 {
		data = nil
	}
	return valueOf(newInteger(k.keep(data, minutes)), newInteger(size), newInteger(position+int64(len(events))))
}

func deleteCache(k *call) *result {
	if r := k.served(); r != nil {
		return r
	}
	position, count, kind := k.args[0].number, k.args[1].number, k.args[3].number
	if count <= 0 || position < 0 || position >= int64(len(k.d.Cache)) || kind != 1 && kind != 3 ||
		k.d.State != StateStopped {
		return nds(-641)
	}
	if kind == 1 {
		end := min(int64(len(k.d.Cache)), position+count)
		k.d.Cache = append(append([]event(nil), k.d.Cache[:position]...), k.d.Cache[end:]...)
		k.tree.markDriver(k.srv, k.n.id)
	}
	return &result{}
}
