package eft

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/01b61c5c/failover"
)

// Mode says who runs the installer.
type Mode int

const (
	// ModeByOperator: a person runs it in a desktop session on the node and chooses Repair, as the vendor describes it;
	// the procedure says when, waits, and judges by the result. It is the zero value because no vendor text gives the
	// switches of a silent run.
	ModeByOperator Mode = iota
	// ModeSilent: the procedure starts it with Args. The switches must have been tried on a laboratory machine: none are
	// published for EFT Server, and an installer that shows a window where nobody sees it hangs for ever.
	ModeSilent
)

const maxSettle = 45 * time.Second // a probe has a minute

// Installer specifies the installer of the new version and how to judge a run of it.
type Installer struct {
	// Path: where it lies on each node: on a local disk, never a share, in a folder only administrators may write to
	Path    string
	SHA256  string  // of the file, hexadecimal, from the vendor's download page
	Size    int64   // bytes
	Version Version // what a node has afterwards
	Product string  // what the file says its product is, for example "EFT Server"; "" leaves that check out

	// Source opens the file for upload. When it is nil, URL must be given, or the file must lie on both nodes already.
	Source func(context.Context) (io.ReadCloser, error)
	// URL lets each node fetch the file itself; https only.
	URL string

	Mode Mode
	// ModeSilent: the switches, for example "/S"; there is no default (inferred switches stay configuration)
	Args []string
	Env  map[string]string // ModeSilent: environment variables added for the installer; no secrets

	ExitOK     []int // nil means 0
	ExitReboot []int // success that needs a reboot; nil means 3010 and 1641 (documented for MSI)
	ExitSkip   []int // the version was there already; nil means none

	WarnAfter time.Duration // tells the observer that it takes long; 0 means half of StopAfter
	StopAfter time.Duration // the run stops following it; the installer itself is never killed. 0 means 30 minutes
	// Settle: how long a start whose answer was lost is waited for, before it is kept from coming later; 0 means 30 s, at
	// most 45 s
	Settle time.Duration
	Logs   []string // files or patterns on the node to collect afterwards, for example C:\Windows\Temp\*\Installer.log
	Space  int64    // bytes that must be free beside Path; 0 means three times Size
}

// envName is what Windows and a shell both take; Windows' own ProgramFiles(x86) is one.
var envName = regexp.MustCompile(`\A[A-Za-z_][A-Za-z0-9_()]*\z`)

func (i Installer) validate() (Installer, error) {
	bad := func(field, wrong, right string) (Installer, error) {
		return i, failover.Invalid("Installer."+field, wrong, right)
	}
	sum, err := hex.DecodeString(i.SHA256)
	switch {
	case !cleanName(i.Path):
		return bad("Path", fmt.Sprintf("%q is empty or has control characters", i.Path),
			"name a file on a local disk of the nodes")
	case strings.HasPrefix(i.Path, `\\`) || strings.HasPrefix(i.Path, "//"):
		return bad("Path", "is on a share", "use a local disk: a session without a password has no rights on shares")
	case strings.ContainsAny(i.Path, "*?\""):
		return bad("Path", "has a wildcard or a quote", "name one file")
	case err != nil || len(sum) != 32:
		return bad("SHA256", "is not 64 hexadecimal digits", "take it from the vendor's download page")
	case i.Size <= 0:
		return bad("Size", fmt.Sprintf("is %d", i.Size), "give the size in bytes")
	case i.Version.IsZero():
		return bad("Version", "is not set", "give the version that a node has afterwards, for example 8.1.0.16")
	case i.URL != "" && !strings.HasPrefix(i.URL, "https://"):
		return bad("URL", "is not https", "use https: the program runs as administrator")
	case i.URL != "" && i.Source != nil:
		return bad("URL", "is given together with Source", "use one of them")
	case i.Mode != ModeByOperator && i.Mode != ModeSilent:
		return bad("Mode", fmt.Sprintf("is %d", i.Mode), "use ModeByOperator or ModeSilent")
	case i.Mode == ModeByOperator && (len(i.Args) > 0 || len(i.Env) > 0):
		return bad("Args", "are given for a run by a person", "use ModeSilent, or leave them out")
	case i.Mode == ModeSilent && len(i.Args) == 0:
		return bad("Args", "are empty", "give the switches that make it silent, tried in a laboratory, or use ModeByOperator")
	case i.Settle < 0 || i.Settle > maxSettle:
		return bad("Settle", "is "+i.Settle.String(), "use zero for the default, or up to "+maxSettle.String())
	case i.WarnAfter < 0 || i.StopAfter < 0 || i.Space < 0:
		return bad("StopAfter", "or WarnAfter or Space is negative", "use zero for the default")
	}
	for _, a := range i.Args {
		if strings.ContainsFunc(a, unicode.IsControl) {
			return bad("Args", fmt.Sprintf("%q has control characters", a), "write one switch per element")
		}
	}
	for name, value := range i.Env {
		if !envName.MatchString(name) || strings.ContainsFunc(value, unicode.IsControl) {
			return bad("Env", fmt.Sprintf("%q is not the name of a variable, or its value has control characters", name),
				"use letters, digits and underscores")
		}
	}
	i.SHA256 = strings.ToLower(i.SHA256)
	i.Args = slices.Clone(i.Args)
	i.ExitOK, i.ExitReboot = given(i.ExitOK, 0), given(i.ExitReboot, 3010, 1641)
	i.StopAfter, i.Settle = cmp.Or(i.StopAfter, 30*time.Minute), cmp.Or(i.Settle, 30*time.Second)
	i.WarnAfter, i.Space = cmp.Or(i.WarnAfter, i.StopAfter/2), cmp.Or(i.Space, 3*i.Size)
	return i, nil
}

// given returns a list or, where none was given, the default. An empty one was given.
func given[T any](list []T, standard ...T) []T {
	if list == nil {
		return standard
	}
	return list
}

func (i Installer) success(exit int) bool {
	return slices.Contains(slices.Concat(i.ExitOK, i.ExitReboot, i.ExitSkip), exit)
}

func cleanName(s string) bool {
	return s != "" && strings.TrimSpace(s) == s && !strings.ContainsFunc(s, unicode.IsControl)
}
