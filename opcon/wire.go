package opcon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names in the vendor's OpenAPI document are not always those on the wire, and case differs between releases
// (seen in client code). object is a JSON object read by whatever spelling is there.
type object map[string]json.RawMessage

func readObject(raw json.RawMessage) object {
	var in map[string]json.RawMessage
	if json.Unmarshal(raw, &in) != nil {
		return nil
	}
	o := make(object, len(in))
	for k, v := range in {
		o[strings.ToLower(k)] = v
	}
	return o
}

// get returns the first of the spellings that is present and not null.
func (o object) get(names ...string) json.RawMessage {
	for _, n := range names {
		if v, ok := o[strings.ToLower(n)]; ok && !bytes.Equal(bytes.TrimSpace(v), []byte("null")) {
			return v
		}
	}
	return nil
}

func (o object) text(names ...string) string { return rawText(o.get(names...)) }

// number returns a whole number, and 0 where it is absent. One that is there and cannot be read becomes *bad: a wrong
// id or count is worse than none.
func (o object) number(bad *error, names ...string) int64 {
	raw := o.get(names...)
	if raw == nil {
		return 0
	}
	text := strings.TrimSpace(rawText(raw))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	f, err := strconv.ParseFloat(text, 64) // 12.0 and 1.2e1 are whole numbers too
	if err == nil && math.Abs(f) <= 1<<53 && f == math.Trunc(f) {
		return int64(f)
	}
	*bad = cmp.Or(*bad, fmt.Errorf("the number %s in field %s cannot be read", shorten(string(raw), 40), names[0]))
	return 0
}

// date returns a date, and "" where it is absent. One that is there and cannot be read becomes *bad.
func (o object) date(bad *error, names ...string) Date {
	text := o.text(names...)
	d, ok := parseDate(text)
	if !ok && strings.TrimSpace(text) != "" {
		*bad = cmp.Or(*bad, fmt.Errorf("the date %q in field %s cannot be read", shorten(text, 40), names[0]))
	}
	return d
}

// rows returns a list within a record; absent is empty, and anything but a list becomes *bad.
func (o object) rows(bad *error, name string) []json.RawMessage {
	raw := o.get(name)
	if raw == nil {
		return nil
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		*bad = cmp.Or(*bad, fmt.Errorf("field %s is not a list", name))
	}
	return list
}

func (o object) truth(name string) bool {
	b, _ := strconv.ParseBool(strings.ToLower(o.text(name)))
	return b
}

func (o object) object(names ...string) object { return readObject(o.get(names...)) }

// rawText returns a JSON string's value, or any other scalar as it is written.
func rawText(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return ""
	}
	return string(raw)
}

var timeLayouts = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04:05.999999999", "2006-01-02",
}

// parseTime reads the server's times: up to seven fraction digits, with or without an offset, sometimes only a date,
// sometimes with a zone name in brackets (seen in client code).
func parseTime(text string) (time.Time, bool) {
	text = strings.TrimSpace(text)
	if cut := strings.IndexByte(text, '['); cut > 0 {
		text = text[:cut]
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// zoned reports whether a time names its offset.
func zoned(text string) bool {
	at := strings.IndexByte(text, 'T')
	return at > 0 && (strings.HasSuffix(text, "Z") || strings.ContainsAny(text[at:], "+-["))
}

// Date is a schedule date, yyyy-MM-dd. It carries no zone.
type Date string

// parseDate accepts a plain date and a time whose date part counts.
func parseDate(text string) (Date, bool) {
	text = strings.TrimSpace(text)
	if len(text) > 10 && (text[10] == 'T' || text[10] == ' ') {
		text = text[:10]
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return "", false
	}
	return Date(text), true
}

// placeOf finds a word among words, by what same says; where it is none of them, *into becomes unknown.
func placeOf[E ~int](words []string, text []byte, into *E, same func(a, b string) bool) error {
	*into = E(max(0, slices.IndexFunc(words, func(w string) bool { return same(w, string(text)) })))
	return nil
}

// sameName compares names as OpCon does: case and surrounding blanks do not count (inferred).
func sameName(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
