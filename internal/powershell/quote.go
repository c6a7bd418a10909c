package powershell

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/01b61c5c/failover"
)

// quotes are the characters PowerShell takes for a single quote (documented: the language specification's
// single-quote-character); inside a single-quoted string each is written twice.
var quotes = strings.NewReplacer("'", "''", "\u2018", "\u2018\u2018", "\u2019", "\u2019\u2019", "\u201a",
	"\u201a\u201a", "\u201b", "\u201b\u201b")

// Quote makes s one single-quoted PowerShell string, for commands that a person is told to type. Scripts of this
// module never hold a value: theirs arrive in the parameter document. Control characters are refused, because what
// a person copies must be one line and show all of itself.
func Quote(s string) (string, error) {
	if strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == unicode.ReplacementChar
	}) {
		return "", failover.Invalid("PowerShell string", fmt.Sprintf("%q holds a control character", s),
			"use a name of printable characters")
	}
	return "'" + quotes.Replace(s) + "'", nil
}
