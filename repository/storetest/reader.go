package storetest

import (
	"testing"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

// TestReader holds a repository.Reader to its contract. place returns where a new,
// empty journal lives, and open a Reader of it, as another process has it.
func TestReader(t *testing.T, place func(t *testing.T) (p Place, open func() (repository.Reader, error))) {
	p, open := place(t)
	b := &bench{T: t, place: p}
	defer b.close()
	requireRead := func(pending []repository.Item, records ...repository.Record) {
		t.Helper()
		r, err := open()
		require.NoError(t, err)
		log, queue, err := r.Read(t.Context())
		require.NoError(t, err)
		require.Equal(t, b.epoch, log.Epoch)
		require.Len(t, log.Records, len(records))
		for i := range records {
			requireSame(t, records[i], log.Records[i])
		}
		require.Equal(t, len(pending), queue.Pending)
		if len(pending) > 0 {
			require.True(t, pending[0].Accepted.Equal(queue.Oldest), "%v", queue.Oldest)
		}
		_, _, err = r.Read(ended(t))
		require.ErrorIs(t, err, ended(t).Err())
	}
	requireRead(nil)
	all := items("x", 4)
	b.enqueue(all...)
	requireRead(all) // nobody ever led

	b.lead()
	requireRead(all)
	intent, seal := b.record(repository.KindIntent, 1), b.seal(1, all[0], all[2])
	b.append(intent)
	b.append(seal)
	rest := []repository.Item{all[1], all[3]}
	requireRead(rest, intent, seal)
	commit := b.commit(1)
	b.append(commit)
	requireRead(rest, intent, seal, commit)
	b.requirePending(rest...) // and nothing has changed by reading

	checkpoint := b.record(repository.KindCheckpoint, 1)
	b.append(checkpoint)
	requireRead(rest, checkpoint)
	intent = b.record(repository.KindIntent, 2)
	b.append(intent)
	requireRead(rest, checkpoint, intent)

	b.close()
	requireRead(rest, checkpoint, intent) // nobody is there
	records := b.lead()
	require.Len(t, records, 2)
	requireRead(rest, checkpoint, intent)
}
