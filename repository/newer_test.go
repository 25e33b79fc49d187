package repository_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// future is what only a newer version writes.
type future struct {
	Wonders int `json:"wonders"`
}

func (future) Kind() ledger.Kind { return "wonders" }

// During a rolling upgrade, a publisher of an older version refuses what a newer one wrote, in words. It leaves it
// as it is, and gives the lead up, so that the newer one can go on.
func TestOlderPublisher(t *testing.T) {
	t.Parallel()
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 5)...)
		e.close()

		// The newer version leads, and writes a record of a new kind.
		newer := e.journal.Handle()
		lead, epoch, err := newer.Lead(t.Context())
		require.NoError(t, err)
		var state ledger.State
		for step, err := range lead.Read(t.Context(), ledger.FromCheckpoint) {
			require.NoError(t, err)
			if step.Record != nil {
				require.NoError(t, state.Apply(*step.Record))
			}
		}
		record, err := state.Next(epoch, state.Generation, time.Now(), future{7})
		require.NoError(t, err)
		require.NoError(t, lead.Append(t.Context(), record))
		require.NoError(t, newer.Close())
		names := e.names()
		require.NoError(t, repository.Belong(t.Context(), e.store, e.journal.Handle()), "an older standby still knows whose journal it is")
		require.ErrorIs(t, repository.Belong(t.Context(), storetest.NewStore(), e.journal.Handle()), ledger.ErrNewer)

		for range 2 {
			cfg := e.config()
			_, err = repository.Open(t.Context(), cfg)
			require.ErrorIs(t, err, ledger.ErrNewer)
			require.ErrorContains(t, err, `unknown kind "wonders"`)
			require.ErrorContains(t, err, "a newer publisher led before: upgrade this one; the lead is given up")
			require.Equal(t, names, e.names())
		}

		// The newer one leads again, though the older process is still there.
		newer = e.journal.Handle()
		lead, _, err = newer.Lead(t.Context())
		require.NoError(t, err)
		last := ""
		for step, err := range lead.Read(t.Context(), ledger.FromCheckpoint) {
			if err != nil {
				require.ErrorIs(t, err, ledger.ErrNewer) // this test is of the older version, too
				break
			}
			if step.Record != nil {
				last = step.Record.Hash()
			}
		}
		require.Equal(t, record.Prev, last)
		require.NoError(t, newer.Close())
	})
}
