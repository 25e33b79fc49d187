package repository_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
)

// Whoever knows an item's ID can wait for it, also once the repository was opened again.
func TestReceiptOfEarlierItem(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		target := file("packages/a/a.whl", "1")
		first := e.add(target)
		e.close()
		e.open()
		r := e.repo.Receipt(first.ID(), target.Path)
		require.Equal(t, first.ID(), r.ID())
		require.True(t, r.Repeated())
		e.run(func() { e.wait(r, repository.Published) })
		e.wait(e.repo.Receipt(first.ID()), repository.Published)
		_, err := e.repo.Receipt("other").Wait(t.Context())
		require.ErrorIs(t, err, repository.ErrUnknownItem)
		e.check()
	})
}
