package runbook

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/localfile"
)

// How large the files of a site may be.
const (
	configLimit = 512 << 10
	secretLimit = 64 << 10
	trustLimit  = 4 << 20
)

// localFile reads a text file of this machine, whatever editor wrote it: UTF-8 with or without byte order mark, UTF-16
// with one, either line break. Everything else is refused by the field's name. judge looks at the open file.
func localFile(field, path string, limit int64, judge func(fs.FileInfo) error) (string, error) {
	raw, err := localfile.ReadJudged(path, limit, judge)
	switch {
	case errors.Is(err, failover.ErrInvalid): // what judge says
		return "", err
	case errors.Is(err, fs.ErrNotExist):
		return "", failover.Invalid(field, path+" is not there", "write the file, or name another one")
	case err != nil:
		return "", failover.Invalid(field, err.Error(), "name a file that the program's account can read, saved as UTF-8")
	case !utf8.Valid(raw):
		return "", failover.Invalid(field, path+" is not UTF-8", "save it as UTF-8")
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

// trusted looks at a file that says whom to trust; "" is none.
func trusted(field, path string) error {
	if path == "" {
		return nil
	}
	_, err := localfile.ReadJudged(path, trustLimit, notWritable(field, path))
	if err != nil && !errors.Is(err, failover.ErrInvalid) {
		err = failover.Invalid(field, err.Error(), "name a text file that the program's account can read")
	}
	return err
}
