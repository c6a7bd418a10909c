package idmtest

import (
	"encoding/hex"
	"errors"
	"sort"
	"strings"
	"unicode/utf8"
)

// rdn is one relative name: the text as it was given and the form it is compared in.
type rdn struct {
	text  string
	key   string
	attrs []ava
}

type ava struct{ name, value string }

// dn is a distinguished name, the entry's own part first.
type dn []rdn

var errName = errors.New("not a distinguished name")

// parseDN reads the RFC 4514 form. The empty string is the root.
func parseDN(text string) (dn, error) {
	if !utf8.ValidString(text) {
		return nil, errName
	}
	if strings.Trim(text, " ") == "" {
		return dn{}, nil
	}
	var name dn
	for _, part := range splitUnescaped(text, ",;") {
		r, err := parseRDN(part)
		if err != nil {
			return nil, err
		}
		name = append(name, r)
	}
	return name, nil
}

func parseRDN(text string) (rdn, error) {
	r := rdn{text: strings.TrimLeft(trimmedRight(text), " ")}
	for _, part := range splitUnescaped(text, "+") {
		name, raw, found := strings.Cut(part, "=")
		name = strings.Trim(name, " ")
		if !found || !validAttributeName(name) {
			return rdn{}, errName
		}
		value, err := unescapeValue(raw)
		if err != nil || foldCase(value) == "" {
			return rdn{}, errName
		}
		r.attrs = append(r.attrs, ava{name: name, value: value})
	}
	keys := make([]string, len(r.attrs))
	for i, a := range r.attrs {
		keys[i] = strings.ToLower(a.name) + "=" + escapeValue(foldCase(a.value))
	}
	sort.Strings(keys)
	r.key = strings.Join(keys, "+")
	return r, nil
}

// key is the form two spellings of one name share.
func (n dn) key() string {
	keys := make([]string, len(n))
	for i, r := range n {
		keys[i] = r.key
	}
	return strings.Join(keys, ",")
}

func (n dn) String() string {
	texts := make([]string, len(n))
	for i, r := range n {
		texts[i] = r.text
	}
	return strings.Join(texts, ",")
}

// dnKey normalises text; a text that is no name compares as itself, folded.
func dnKey(text string) string {
	name, err := parseDN(text)
	if err != nil {
		return foldCase(text)
	}
	return name.key()
}

// foldCase is the comparison form of a case-insensitive string: lower case, blanks collapsed.
func foldCase(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

func validAttributeName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'):
		case c >= '0' && c <= '9': // an OID
		default:
			return false
		}
	}
	return true
}

// splitUnescaped cuts at any of the separators that is not escaped.
func splitUnescaped(s, separators string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.IndexByte(separators, s[i]) >= 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// trimmedRight drops trailing blanks unless the last one is escaped.
func trimmedRight(s string) string {
	trimmed := strings.TrimRight(s, " ")
	slashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`))
	if slashes%2 == 1 && len(trimmed) < len(s) {
		return trimmed + " "
	}
	return trimmed
}

func unescapeValue(raw string) (string, error) {
	raw = strings.TrimLeft(trimmedRight(raw), " ")
	if strings.HasPrefix(raw, "#") {
		return "", errName // the BER form of RFC 4514 is not offered by this server
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c != '\\' {
			if strings.IndexByte(`"<>`, c) >= 0 {
				return "", errName
			}
			b.WriteByte(c)
			continue
		}
		if i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]) {
			v, _ := hex.DecodeString(raw[i+1 : i+3])
			b.WriteByte(v[0])
			i += 2
			continue
		}
		if i+1 >= len(raw) {
			return "", errName
		}
		i++
		b.WriteByte(raw[i])
	}
	if !utf8.ValidString(b.String()) {
		return "", errName
	}
	return b.String(), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// escapeValue writes a value so that it can stand in a distinguished name.
func escapeValue(value string) string {
	var b strings.Builder
	for i := range len(value) {
		c := value[i]
		switch {
		case strings.IndexByte(`,+"\<>;=`, c) >= 0,
			c == '#' && i == 0,
			c == ' ' && (i == 0 || i == len(value)-1):
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			b.WriteByte('\\')
			b.WriteString(hex.EncodeToString([]byte{c}))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
