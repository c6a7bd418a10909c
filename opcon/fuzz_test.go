package opcon

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzEditRecord: whatever the record holds, only the two address fields change, and every other byte stays.
func FuzzEditRecord(f *testing.F) {
	f.Add(`{"id":12,"type":{"id":6},"tcpIpAddress":"<Default>","fullyQualifiedDomainName":"a"}`, "b")
	f.Add(`{"x":[ 1.0,{"tcpIpAddress":"inner"}],"TcpIpAddress" : null ,"fullyQualifiedDomainName":"\u003c","type":{}}`,
		"<x>&\"")
	f.Add(`{"type":null,"tcpIpAddress":"1","fullyQualifiedDomainName":"2"}`, "c")
	f.Fuzz(func(t *testing.T, record, address string) {
		if !utf8.ValidString(address) {
			return
		}
		out, err := editRecord(json.RawMessage(record), Address{FQDN: address, IP: unset})
		if err != nil {
			return
		}
		before, err := fieldsOf(json.RawMessage(record))
		if err != nil {
			t.Fatal(err)
		}
		after, err := fieldsOf(out)
		if err != nil || len(after) != len(before) {
			t.Fatalf("%d fields became %d: %v", len(before), len(after), err)
		}
		var rest, kept []byte
		at, from := 0, 0
		for i, b := range before {
			a := after[i]
			switch strings.ToLower(b.name) {
			case "tcpipaddress", "fullyqualifieddomainname":
				var got string
				if json.Unmarshal(out[a.from:a.to], &got) != nil || (got != address && got != unset) {
					t.Fatalf("%s is %s", a.name, out[a.from:a.to])
				}
			default:
				if !bytes.Equal([]byte(record)[b.from:b.to], out[a.from:a.to]) {
					t.Fatalf("%s changed", b.name)
				}
				continue
			}
			rest, kept = append(rest, record[at:b.from]...), append(kept, out[from:a.from]...)
			at, from = b.to, a.to
		}
		rest, kept = append(rest, record[at:]...), append(kept, out[from:]...)
		if !bytes.Equal(rest, kept) {
			t.Fatalf("bytes around the fields changed:\n%s\n%s", rest, kept)
		}
	})
}

// FuzzAnswers: no answer of the server, however odd, panics or grows an error without limit.
func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"", "null", "[]", "[null]", "{}", `[{"code":"x","ids":[{}]}]`, `{"title":1}`, "<html>",
		"\x00\xff", `{"status":{"state":"U"},"id":"7"}`,
		`{"id":1e400}`, `{"schedule":[],"steps":[{"name":1}],"alternateMachine":"X"}`,
		`2026-08-22T08:00:00.1234567-05:00[America/Chicago]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c := &Client{}
		if e := c.apiError(500, body); len(e.Message) > maxMessage+4 {
			t.Fatalf("message of %d bytes", len(e.Message))
		}
		if m, err := readMachine(body); err == nil && m.ID <= 0 {
			t.Fatal("a machine without an id")
		}
		s, _ := readSchedule(body)
		_ = s.String()
		j, _ := readJob(body)
		_, _ = j.JustSent(), j.mayRunOn(Machine{Name: "X"}, nil)
		_ = rowID(body)
		if d, ok := parseDate(string(body)); ok && len(d) != 10 {
			t.Fatalf("date %q", d)
		}
		_, _ = parseTime(string(body))
	})
}
