package runbook

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/01b61c5c/failover"
)

// How large the files of a site may be.
const (
	configLimit = 512 << 10
	secretLimit = 64 << 10
	trustLimit  = 4 << 20
)

// localFile reads a text file of this machine, whatever editor wrote it: UTF-8 with or without byte order mark, UTF-16
// with one, either line break. Everything else is refused by the field's name. judge looks at the open file; it may be
// nil.
func localFile(field, path string, limit int64, judge func(fs.FileInfo) error) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", failover.Invalid(field, path+" is not there", "write the file, or name another one")
	case err != nil:
		return "", failover.Invalid(field, err.Error(), "make the file readable for the account that runs the program")
	case info.IsDir():
		return "", failover.Invalid(field, path+" is a folder", "name the file in it")
	case !info.Mode().IsRegular():
		return "", failover.Invalid(field, fmt.Sprintf("%s is no regular file (%s)", path, info.Mode().Type()),
			"name a regular file")
	}
	file, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return "", failover.Invalid(field, err.Error(), "make the file readable for the account that runs the program")
	}
	defer func() { _ = file.Close() }()
	if info, err = file.Stat(); err == nil && judge != nil {
		err = judge(info)
	}
	if err != nil {
		return "", err
	}
	raw, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return "", failover.Invalid(field, err.Error(), "make the file readable for the account that runs the program")
	}
	if int64(len(raw)) > limit {
		return "", failover.Invalid(field, fmt.Sprintf("%s has more than %d KiB", path, limit>>10),
			"name the right file, or leave out what does not belong there")
	}
	text, err := decode(raw)
	if err != nil {
		return "", failover.Invalid(field, path+" "+err.Error(), "save it as UTF-8")
	}
	return text, nil
}

// decode recognises the encoding by its byte order mark.
func decode(raw []byte) (string, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(raw, []byte{0xff, 0xfe}):
		order = binary.LittleEndian
	case bytes.HasPrefix(raw, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	default:
		raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	}
	if order != nil {
		if len(raw)%2 != 0 {
			return "", errors.New("begins as UTF-16 and has an odd number of bytes")
		}
		units := make([]uint16, 0, len(raw)/2)
		for i := 2; i < len(raw); i += 2 {
			units = append(units, order.Uint16(raw[i:]))
		}
		for i, r := range utf16.Decode(units) {
			if r == utf8.RuneError && (i >= len(units) || units[i] != utf8.RuneError) {
				return "", errors.New("begins as UTF-16 and is not")
			}
		}
		raw = []byte(string(utf16.Decode(units)))
	}
	switch {
	case bytes.IndexByte(raw, 0) >= 0:
		return "", errors.New("has zero bytes: it is no text, or UTF-16 without a byte order mark")
	case !utf8.Valid(raw):
		return "", errors.New("is not UTF-8")
	}
	return strings.ReplaceAll(string(raw), "\r\n", "\n"), nil
}

// notForOthers refuses a secret that another account can read, or could have written.
func notForOthers(field, path string) func(fs.FileInfo) error {
	return func(info fs.FileInfo) error {
		if os.PathSeparator == '/' && info.Mode().Perm()&0o077 != 0 {
			return failover.Invalid(field, path+" is open to others", "chmod 600 it")
		}
		link, err := os.Lstat(path)
		if err != nil {
			return failover.Invalid(field, err.Error(), "name the file again")
		}
		if foreign(info) || foreign(link) {
			return failover.Invalid(field, path+" belongs to another account",
				"give it to the account that runs the program, or to root")
		}
		return nil
	}
}

// notWritable refuses a file that every account can change.
func notWritable(field, path string) func(fs.FileInfo) error {
	return func(info fs.FileInfo) error {
		if os.PathSeparator == '/' && info.Mode().Perm()&0o002 != 0 {
			return failover.Invalid(field, path+" can be written by every account", "chmod o-w it")
		}
		return nil
	}
}

// secretFile reads the first line of a file, or all of a private key.
func secretFile(field, path string) (failover.Secret, error) {
	text, err := localFile(field, path, secretLimit, notForOthers(field, path))
	if err != nil {
		return failover.Secret{}, err
	}
	if text = firstLine(text); text == "" {
		return failover.Secret{}, failover.Invalid(field, path+" is empty on its first line", "put the secret there")
	}
	return failover.NewSecret(text), nil
}

// firstLine is the secret in a text: a private key has many lines, a password has one.
func firstLine(text string) string {
	if strings.HasPrefix(text, "-----BEGIN") {
		return text
	}
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(text, "\r")
}

// plainHosts refuses a known_hosts file that its readers would misread without a word.
func plainHosts(field, path string) error {
	text, err := localFile(field, path, trustLimit, notWritable(field, path))
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return failover.Invalid(field, err.Error(), "name the file again")
	}
	if strings.ReplaceAll(string(raw), "\r\n", "\n") != text {
		return failover.Invalid(field, path+" has a byte order mark", "save it as UTF-8 without one")
	}
	return nil
}
