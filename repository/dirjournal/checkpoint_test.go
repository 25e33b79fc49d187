package dirjournal

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/stretchr/testify/require"
)

// publish publishes items in one generation.
func publish(t *testing.T, leader repository.Leader, generation int64, ids ...string) {
	t.Helper()
	p := &process{leader: leader, epoch: 1}
	require.NoError(t, record(seal, generation, ids...)(p))
	require.NoError(t, record(commit, generation)(p))
}

// TestForgets: the newest outcomes are remembered, and no more, before and after
// the journal is opened again; what is not published is never forgotten.
func TestForgets(t *testing.T) {
	lim := limits{remember: 3, segment: 1 << 20}
	for _, checkpoints := range []bool{false, true} {
		j, d := newJournal(t, lim)
		leader := leaderOf(t, j)
		require.NoError(t, j.Enqueue(t.Context(), item("pending"), item("sealed")))
		require.NoError(t, record(seal, 1, "sealed")(&process{leader: leader, epoch: 1}))
		for i := range int64(10) {
			id := fmt.Sprint(i)
			require.NoError(t, j.Enqueue(t.Context(), item(id)))
			publish(t, leader, 2+i, id)
			if checkpoints {
				require.NoError(t, record(checkpoint, 2+i)(&process{leader: leader, epoch: 1}))
			}
		}
		for range 2 {
			require.Len(t, j.queue.known, 5)
			require.Len(t, j.queue.final, 3)
			for i := range int64(10) {
				o, err := j.Outcome(t.Context(), fmt.Sprint(i))
				if i < 7 {
					require.ErrorIs(t, err, repository.ErrUnknownItem)
				} else {
					require.NoError(t, err)
					require.Equal(t, repository.Outcome{State: repository.Published, Generation: 2 + i}, o)
				}
			}
			for _, id := range []string{"pending", "sealed"} {
				o, err := j.Outcome(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, repository.Accepted, o.State)
			}
			require.NoError(t, j.Close())
			var err error
			j, err = open(d, "/journal", lim)
			require.NoError(t, err)
			defer j.Close()
		}
		// A forgotten one can be queued, and read again by one that remembers more.
		require.NoError(t, j.Enqueue(t.Context(), item("8"), item("0")))
		require.NoError(t, j.Close())
		got, err := pending(t, d)
		require.NoError(t, err)
		require.Equal(t, []string{"pending", "0"}, got)
	}
}

// TestRemembersMore: an item that a writer had forgotten and queued again is not
// mistaken for the earlier one by a reader that remembers more.
func TestRemembersMore(t *testing.T) {
	j, d := newJournal(t, limits{remember: 3, segment: 1 << 20})
	leader := leaderOf(t, j)
	for i := range int64(4) {
		require.NoError(t, j.Enqueue(t.Context(), item(fmt.Sprint(i))))
		publish(t, leader, 1+i, fmt.Sprint(i))
	}
	require.NoError(t, j.Enqueue(t.Context(), item("0")))
	require.NoError(t, j.Enqueue(t.Context(), item("4"), item("5")))
	publish(t, leader, 5, "4", "5")
	require.NoError(t, j.Close())

	j, err := open(d, "/journal", limits{remember: 5, segment: 1 << 20})
	require.NoError(t, err)
	defer j.Close()
	o, err := j.Outcome(t.Context(), "0")
	require.NoError(t, err)
	require.Equal(t, repository.Outcome{State: repository.Accepted}, o)
	require.Len(t, j.queue.known, 6)
}

