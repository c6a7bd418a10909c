// Package enum gives constants their words: one table a type, in which the place of a word is the constant it stands for. A
// place without a word belongs to no constant; only that of the zero value may be meant to be empty.
package enum

import (
	"fmt"
	"reflect"
)

// Name returns the word of a constant, or type and number of what is none.
func Name[E ~int](names []string, e E) string {
	if !known(names, int(e)) {
		return fmt.Sprintf("%s(%d)", reflect.TypeFor[E]().Name(), int(e))
	}
	return names[e]
}

// Marshal is the MarshalText of a constant.
func Marshal[E ~int](names []string, e E) ([]byte, error) {
	if !known(names, int(e)) {
		return nil, fmt.Errorf("no %T has the number %d", e, int(e))
	}
	return []byte(names[e]), nil
}

// Parse is the UnmarshalText of a constant. It sets *into only when the text is one of the words.
func Parse[E ~int, S string | []byte](names []string, text S, into *E) error {
	for n, name := range names {
		if name == string(text) && known(names, n) {
			*into = E(n)
			return nil
		}
	}
	return fmt.Errorf("no %T is called %q", *into, text)
}

func known(names []string, n int) bool { return n >= 0 && n < len(names) && (n == 0 || names[n] != "") }
