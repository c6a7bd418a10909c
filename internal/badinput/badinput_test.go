package badinput

import (
	"errors"
	"fmt"
	"testing"

	failover "github.com/01b61c5c/failover"
	"github.com/stretchr/testify/require"
)

func TestErrorNamesFileLineFieldAndReason(t *testing.T) {
	tests := []struct {
		err  Error
		want string
	}{
		{Error{File: "a.ldif", Line: 40000, Field: "XmlData", Reason: "bad base64"}, "a.ldif:40000: XmlData: bad base64"},
		{Error{Reason: "truncated"}, "input: truncated"},
		{Error{File: "a.xml", Line: 3, Reason: "document type"}, "a.xml:3: document type"},
	}
	for _, tt := range tests {
		require.EqualError(t, &tt.err, tt.want)
		require.True(t, errors.Is(fmt.Errorf("import: %w", &tt.err), failover.ErrInvalid))
	}
}
