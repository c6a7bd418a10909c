package failover

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

const redacted = "[redacted]"

// Secret holds a password, token or passphrase and shows itself to nobody: printing, logging and marshalling give
// "[redacted]". Only Reveal returns the value. The zero Secret is empty.
type Secret struct {
	// A closure, so that neither fmt nor a dumper that follows pointers of unexported fields finds the value.
	reveal func() string
	forms  func() []form // what Redact looks for; made when it is first needed
}

// SecretFunc fetches a secret when it is needed, so that it lives in memory no longer than necessary.
type SecretFunc func(context.Context) (Secret, error)

// NewSecret wraps value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return value },
		forms: sync.OnceValue(func() []form { return formsOf(value) })}
}

// Reveal returns the value. Hand it straight to the protocol that needs it.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// Empty reports whether there is no value.
func (s Secret) Empty() bool { return s.reveal == nil }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler; JSON, XML and YAML encoders go through it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText implements encoding.TextUnmarshaler, so that a configuration can hold secrets.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
