package eft

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Admin reads how a running EFT Server is configured. [REST] is the one over the administration API; an EFT without
// that API (7.4 and older) has none, and the procedures then ask a person.
type Admin interface {
	Read(ctx context.Context) (Settings, error)
}

// Settings is a normalised picture of a running server, made to be compared: no counters, no times, no secrets.
type Settings struct {
	Version   Version           `json:"version"`
	HA        bool              `json:"ha"`                  // EFT is its own cluster manager (active-active)
	ConfigDir string            `json:"configDir,omitempty"` // where the server says its configuration is
	Licences  map[string]string `json:"licences,omitempty"`  // module → state on the node that answered
	Values    map[string]string `json:"values"`              // path → value, for example "sites/MySite/state" → "Running"
	Absent    []string          `json:"absent,omitempty"`    // what was asked for and is not there in this version
	Activity  *Activity         `json:"activity,omitempty"`  // nil: the server does not tell
}

// Activity is what runs at this moment; Tasks are those of the Advanced Workflow Engine.
type Activity struct {
	Users, Transfers, Rules, Tasks int
}

// Idle reports whether nobody would be cut off.
func (a Activity) Idle() bool { return a == Activity{} }

// String returns the counts.
func (a Activity) String() string {
	return fmt.Sprintf("%d users, %d transfers, %d event rules, %d tasks", a.Users, a.Transfers, a.Rules, a.Tasks)
}

// SettingChange is one difference between two Settings.
type SettingChange struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
	Gone   bool   `json:"gone"` // it is not there any more
}

// String returns the change in one line.
func (c SettingChange) String() string {
	if c.Gone {
		return fmt.Sprintf("%s is gone (was %q)", c.Path, c.Before)
	}
	return fmt.Sprintf("%s: %q became %q", c.Path, c.Before, c.After)
}

// Diff lists what was lost or changed, sorted by path. A new version brings new settings: what is only in after is no
// difference.
func Diff(before, after Settings) []SettingChange {
	var list []SettingChange
	for _, path := range slices.Sorted(maps.Keys(before.Values)) {
		old := before.Values[path]
		now, there := after.Values[path]
		if !there || now != old {
			list = append(list, SettingChange{Path: path, Before: old, After: now, Gone: !there})
		}
	}
	return list
}

// compared says in one line what an equal comparison covers, and what it does not.
func (s Settings) compared() string {
	secrets := 0
	for _, v := range s.Values {
		if v == redacted {
			secrets++
		}
	}
	text := fmt.Sprintf("all %d values as before", len(s.Values))
	if secrets > 0 {
		text += fmt.Sprintf("; of %d of them, which may be secrets, only that they are there", secrets)
	}
	if len(s.Absent) > 0 {
		text += "; not there to compare: " + strings.Join(s.Absent, ", ")
	}
	return text
}

// SettingsError lists the settings that an upgrade lost or changed. It wraps ErrSettings.
type SettingsError struct{ Changes []SettingChange }

const shownChanges = 20

// Error lists up to 20 changes.
func (e *SettingsError) Error() string {
	var lines []string
	for i, c := range e.Changes {
		if i == shownChanges {
			lines = append(lines, fmt.Sprintf("and %d more", len(e.Changes)-i))
			break
		}
		lines = append(lines, c.String())
	}
	return fmt.Sprintf("%s: %s", ErrSettings, strings.Join(lines, "; "))
}

// Unwrap returns ErrSettings.
func (e *SettingsError) Unwrap() error { return ErrSettings }
