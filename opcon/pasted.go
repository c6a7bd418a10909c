package opcon

import (
	"strings"

	"github.com/01b61c5c/failover"
)

// Texts that a person pastes come as other programs show them. What is certain to be packing is taken off; anything
// else that cannot be right is refused by its name.

// cleanToken takes a token out of what the vendor's tools and scripts write: "Token <id>", the whole header line,
// quotes, line ends, a byte order mark.
func cleanToken(text string) (string, error) {
	text = unquote(text)
	if n := len("authorization:"); len(text) > n && strings.EqualFold(text[:n], "authorization:") {
		text = unquote(text[n:])
	}
	if n := len("token"); len(text) >= n && strings.EqualFold(text[:n], "token") &&
		(len(text) == n || text[n] == ' ' || text[n] == '\t') {
		text = unquote(text[n:])
	}
	switch {
	case text == "":
		return "", failover.Invalid("token", "is empty", "give the token's id alone")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", failover.Invalid("token", "holds blanks or characters that no token has",
			"give the token's id alone, on one line")
	}
	return text, nil
}

// cleanPassword takes off what an editor adds to a file with one line.
func cleanPassword(text string) string {
	return strings.TrimRight(strings.TrimPrefix(text, "\ufeff"), "\r\n")
}

// unquote takes off white space, a byte order mark and one pair of quotes.
func unquote(text string) string {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "\ufeff"))
	if n := len(text); n >= 2 && (text[0] == '"' || text[0] == '\'') && text[n-1] == text[0] {
		text = strings.TrimSpace(text[1 : n-1])
	}
	return text
}
