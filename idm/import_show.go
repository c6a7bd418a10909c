package idm

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (d delta) describe() string {
	switch {
	case d.missing != nil:
		return "adds " + showValues(d.missing, d.perServer)
	case d.want == nil:
		return showValues(d.have, d.perServer)
	case d.have == nil:
		return showValues(d.want, d.perServer)
	case len(d.want) == 1 && len(d.have) == 1:
		return showChange(d.have[0], d.want[0], d.perServer)
	}
	return showValues(d.have, d.perServer) + " → " + showValues(d.want, d.perServer)
}

const showMost = 100

// secretReach is how many lines above a line tell what it is about, unless it stands in a setting or an action that begins
// further up.
const secretReach = 3

// about returns the first of the lines that tell what line i is about.
func about(lines [][]byte, i int) int {
	at := min(i, len(lines)-1)
	for at > 0 && !bytes.Contains(lines[at], []byte("<definition")) && !bytes.Contains(lines[at], []byte("<do-")) {
		at--
	}
	return max(0, min(at, i-secretReach))
}

func isText(v []byte) bool {
	return utf8.Valid(v) && !bytes.ContainsFunc(v,
		func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' })
}

func showValue(v []byte, settings bool) string {
	if isText(v) && len(v) <= showMost && !bytes.ContainsAny(v, "\r\n") && !tellsSecret(v, settings) {
		return strconv.Quote(string(v))
	}
	sum := sha256.Sum256(v)
	return fmt.Sprintf("%d bytes (sha256 %x…)", len(v), sum[:4])
}

func showValues(values [][]byte, settings bool) string {
	if len(values) == 1 {
		return showValue(values[0], settings)
	}
	var shown []string
	for _, v := range values[:min(len(values), 5)] {
		shown = append(shown, showValue(v, settings))
	}
	if len(values) > 5 {
		shown = append(shown, fmt.Sprintf("… %d values", len(values)))
	}
	return "[" + strings.Join(shown, ", ") + "]"
}

// tellsSecret reports whether a line may hold a password: shims exist that keep one in their settings, and policies
// that carry one. "token" and "key" tell a secret in settings only: every second line of a policy has such words.
func tellsSecret(line []byte, settings bool) bool {
	text := strings.ToLower(string(line))
	return slices.ContainsFunc([]string{"pass", "pwd", "secret", "credential"},
		func(word string) bool { return strings.Contains(text, word) }) ||
		settings && (strings.Contains(text, "token") || strings.Contains(text, "key"))
}

// showChange names the first line that differs of values too long to show, unless it may hold a secret.
func showChange(have, want []byte, settings bool) string {
	text := showValue(have, settings) + " → " + showValue(want, settings)
	if !isText(have) || !isText(want) || len(have) <= showMost && len(want) <= showMost &&
		!bytes.ContainsAny(have, "\n") && !bytes.ContainsAny(want, "\n") {
		return text
	}
	a, b := bytes.Split(have, []byte("\n")), bytes.Split(want, []byte("\n"))
	i := 0
	for i < len(a) && i < len(b) && bytes.Equal(a[i], b[i]) {
		i++
	}
	if i == len(a) && i == len(b) {
		return text
	}
	// The word may stand in an element above, as in <definition name="password"> and a line later its <value>.
	near := slices.Concat(a[about(a, i):min(i+1, len(a))], b[i:min(i+1, len(b))])
	if slices.ContainsFunc(near, func(line []byte) bool { return tellsSecret(line, settings) }) {
		return fmt.Sprintf("%s, line %d (not shown: it may hold a secret)", text, i+1)
	}
	x, y := append(a, nil)[i], append(b, nil)[i] // nothing, behind the end
	return fmt.Sprintf("%s, line %d: %s → %s", text, i+1, around(x, y), around(y, x))
}

// around quotes the part of a line where it begins to differ from the other.
func around(line, other []byte) string {
	at := 0
	for at < len(line) && at < len(other) && line[at] == other[at] {
		at++
	}
	from := max(0, at-showMost/4)
	text := clipText(string(line[from:]), showMost/2)
	if from > 0 {
		text = "…" + text
	}
	return strconv.Quote(text)
}
