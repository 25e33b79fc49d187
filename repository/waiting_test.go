package repository_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
)

// Whoever was told that an item is published finds its generation in the Status, also
// while the publisher is busy with what comes after the commit.
func TestStatusAfterWait(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "leader.Append" && c.Name == "checkpoint" {
				return faulty.Hold
			}
			return faulty.None
		})
		r := e.add(file("a", "1"))
		e.run(func() {
			gen := e.wait(r, repository.Published)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, gen, s.Generation)
			e.inject.Release()
		})
		e.check()
	})
}
