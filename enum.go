package failover

import "fmt"

func enumName(kind string, names []string, n int) string {
	if n < 0 || n >= len(names) {
		return fmt.Sprintf("%s(%d)", kind, n)
	}
	return names[n]
}

func enumMarshal(kind string, names []string, n int) ([]byte, error) {
	if n < 0 || n >= len(names) {
		return nil, fmt.Errorf("failover: no %s has the number %d", kind, n)
	}
	return []byte(names[n]), nil
}

// enumParse sets *into only when the text is one of the names.
func enumParse[E ~int](kind string, names []string, text []byte, into *E) error {
	for n, name := range names {
		if name == string(text) {
			*into = E(n)
			return nil
		}
	}
	return fmt.Errorf("failover: no %s is called %q", kind, text)
}
