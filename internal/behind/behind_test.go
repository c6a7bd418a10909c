package behind_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/01b61c5c/failover"
	"github.com/01b61c5c/failover/internal/behind"
)

func TestARefusalBehindAnEffectIsInDoubt(t *testing.T) {
	assert.NoError(t, behind.Effect(nil))
	refused := failover.Invalid("name", "is empty", "give a name")
	err := behind.Effect(refused)
	assert.ErrorIs(t, err, failover.ErrInvalid)
	assert.Equal(t, failover.InDoubt, failover.OutcomeOf(err))
	assert.Equal(t, "give a name", failover.NextOf(err))
	for _, other := range []error{errors.New("lost"), &failover.Error{Outcome: failover.Applied, Err: refused}} {
		assert.Equal(t, other, behind.Effect(other))
	}
}
