package failover

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how many bytes a name may have that a journal, a flag or a message refers to.
const maxName = 200

// Printable returns text as it may stand on a line of a terminal, a ticket or a page: control and format characters,
// line and paragraph separators and bytes that are not UTF-8 are written as escapes, for example \x1b or \u202e. What
// another system said can then not repaint a screen, forge a row or hide a word. A line break becomes \n: split the
// text first where its lines are wanted.
func Printable(text string) string {
	clean := true
	for i, r := range text {
		if !printable(r) || r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
			clean = false
			break
		}
	}
	if clean {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case printable(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(" ")
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		text = text[size:]
	}
	return b.String()
}

// printable reports whether a rune shows itself and nothing else. Format characters are not: they turn the direction of
// text around or hide in it.
func printable(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Z, r) || r == '\u00a0'
}

// escapeJSON makes the runes visible in a JSON document that the encoder leaves as they are. The document says the
// same.
func escapeJSON(doc []byte) []byte {
	var b strings.Builder
	for _, r := range string(doc) {
		switch {
		case r == '\n' || printable(r):
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	return []byte(b.String())
}

// oneLine is Printable with every run of blanks and line breaks as one blank.
func oneLine(text string) string { return Printable(strings.Join(strings.Fields(text), " ")) }

// checkName refuses a name that would not stay the same in a journal, on a command line or in a message.
func checkName(field, name string) error {
	const right = "use letters, digits and signs that show themselves, for example area/verb-object"
	switch {
	case name == "":
		return Invalid(field, "is empty", right)
	case len(name) > maxName:
		return Invalid(field, fmt.Sprintf("has %d bytes, more than %d", len(name), maxName), "choose a shorter name")
	case !utf8.ValidString(name):
		return Invalid(field, fmt.Sprintf("%s is not valid UTF-8", Printable(name)), right)
	case strings.TrimSpace(name) != name:
		return Invalid(field, `"`+Printable(name)+`" begins or ends with a blank`, right)
	}
	for i, r := range name {
		if !printable(r) || r == '\u00a0' || r == utf8.RuneError {
			return Invalid(field, fmt.Sprintf("%s has the character %U at byte %d", Printable(name), r, i), right)
		}
	}
	return nil
}

// jsonText is what text is after it was written to a journal and read back.
func jsonText(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text { // every byte that is not UTF-8 becomes one U+FFFD, as the encoder does it
		b.WriteRune(r)
	}
	return b.String()
}

func quote(s string) string { return `"` + Printable(s) + `"` }
