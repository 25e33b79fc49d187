package dirjournal

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// publish publishes items in one generation.
func publish(t *testing.T, leader repository.Lead, generation int64, ids ...string) {
	t.Helper()
	require.NoError(t, leader.Append(t.Context(), rec(seal, generation, ids...)))
	require.NoError(t, leader.Append(t.Context(), rec(commit, generation)))
}

func outcomeOf(t *testing.T, j *Journal, id string) ledger.Outcome {
	t.Helper()
	o, err := j.Outcomes(t.Context(), id)
	require.NoError(t, err)
	return o[0]
}

// TestDecidedOnce: what was decided stays so when a record that was not refused says
// otherwise, as one of a journal that another version wrote.
func TestDecidedOnce(t *testing.T) {
	q := newQueue()
	e := item("a")
	encoded, err := encodeEntry(e)
	require.NoError(t, err)
	k := newKnown(e, encoded)
	q.known[k.id] = k
	q.push([]*known{k})
	for n := range int64(2) {
		q.apply(rec(seal, 1+n, "a"))
		q.apply(rec(commit, 1+n))
		q.apply(rec(decided, 7, "a", "b"))
		require.Equal(t, ledger.Outcome{State: ledger.Published, Generation: 1}, q.outcome("a"))
		require.Empty(t, q.pending)
		require.Empty(t, q.sealed)
		require.Len(t, q.final, 1)
		require.Zero(t, q.bytes)
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
			require.NoError(t, queueUp(t.Context(), j, id))
			publish(t, leader, 1+20*n+i, id)
		}
		require.NoError(t, leader.Append(t.Context(), rec(checkpoint, n)))
		require.NoError(t, queueUp(t.Context(), j, fmt.Sprintf("late-%02d", n)))
		publish(t, leader, 10_000+n, fmt.Sprintf("late-%02d", n))

		noted := &opens{FS: d}
		all, err := beginning(noted, "/journal", segments(t, d), ledger.FromCheckpoint)
		require.NoError(t, err)
		_, err = replay(noted, "/journal", all, whole, into(newQueue()))
		require.NoError(t, err)
		opened = append(opened, noted.names)
	}
	require.Greater(t, j.segment.number, uint64(100), "there is a history")
	for _, names := range opened {
		require.Len(t, names, 2, "the last one's header, and all of it")
		require.Equal(t, names[0], names[1])
	}
}

// into returns what reads parts into a queue.
func into(q *queue) func(part) error {
	return func(p part) error {
		_, err := q.read(p)
		return err
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
		require.NoError(t, queueUp(t.Context(), j, fmt.Sprint(n)))
		publish(t, leader, n, fmt.Sprint(n))
		if n%10 == 9 {
			require.NoError(t, leader.Append(t.Context(), rec(checkpoint, n)))
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
			require.NoError(t, parts(f.payload, func(p part) error {
				if p.kind == recordPart || p.kind == checkpointPart {
					r, err := ledger.ParseRecord(p.data)
					require.Equal(t, p.kind == checkpointPart, r.Kind() == checkpoint)
					kinds = append(kinds, fmt.Sprintf("%s %d", r.Kind(), r.Generation))
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