// TestDecidedOnce: what a record of the same call has committed stays decided.
func TestDecidedOnce(t *testing.T) {
	j, d := newJournal(t, defaults)
	leader := leaderOf(t, j)
	require.NoError(t, j.Enqueue(t.Context(), item("a")))
	outcome := func(generation int64) []repository.ItemOutcome {
		return []repository.ItemOutcome{{ID: "a", Outcome: repository.Outcome{State: repository.Published, Generation: generation}}}
	}
	require.NoError(t, leader.Append(t.Context(),
		repository.Record{Epoch: 1, Kind: seal, Generation: 1, Outcomes: outcome(1)},
		repository.Record{Epoch: 1, Kind: commit, Generation: 1},
		repository.Record{Epoch: 1, Kind: seal, Generation: 2, Outcomes: outcome(2)},
		repository.Record{Epoch: 1, Kind: commit, Generation: 2}))
	for range 2 {
		o, err := j.Outcome(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, int64(1), o.Generation)
		require.NoError(t, j.Close())
		j, err = OpenFS(d, "/journal")
		require.NoError(t, err)
		defer j.Close()
	}
}

// TestOpenReadsLittle: what opening reads depends on what was written since the
// newest checkpoint, and not on the history.
func TestOpenReadsLittle(t *testing.T) {
	lim := limits{remember: 10, segment: 2000}
	j, d := newJournal(t, lim)
	leader := leaderOf(t, j)
	var opened [][]string
	for n := range int64(30) {
		for i := range int64(20) {
			id := fmt.Sprintf("%02d-%02d", n, i)
			require.NoError(t, j.Enqueue(t.Context(), item(id)))
			publish(t, leader, 1+20*n+i, id)
		}
		require.NoError(t, record(checkpoint, n)(&process{leader: leader, epoch: 1}))
		require.NoError(t, j.Enqueue(t.Context(), item(fmt.Sprintf("late-%02d", n))))
		publish(t, leader, 10_000+n, fmt.Sprintf("late-%02d", n))

		noted := &opens{FS: d}
		_, err := replay(noted, "/journal", segments(t, d), newQueue(lim.remember).read)
		require.NoError(t, err)
		opened = append(opened, noted.names)
	}
	require.Greater(t, j.segment.number, uint64(100), "there is a history")
	for _, names := range opened {
		require.Len(t, names, 2, "the last one's header, and all of it")
		require.Equal(t, names[0], names[1])
	}
}

// opens notes which files are opened.
type opens struct {
	disk.FS
	names []string
}

func (o *opens) Open(name string) (disk.Reader, error) {
	o.names = append(o.names, filepath.Base(name))
	return o.FS.Open(name)
}

func segments(t *testing.T, d *simDisk) []uint64 {
	t.Helper()
	l, err := list(d, "/journal")
	require.NoError(t, err)
	require.False(t, l.tmp)
	return l.segments
}

// TestWholeHistory: the segments before a checkpoint are kept, and lead from the
// very first record to the newest.
func TestWholeHistory(t *testing.T) {
	j, d := newJournal(t, tiny)
	leader := leaderOf(t, j)
	const generations = 50
	for n := range int64(generations) {
		require.NoError(t, j.Enqueue(t.Context(), item(fmt.Sprint(n))))
		publish(t, leader, n, fmt.Sprint(n))
		if n%10 == 9 {
			require.NoError(t, record(checkpoint, n)(&process{leader: leader, epoch: 1}))
		}
	}
	var kinds []string
	var next uint64 = 1
	for number := uint64(1); number <= j.segment.number; number++ {
		c, _, err := readSegment(d, "/journal", number)
		require.NoError(t, err)
		require.Equal(t, next, c.first)
		next = c.next()
		for _, f := range c.frames {
			require.NoError(t, lines(f.payload, func(kind byte, data []byte) error {
				if kind == recordLine {
					r, err := jsontext.Decode[repository.Record](data)
					kinds = append(kinds, fmt.Sprintf("%s %d", r.Kind, r.Generation))
					return err
				}
				return nil
			}))
		}
	}
	require.Len(t, kinds, 2*generations+5)
	require.Equal(t, "seal 0", kinds[0])
	require.Equal(t, "checkpoint 49", kinds[len(kinds)-1])
}
