package enum

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

type colour int

func TestWords(t *testing.T) {
	names := []string{0: "", 1: "red", 3: "blue"}
	assert.Equal(t, "red", Name(names, colour(1)))
	assert.Empty(t, Name(names, colour(0)))
	for _, c := range []colour{-1, 2, 4} {
		assert.Equal(t, fmt.Sprintf("colour(%d)", int(c)), Name(names, c))
		_, err := Marshal(names, c)
		assert.ErrorContains(t, err, "enum.colour")
	}
	raw, err := Marshal(names, colour(3))
	assert.NoError(t, err)
	assert.Equal(t, "blue", string(raw))
	c := colour(1)
	assert.ErrorContains(t, Parse(names, []byte("green"), &c), "green")
	assert.Equal(t, colour(1), c)
	assert.NoError(t, Parse(names, []byte("blue"), &c))
	assert.Equal(t, colour(3), c)
	assert.NoError(t, Parse(names, "", &c))
	assert.Zero(t, c)
}
