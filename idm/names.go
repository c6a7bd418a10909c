package idm

import "fmt"

// The constants of this package have their words in one table each.

func nameOf[E ~int](names map[E]string, e E) string {
	if name, ok := names[e]; ok {
		return name
	}
	return fmt.Sprintf("%T(%d)", e, int(e))
}

func marshalName[E ~int](names map[E]string, e E) ([]byte, error) {
	if name, ok := names[e]; ok {
		return []byte(name), nil
	}
	return nil, fmt.Errorf("no %T has the number %d", e, int(e))
}

func unmarshalName[E ~int](names map[E]string, text []byte, into *E) error {
	for e, name := range names {
		if name == string(text) {
			*into = e
			return nil
		}
	}
	return fmt.Errorf("no %T is called %q", *into, text)
}
