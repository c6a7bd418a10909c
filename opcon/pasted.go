package opcon

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"github.com/01b61c5c/failover"
)

// Texts that a person pastes come as other programs show them. What is certain to be packing is taken off; anything else
// that cannot be right is refused by its name.

// cleanToken takes a token out of what the vendor's tools and scripts write: "Token <id>", the whole header line, quotes,
// line ends, a byte order mark.
func cleanToken(text string) (string, error) {
	text = unquote(text)
	if n := len("authorization:"); len(text) > n && strings.EqualFold(text[:n], "authorization:") {
		text = unquote(text[n:])
	}
	if n := len("token"); len(text) >= n && strings.EqualFold(text[:n], "token") && (len(text) == n || text[n] == ' ' || text[n] == '\t') {
		text = unquote(text[n:])
	}
	switch {
	case text == "":
		return "", failover.Invalid("token", "is empty", "give the token's id alone")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", failover.Invalid("token", "holds blanks or characters that no token has", "give the token's id alone, on one line")
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

// readFingerprint reads a SHA-256 fingerprint as openssl and Windows show it: with or without a name before it, with
// colons, blanks or dashes, and with the invisible mark that Windows puts before its first digit.
func readFingerprint(text string) ([]byte, error) {
	digits := text
	for _, mark := range []string{"=", "SHA256:", "SHA-256:"} {
		if at := strings.LastIndex(strings.ToUpper(digits), mark); at >= 0 {
			digits = digits[at+len(mark):]
		}
	}
	digits = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`:-"'`, r) {
			return -1
		}
		return r
	}, digits)
	sum, err := hex.DecodeString(digits)
	switch {
	case err == nil && len(sum) == 32:
		return sum, nil
	case err == nil && len(sum) == 20:
		return nil, failover.Invalid("fingerprint", fmt.Sprintf("%q is a SHA-1 thumbprint, which Windows shows by default", text), "give the SHA-256 fingerprint")
	}
	return nil, failover.Invalid("fingerprint", fmt.Sprintf("%q is not a SHA-256 fingerprint", text), "use 64 hexadecimal digits, colons or blanks allowed")
}

// readBase reads the API's address. A path that leads into the API, as a browser shows it, is cut off before it.
func readBase(text string) (*url.URL, error) {
	u, err := url.Parse(unquote(text))
	if err != nil || u.Host == "" {
		return nil, failover.Invalid("baseURL", "is not an absolute address", "use the form https://host:port")
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	for i, p := range parts {
		if strings.EqualFold(p, "api") || strings.EqualFold(p, "api-doc") {
			parts = parts[:i]
			break
		}
	}
	u.Path, u.RawPath = strings.TrimRight("/"+strings.Join(parts, "/"), "/"), ""
	return u, nil
}
