package eft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/01b61c5c/failover"
)

// Version is a product version of up to four numbers, major.minor.patch.build. The zero Version stands for none.
type Version [4]int

// ParseVersion reads "8.1.0.16"; parts left out are zero. It refuses anything that is not numbers and dots, because a
// version that is guessed compares wrongly.
func ParseVersion(text string) (Version, error) {
	var v Version
	for i, p := range strings.Split(strings.TrimSpace(text), ".") {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || i >= len(v) {
			return Version{}, failover.Invalid("Version", fmt.Sprintf("%q is not a version", text),
				"write it as major.minor.patch.build, for example 8.1.0.16")
		}
		v[i] = int(n)
	}
	return v, nil
}

// Compare returns a negative number when v is older than w, a positive one when it is newer.
func (v Version) Compare(w Version) int { return slices.Compare(v[:], w[:]) }

// toldBy reports whether a text that says told can be about v. Windows Installer itself compares three parts only
// (documented), and set-up builders write three.
func (v Version) toldBy(told Version) bool { return told == v || told == Version{v[0], v[1], v[2]} }

// IsZero reports whether there is no version.
func (v Version) IsZero() bool { return v == Version{} }

// String returns "8.1.0.16", or "none".
func (v Version) String() string {
	if v.IsZero() {
		return "none"
	}
	return fmt.Sprintf("%d.%d.%d.%d", v[0], v[1], v[2], v[3])
}

// MarshalText implements encoding.TextMarshaler.
func (v Version) MarshalText() ([]byte, error) {
	if v.IsZero() {
		return nil, nil
	}
	return []byte(v.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	parsed, err := ParseVersion(string(text))
	if err == nil {
		*v = parsed
	}
	return err
}
