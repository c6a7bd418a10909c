package failover

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strings"
)

// Redact replaces every occurrence of the given secrets in text, so that transcripts and error texts of other systems
// can be kept: as they are, and as JSON, URLs, base64, hexadecimal, HTML, XML, shells, PowerShell and LDAP write them.
// The longest form goes first. Redact before a text is cut: a part of a secret is not recognised.
func Redact(text string, secrets ...Secret) string {
	var forms []string
	for _, s := range secrets {
		if !s.Empty() {
			forms = append(forms, encodings(s.Reveal())...)
		}
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range slices.Compact(forms) {
		if form != "" {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return text
}

// encodings lists what a secret looks like in the transports that carry it.
func encodings(secret string) []string {
	raw, _ := json.Marshal(secret) // a string always marshals
	escaped := string(raw[1 : len(raw)-1])
	plain := strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(escaped)
	forms := []string{secret, escaped, plain, strings.ReplaceAll(plain, "/", `\/`), url.QueryEscape(secret),
		url.PathEscape(secret),
		lowerEscapes(url.QueryEscape(secret)), lowerEscapes(url.PathEscape(secret)),
		url.UserPassword("", secret).String()[1:],
		html.EscapeString(secret), xmlEscape(secret), strings.ReplaceAll(secret, "'", `'\''`),
		strings.ReplaceAll(secret, "'", `'"'"'`),
		strings.ReplaceAll(secret, "'", "''"), strings.ReplaceAll(secret, `"`, `""`), powershellEscape(secret),
		shellEscape(secret),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
		ldapEscape(secret, false), ldapEscape(secret, true), goEscape(secret)}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, aligned(enc, secret)...)
		forms = append(forms, aligned(enc, utf16LE(secret))...)
	}
	return forms
}

// aligned returns what base64 makes of a secret that stands anywhere in a longer text, for example behind the name and
// the colon of a Basic login, without the signs that depend on what stands beside it.
func aligned(enc *base64.Encoding, secret string) []string {
	var forms []string
	forms = append(forms, enc.EncodeToString([]byte(secret)),
		enc.WithPadding(base64.NoPadding).EncodeToString([]byte(secret)))
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

func utf16LE(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

// lowerEscapes writes the digits of %XX small, as some servers do.
func lowerEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			b.WriteString(strings.ToLower(s[i : i+3]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func xmlEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(s)
}

func powershellEscape(s string) string {
	return strings.NewReplacer("`", "``", `"`, "`\"", "$", "`$").Replace(s)
}

func shellEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(s)
}

func goEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s)
}

// ldapEscape writes a value as a filter (RFC 4515) or a distinguished name (RFC 4514) has it.
func ldapEscape(s string, name bool) string {
	special := "*()\\\x00"
	if name {
		special = `,+"\<>;=#`
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case !strings.Contains(special, s[i:i+1]):
			b.WriteByte(s[i])
		case name:
			b.WriteString(`\` + s[i:i+1])
		default:
			b.WriteString(`\` + hex.EncodeToString([]byte{s[i]}))
		}
	}
	return b.String()
}
