// Package powershelltest is the other side of package powershell: it takes apart what arrives on a machine and writes
// what the frame answers, for simulators.
package powershelltest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strings"
	"unicode/utf16"

	"github.com/01b61c5c/failover/internal/powershell"
)

// Decode returns the script in a command line made by CommandLine, for simulators that must know what they are asked.
func Decode(line string) (string, bool) {
	_, b64, ok := strings.Cut(line, " -EncodedCommand ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(b64))
	if !ok || err != nil || len(raw)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units)), true
}

// Parse takes standard input apart as the frame does. The bool is false for input the frame would refuse.
func Parse(input []byte) (script string, document []byte, ok bool) {
	lines := strings.Split(string(input), "\n")
	if len(lines) < 3 || strings.TrimSpace(lines[2]) != "end" {
		return "", nil, false
	}
	text, err1 := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[0]))
	document, err2 := base64.StdEncoding.DecodeString(strings.TrimSpace(lines[1]))
	return string(text), document, err1 == nil && err2 == nil
}

// Answer returns what the frame writes for a script that returned data, and its exit status.
func Answer(data any) (string, int, error) {
	return answer(map[string]any{"ok": true, "data": data}, 0)
}

// AnswerFailure returns what the frame writes for a script that failed, and its exit status.
func AnswerFailure(f powershell.Failure) (string, int, error) {
	return answer(struct {
		OK bool `json:"ok"`
		powershell.Failure
	}{Failure: f}, powershell.ExitFailed)
}

func answer(doc any, exit int) (string, int, error) {
	raw, err := json.Marshal(doc)
	return "<<<R:" + base64.StdEncoding.EncodeToString(raw) + ":R>>>", exit, err
}
