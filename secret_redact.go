package failover

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Redact replaces every occurrence of the given secrets in text, so that transcripts and error texts of other systems
// can be kept: as they are, and as JSON, URLs, base64, hexadecimal, HTML, XML, shells, PowerShell and LDAP write them.
// The longest form goes first. Redact before a text is cut: a part of a secret is not recognised.
func Redact(text string, secrets ...Secret) string {
	known := slices.DeleteFunc(slices.Clone(secrets), Secret.Empty)
	slices.SortStableFunc(known, func(a, b Secret) int { return len(b.Reveal()) - len(a.Reveal()) })
	for _, s := range known {
		for _, form := range s.forms() {
			if strings.Contains(text, form.plain) {
				text = form.pattern.ReplaceAllLiteralString(text, redacted)
			}
		}
	}
	return text
}

// form is one of the ways in which transports write a secret.
type form struct {
	plain   string // the longest part of it that every transport leaves as it is: what is without it is passed fast
	pattern *regexp.Regexp
}

// formsOf is what a secret looks like in the transports that carry it.
func formsOf(secret string) []form {
	var wide []byte // as PowerShell's -EncodedCommand has it
	for _, unit := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	digits := hex.EncodeToString([]byte(secret))
	codes := []string{secret, digits, strings.ToUpper(digits)}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		codes = append(append(codes, aligned(enc, []byte(secret))...), aligned(enc, wide)...)
	}
	slices.SortStableFunc(codes, func(a, b string) int { return len(b) - len(a) })
	var forms []form
	for _, code := range slices.Compact(codes) {
		plain := ""
		for run := range strings.FieldsFuncSeq(code, func(r rune) bool { return !isPlain(r) }) {
			if len(run) > len(plain) {
				plain = run
			}
		}
		f := form{plain, regexp.MustCompile(escaped(code))}
		f.pattern.Longest()
		forms = append(forms, f)
	}
	return forms
}

// isPlain reports whether every transport leaves a sign as it is.
func isPlain(r rune) bool { return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) }

// aligned is what base64 makes of a secret that stands anywhere in a longer text, for example behind the name and the
// colon of a Basic login, without the signs that depend on what stands beside it.
func aligned(enc *base64.Encoding, secret []byte) []string {
	forms := []string{enc.EncodeToString(secret), enc.WithPadding(base64.NoPadding).EncodeToString(secret)}
	for skip := range 3 {
		code := enc.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, skip), secret...))
		from := (skip*8 + 5) / 6
		to := (skip + len(secret)) * 8 / 6
		if to-from >= 4 { // fewer signs would hide words that are no secret
			forms = append(forms, code[from:to])
		}
	}
	return forms
}

// escaped is a pattern for a text in which each sign may be written in any way that some transport has for it.
func escaped(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if isPlain(r) {
			b.WriteRune(r)
		} else {
			b.WriteString("(?:" + strings.Join(ways(r, text[:size]), "|") + ")")
		}
		text = text[size:]
	}
	return b.String()
}

// ways are patterns for one sign: behind backslashes (JSON, shells, distinguished names) or a grave accent (PowerShell),
// doubled, as an escape with its number, or by a name of its own. A byte that is not UTF-8 is read as U+FFFD.
func ways(r rune, raw string) []string {
	units, percent, slash := "", "", ""
	for _, unit := range utf16.Encode([]rune{r}) {
		units += fmt.Sprintf(`\\+u%04x`, unit)
	}
	for _, c := range []byte(raw) {
		percent += fmt.Sprintf("%%%02x", c)
		slash += fmt.Sprintf(`\\+x?%02x`, c) // RFC 4515 and RFC 4514, Go and C
	}
	list := []string{"[\\\\`]*" + regexp.QuoteMeta(string(r)),
		fmt.Sprintf("(?i:%s|%s|%s|&#0*%d;|&#x0*%x;|_x%04x_)", units, percent, slash, r, r, r)}
	return append(list, named[r]...)
}

// named are the ways to write a sign that do not follow from its number.
var named = map[rune][]string{' ': {`\+`}, '\n': {`\\+n`}, '\t': {`\\+t`}, '\r': {`\\+r`},
	'&': {"&amp;"}, '<': {"&lt;"}, '>': {"&gt;"}, '"': {"&quot;", `""`}, '\'': {"&apos;", "''", `'\\''`, `'"'"'`}}
