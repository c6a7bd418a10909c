package symitar

import (
	"strconv"
	"strings"
	"unicode"
)

// visible shows the text of another machine without letting it act on a screen: control, format and line characters,
// which move the cursor, turn text round or hide it, are written out.
func visible(text string) string {
	text = strings.ToValidUTF8(text, "?")
	hidden := func(r rune) bool {
		return r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	}
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
