package eft

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"slices"
	"strings"
)

// NewManifest sorts the files and computes the hash.
func NewManifest(files []ManifestFile) Manifest {
	m := Manifest{Files: slices.Clone(files)}
	slices.SortFunc(m.Files, func(a, b ManifestFile) int { return cmp.Compare(a.Path, b.Path) })
	if raw, err := json.Marshal(m.Files); err == nil { // plain strings and numbers always marshal
		sum := sha256.Sum256(raw)
		m.Hash = hex.EncodeToString(sum[:])
	}
	return m
}

// IsZero reports whether there is no copy.
func (m Manifest) IsZero() bool { return m.Hash == "" }

// Bytes returns the size of all files together.
func (m Manifest) Bytes() int64 {
	var n int64
	for _, f := range m.Files {
		n += f.Size
	}
	return n
}

// configFiles are the main configuration: FTP.cfg up to 7.4, ServerConfig.db from 8.0 (documented: kb 11378; seen in
// the vendor's script samples).
var configFiles = []string{"ftp.cfg", "serverconfig.db"}

// anotherCopy is what a person does without a good copy. In a rollback the configuration may be converted already.
const anotherCopy = "in an upgrade see that the right directory is copied, undo, and begin again; in a rollback make " +
	"no copy now, but name another one from before the upgrade"

// usable refuses a copy from which nothing could be restored.
func (m Manifest) usable(node, dir string) error {
	const op, next = "check backup", anotherCopy
	switch {
	case m.IsZero():
		return refuse(op, node, next, ErrBackup, "there is none in %s", dir)
	case len(m.Files) == 0:
		return refuse(op, node, next, ErrBackup, "%s holds no file", dir)
	case m.Hash != NewManifest(m.Files).Hash:
		return refuse(op, node, next, ErrBackup, "the manifest in %s was altered", dir)
	}
	for _, f := range m.Files {
		if slices.Contains(configFiles, strings.ToLower(path.Base(f.Path))) && f.Size > 0 {
			return nil
		}
	}
	return refuse(op, node, next, ErrBackup, "%s holds neither FTP.cfg nor ServerConfig.db", dir)
}
