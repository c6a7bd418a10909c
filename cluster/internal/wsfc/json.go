package wsfc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Number is a whole number that PowerShell may have rendered as text. Unsigned values above the range of int64 keep
// their bits, so that the largest is -1: what "unlimited" is in the other rendering.
type Number int64

// MarshalJSON renders the number as text, as the scripts do.
func (n Number) MarshalJSON() ([]byte, error) { return json.Marshal(strconv.FormatInt(int64(n), 10)) }

// UnmarshalJSON accepts a number, a number as text, and null for 0. Where 0 has a meaning of its own the field is a
// pointer: null leaves it nil.
func (n *Number) UnmarshalJSON(raw []byte) error {
	text := strings.Trim(string(raw), `"`)
	if text == "null" {
		*n = 0
		return nil
	}
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = Number(v)
		return nil
	}
	if v, err := strconv.ParseUint(text, 10, 64); err == nil {
		*n = Number(v) //nolint:gosec // the bits are what counts
		return nil
	}
	return fmt.Errorf("%.40q is no whole number", raw)
}

// List is an array that PowerShell may have collapsed to its only element, or to null.
type List[T any] []T

// UnmarshalJSON accepts an array, one element, and null.
func (l *List[T]) UnmarshalJSON(raw []byte) error {
	text := strings.TrimSpace(string(raw))
	var list []T
	switch {
	case text == "null":
	case strings.HasPrefix(text, "["):
		if err := json.Unmarshal(raw, &list); err != nil {
			return err
		}
	default:
		var one T
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		list = []T{one}
	}
	*l = list
	return nil
}
