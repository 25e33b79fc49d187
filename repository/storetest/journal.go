package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/stretchr/testify/require"
)

// Place is where one journal lives.
type Place struct {
	// Open opens a handle on the journal, as a process does.
	Open func() (repository.Journal, error)

	// Expire ends the lease of whoever leads, as if that process had been silent
	// for too long. It is nil for a journal that one process at a time can have
	// open: then Open must fail with ErrLocked until that process closed it.
	Expire func()
}

// TestJournal holds a repository.Journal to its contract. place returns where a
// new, empty journal lives, and cleans up after itself with t.Cleanup.
func TestJournal(t *testing.T, place func(t *testing.T) Place) {
	for _, test := range []struct {
		name string
		run  func(b *bench)
	}{
		{"Enqueue", testEnqueue},
		{"EnqueueAgain", testEnqueueAgain},
		{"EnqueueAllOrNone", testEnqueueAllOrNone},
		{"EnqueueRace", testEnqueueRace},
		{"EnqueueReuseRace", testEnqueueReuseRace},
		{"EnqueueKeepsOrder", testEnqueueKeepsOrder},
		{"NoSharedMemory", testJournalNoSharedMemory},
		{"Outcome", testOutcome},
		{"OutcomeNeedsCommit", testOutcomeNeedsCommit},
		{"SealedAgain", testSealedAgain},
		{"Reopen", testReopen},
		{"Load", testLoad},
		{"LoadFirstAndOnce", testLoadFirstAndOnce},
		{"Checkpoint", testCheckpoint},
		{"CheckpointAmongOthers", testCheckpointAmongOthers},
		{"AppendAllOrNone", testAppendAllOrNone},
		{"Await", testAwait},
		{"Release", testRelease},
		{"Fencing", testFencing},
		{"OneProcess", testOneProcess},
		{"Close", testClose},
		{"CloseUnderWay", testCloseUnderWay},
		{"ContextEnded", testJournalContext},
		{"ContextEndsUnderWay", testContextEndsUnderWay},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := &bench{T: t, place: place(t)}
			t.Cleanup(func() { b.close() })
			test.run(b)
		})
	}
}

// bench is what a test works at: one place, and the process that it plays.
type bench struct {
	*testing.T
	place  Place
	open   repository.Journal // nil while closed
	leader repository.Leader  // nil before lead
	epoch  int64              // of leader
}

// journal opens the journal, unless it is open.
func (b *bench) journal() repository.Journal {
	b.Helper()
	if b.open == nil {
		j, err := b.place.Open()
		require.NoError(b, err)
		b.open = j
	}
	return b.open
}

func (b *bench) close() {
	b.Helper()
	if b.open != nil {
		require.NoError(b, b.open.Close())
	}
	b.open, b.leader = nil, nil
}

// lead leads, and returns what was loaded.
func (b *bench) lead() []repository.Record {
	b.Helper()
	leader, err := b.journal().Lead(b.Context())
	require.NoError(b, err)
	log, err := leader.Load(b.Context())
	require.NoError(b, err)
	require.Greater(b, log.Epoch, b.epoch)
	b.leader, b.epoch = leader, log.Epoch
	return log.Records
}

func (b *bench) append(recs ...repository.Record) {
	b.Helper()
	require.NoError(b, b.leader.Append(b.Context(), recs...))
}

func (b *bench) enqueue(items ...repository.Item) {
	b.Helper()
	require.NoError(b, b.journal().Enqueue(b.Context(), items...))
}

func (b *bench) requireOutcome(id string, want repository.Outcome) {
	b.Helper()
	got, err := b.journal().Outcome(b.Context(), id)
	require.NoError(b, err)
	require.Equal(b, want, got)
}

func (b *bench) requireUnknown(id string) {
	b.Helper()
	_, err := b.journal().Outcome(b.Context(), id)
	require.ErrorIs(b, err, repository.ErrUnknownItem)
}

// requirePending requires that exactly these items are pending, in this order.
func (b *bench) requirePending(want ...repository.Item) {
	b.Helper()
	stats, err := b.journal().Stats(b.Context())
	require.NoError(b, err)
	require.Equal(b, len(want), stats.Pending)
	size := 0
	for _, it := range want {
		data, err := it.MarshalJSON()
		require.NoError(b, err)
		size += len(data)
	}
	require.EqualValues(b, size, stats.Bytes)
	if len(want) == 0 {
		require.True(b, stats.Oldest.IsZero())
	} else {
		require.True(b, want[0].Accepted.Equal(stats.Oldest), "%v", stats.Oldest)
	}
	if b.leader == nil {
		b.lead()
	}
	got, err := b.leader.Pending(b.Context(), len(want)+1)
	require.NoError(b, err)
	require.Len(b, got, len(want))
	for i := range want {
		requireSame(b, want[i], got[i])
	}
}

// requireSame compares what items and records are by: their JSON.
func requireSame(t testing.TB, want, got any) {
	t.Helper()
	w, err := json.Marshal(want)
	require.NoError(t, err)
	g, err := json.Marshal(got)
	require.NoError(t, err)
	require.Equal(t, string(w), string(g))
}

var noon = time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)

// item makes an item whose ID is its path.
func item(format string, args ...any) repository.Item {
	id := fmt.Sprintf(format, args...)
	return repository.Item{
		ID: id,
		Add: []roles.Target{{
			Path: "packages/" + id + "-1.0-py3-none-any.whl", Length: 1 << 40,
			Hashes: map[string]string{"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
			Custom: json.RawMessage(`{ "yanked" : false, "größe": "<&>\u2028" }`),
		}},
		Remove:   []string{"simple/" + id + "/index.html"},
		Accepted: noon,
	}
}

// changed returns another item with the same ID.
func changed(it repository.Item) repository.Item {
	it.Remove = append([]string{"simple/index.html"}, it.Remove...)
	return it
}

func items(name string, n int) []repository.Item {
	all := make([]repository.Item, n)
	for i := range all {
		all[i] = item("%s-%d", name, i)
		all[i].Accepted = noon.Add(time.Duration(i) * time.Second)
	}
	return all
}

func published(generation int64) repository.Outcome {
	return repository.Outcome{State: repository.Published, Generation: generation}
}

var accepted = repository.Outcome{State: repository.Accepted}

// record makes a record that only a journal would take for a real one.
func (b *bench) record(kind repository.RecordKind, generation int64, outcomes ...repository.ItemOutcome) repository.Record {
	body := fmt.Sprintf(`{"of":"%s %d","html":"<&>","text":"é\u2028"}`, kind, generation)
	return repository.Record{
		Epoch: b.epoch, Kind: kind, Generation: generation, Prev: "0123abcd",
		Outcomes: outcomes, Body: json.RawMessage(body),
	}
}

// seal makes a seal that publishes items.
func (b *bench) seal(generation int64, items ...repository.Item) repository.Record {
	var outcomes []repository.ItemOutcome
	for _, it := range items {
		outcomes = append(outcomes, repository.ItemOutcome{ID: it.ID, Outcome: published(generation)})
	}
	return b.record(repository.KindSeal, generation, outcomes...)
}

func (b *bench) commit(generation int64) repository.Record {
	return b.record(repository.KindCommit, generation)
}

func ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
