package storetest

import (
	"testing"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

// TestHistorian holds a journal that is a repository.Historian to that contract.
// place is that of TestJournal.
func TestHistorian(t *testing.T, place func(t *testing.T) Place) {
	b := &bench{T: t, place: place(t)}
	defer b.close()
	var want []repository.Entry
	requireHistory := func() {
		t.Helper()
		i := 0
		for e, err := range b.journal().(repository.Historian).History(t.Context()) {
			require.NoError(t, err)
			require.Less(t, i, len(want))
			switch {
			case want[i].Item != nil:
				require.NotNil(t, e.Item, "entry %d", i)
				require.Equal(t, want[i].Item.ID, e.Item.ID)
				require.Equal(t, want[i].Item.Digest(), e.Item.Digest())
				require.Nil(t, e.Record)
			default:
				require.NotNil(t, e.Record, "entry %d", i)
				requireSame(t, *want[i].Record, *e.Record)
				require.Nil(t, e.Item)
			}
			i++
		}
		require.Len(t, want, i)
	}
	enqueue := func(items ...repository.Item) {
		t.Helper()
		b.enqueue(items...)
		for _, it := range items {
			want = append(want, repository.Entry{Item: &it})
		}
	}
	write := func(records ...repository.Record) {
		t.Helper()
		b.append(records...)
		for _, r := range records {
			want = append(want, repository.Entry{Record: &r})
		}
	}
	requireHistory()
	all := items("a", 6)
	enqueue(all[:4]...)
	b.lead()
	write(b.record(repository.KindIntent, 1), b.seal(1, all[2], all[0]))
	enqueue(all[4])
	requireHistory()
	write(b.commit(1))
	// A checkpoint may hold copies of what is pending and of what was decided.
	write(b.record(repository.KindCheckpoint, 1))
	requireHistory()
	b.close()
	requireHistory()
	b.lead()
	b.enqueue(all[:5]...) // known
	enqueue(all[5])
	write(b.record(repository.KindCheckpoint, 1), b.record(repository.KindIntent, 2), b.seal(2, all[1]))
	write(b.seal(3, all[1], all[5]), b.commit(3))
	write(b.record(repository.KindCheckpoint, 3))
	for range 3 {
		requireHistory()
		b.close()
	}

	// The loop may be left, and the context ended.
	for e, err := range b.journal().(repository.Historian).History(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, all[0].ID, e.Item.ID)
		break
	}
	for _, err := range b.journal().(repository.Historian).History(ended(t)) {
		require.ErrorIs(t, err, ended(t).Err())
	}
}
