package powershell

import (
	"encoding/xml"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// blocks matches the CLIXML that PowerShell 5.1 writes to redirected streams, also before valid output (seen:
// PowerShell issue 5912).
var blocks = regexp.MustCompile(`(?s)#<\s*CLIXML\b.*?</Objs>\s*`)

// escaped matches UTF-16 units as CLIXML writes them. Two of them can be one character.
var escaped = regexp.MustCompile(`(?:_x[0-9A-Fa-f]{4}_)+`)

// StripCLIXML removes CLIXML blocks.
func StripCLIXML(out []byte) []byte { return blocks.ReplaceAll(out, nil) }

// ErrorText returns what a stream says to a person: the error texts in its CLIXML blocks and everything around them.
func ErrorText(stream []byte) string {
	var parts []string
	for _, block := range blocks.FindAll(stream, -1) {
		if at := strings.Index(string(block), "<Objs"); at >= 0 {
			parts = append(parts, errorTexts(string(block)[at:])...)
		}
	}
	if rest := strings.TrimSpace(string(StripCLIXML(stream))); rest != "" {
		parts = append(parts, rest)
	}
	return strings.TrimSpace(strings.ToValidUTF8(strings.Join(parts, " "), "?"))
}

func errorTexts(block string) []string {
	var texts []string
	dec := xml.NewDecoder(strings.NewReader(block))
	for {
		tok, err := dec.Token()
		if err != nil {
			return texts // the end, or damage: what was read so far is all there is
		}
		el, ok := tok.(xml.StartElement)
		if !ok || el.Name.Local != "S" {
			continue
		}
		var text string
		if dec.DecodeElement(&text, &el) != nil {
			return texts
		}
		for _, a := range el.Attr {
			if a.Name.Local == "S" && a.Value == "Error" {
				texts = append(texts, strings.TrimSpace(unescape(text)))
			}
		}
	}
}

func unescape(s string) string {
	return escaped.ReplaceAllStringFunc(s, func(run string) string {
		var units []uint16
		for ; run != ""; run = run[len("_xHHHH_"):] {
			if u, err := strconv.ParseUint(run[2:6], 16, 16); err == nil {
				units = append(units, uint16(u))
			}
		}
		return string(utf16.Decode(units))
	})
}
