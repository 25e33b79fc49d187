package dirjournal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

var few = limits{remember: 3, spill: 2, segment: 1 << 20}

// at is rec at another time.
func at(when time.Time, kind ledger.Kind, generation int64, ids ...string) ledger.Record {
	r, err := ledger.NewRecord(1, generation, "", when, body(kind, generation, &ledger.State{}, ids...))
	if err != nil {
		panic(err)
	}
	return r
}

// decideAll queues and decides items one by one, at a time.
func decideAll(t *testing.T, j *Journal, leader repository.Lead, when time.Time, ids ...string) {
	t.Helper()
	for i, id := range ids {
		require.NoError(t, queueUp(t.Context(), j, id))
		r := at(when, decided, int64(i+1), id)
		require.NoError(t, leader.Append(t.Context(), r))
	}
	flush(t, j)
}

// flush returns once the writer has done what it does after a call.
func flush(t *testing.T, j *Journal) {
	t.Helper()
	require.NoError(t, j.do(t.Context(), func() error { return nil }))
}

func numbered(prefix string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint(prefix, "-", i))
	}
	return ids
}

// olderIn are the files of outcomes.
func olderIn(d *simDisk) []string {
	var names []string
	for name := range maps.Keys(d.Files()) {
		if base := strings.TrimPrefix(name, "/journal/"); isOlderName(base) {
			names = append(names, base)
		}
	}
	slices.Sort(names)
	return names
}

// requireRemembered requires that the outcomes are known in every way.
func requireRemembered(t *testing.T, j *Journal, ids ...string) {
	t.Helper()
	got, err := j.Outcomes(t.Context(), ids...)
	require.NoError(t, err)
	known, err := j.Enqueue(t.Context(), items(ids...)...)
	require.NoError(t, err)
	for i, id := range ids {
		require.Equal(t, ledger.Published, got[i].State, id)
		require.True(t, known[i], id)
		other := item(id)
		other.Body = []byte("{}")
		_, err = j.Enqueue(t.Context(), item("new"), other)
		require.ErrorIs(t, err, repository.ErrIDReused, id)
		require.Equal(t, ledger.Outcome{}, outcomeOf(t, j, "new"))
	}
}

// Outcomes that are not among the newest are on disk and not in memory, and remembered all the same: before and
// after the journal is opened again, with and without a checkpoint.
func TestOlderOutcomes(t *testing.T) {
	for _, checkpoints := range []bool{false, true} {
		j, d := newJournal(t, few)
		leader := leaderOf(t, j)
		require.NoError(t, queueUp(t.Context(), j, "pending", "sealed"))
		ids := numbered("a", 20)
		decideAll(t, j, leader, noon, ids...)
		if checkpoints {
			require.NoError(t, leader.Append(t.Context(), at(noon, checkpoint, 1)))
		}
		for n := range 3 {
			require.Less(t, len(j.queue.final), 3+2)
			require.Len(t, j.queue.older.ids, 20-len(j.queue.final))
			require.Len(t, j.queue.known, 2+len(j.queue.final))
			require.NotEmpty(t, olderIn(d))
			requireRemembered(t, j, ids...)
			require.Equal(t, int64(7), outcomeOf(t, j, "a-6").Generation)
			require.Equal(t, ledger.Outcome{}, outcomeOf(t, j, "never"))
			require.Equal(t, ledger.Outcome{State: ledger.Accepted}, outcomeOf(t, j, "pending"))
			require.NoError(t, j.Close())
			if n == 1 {
				d.powerLoss(loseAll)
			}
			var err error
			j, err = open(d, "/journal", few)
			require.NoError(t, err)
			defer j.Close()
			if checkpoints {
				require.NotEmpty(t, olderIn(d), "the checkpoint lists them")
			} else {
				require.Empty(t, olderIn(d), "all is in memory again")
			}
			leaderOf(t, j)
			flush(t, j)
		}
	}
}

// After 7 days, and one more, they are forgotten, and their files go.
func TestOlderOutcomesExpire(t *testing.T) {
	j, d := newJournal(t, few)
	leader := leaderOf(t, j)
	first, second, third := numbered("a", 8), numbered("b", 8), numbered("c", 8)
	decideAll(t, j, leader, noon, first...)
	decideAll(t, j, leader, noon.AddDate(0, 0, 5), second...)
	require.NoError(t, leader.Append(t.Context(), at(noon.AddDate(0, 0, 7), checkpoint, 1)))
	requireRemembered(t, j, slices.Concat(first, second)...)
	before := len(olderIn(d))
	decideAll(t, j, leader, noon.AddDate(0, 0, 8).Add(time.Hour), third...)
	requireRemembered(t, j, slices.Concat(first, second, third)...) // it takes a checkpoint
	require.NoError(t, leader.Append(t.Context(), at(noon.AddDate(0, 0, 8).Add(time.Hour), checkpoint, 1)))
	for range 2 {
		requireRemembered(t, j, slices.Concat(second, third)...)
		require.Equal(t, ledger.Outcome{}, outcomeOf(t, j, "a-0"))
		require.Less(t, len(olderIn(d)), before+4)
		require.NoError(t, j.Close())
		var err error
		j, err = open(d, "/journal", few)
		require.NoError(t, err)
		defer j.Close()
	}
	// It is new again.
	known, err := j.Enqueue(t.Context(), item("a-0"))
	require.NoError(t, err)
	require.Equal(t, []bool{false}, known)

	// A copy of the journal that was made meanwhile lacks a file that is about to expire.
	leader = leaderOf(t, j)
	require.NoError(t, leader.Append(t.Context(), epoch(2, at(noon.AddDate(0, 0, 12).Add(12*time.Hour), checkpoint, 1))))
	require.NoError(t, j.Close())
	for _, name := range olderIn(d) {
		require.NoError(t, d.Remove("/journal/"+name))
		j, err = open(d, "/journal", few)
		if err != nil {
			break
		}
		require.NoError(t, j.Close())
	}
	require.ErrorContains(t, err, ".out")
	require.ErrorContains(t, err, "outcomes that the journal remembers are missing: put the file back, or forget them: make it an empty file")
	require.Less(t, len(olderIn(d)), before)
}

func epoch(n int64, r ledger.Record) ledger.Record {
	out, err := ledger.NewRecord(n, r.Generation, r.Prev, r.Time, r.Body)
	if err != nil {
		panic(err)
	}
	return out
}

// What is damaged is named, and nothing is queued that may have been decided.
func TestOlderOutcomesDamaged(t *testing.T) {
	j, d := newJournal(t, few)
	leader := leaderOf(t, j)
	decideAll(t, j, leader, noon, numbered("a", 8)...)
	require.NoError(t, leader.Append(t.Context(), at(noon, checkpoint, 1)))
	require.NoError(t, j.Close())
	name := olderIn(d)[0]
	path := "/journal/" + name
	sound, _ := d.Read(path)
	sound = slices.Clone(sound)
	var inFile []string
	for _, id := range numbered("a", 8) {
		if strings.Contains(string(sound), `"`+id+`"`) {
			inFile = append(inFile, id)
		}
	}
	require.Len(t, inFile, 2)

	refused, failed := 0, 0
	for i := range sound {
		bad := slices.Clone(sound)
		bad[i] ^= 0x40
		d.Put(path, bad)
		j, err := open(d, "/journal", few)
		if err != nil {
			require.ErrorContains(t, err, name)
			refused++
			continue
		}
		for _, id := range inFile {
			_, err := j.Outcomes(t.Context(), id)
			fresh := fmt.Sprint("new-", i, id)
			_, queueErr := j.Enqueue(t.Context(), item(fresh), item(id))
			require.Equal(t, err != nil, queueErr != nil)
			if err != nil {
				require.ErrorContains(t, err, name+": damaged: ")
				require.ErrorContains(t, err, "put a copy from a backup in its place, or forget its outcomes: make it an empty file")
				require.NotErrorIs(t, queueErr, repository.ErrUnknown)
				require.Equal(t, ledger.Outcome{}, outcomeOf(t, j, fresh), "all or none")
				failed++
			}
		}
		require.NoError(t, j.Close())
		d.Put("/journal/"+name, sound)
	}
	require.GreaterOrEqual(t, refused, olderHead+16)
	require.Greater(t, failed, len(sound)-olderHead-16)
	for n := range sound {
		d.Put(path, sound[:n])
		j, err := open(d, "/journal", few)
		if err != nil {
			require.ErrorContains(t, err, name)
			continue
		}
		_, err = j.Outcomes(t.Context(), inFile...)
		require.Equal(t, n > 0, err != nil, n)
		require.NoError(t, j.Close())
	}
	// An empty file: forgotten.
	d.Put(path, []byte{})
	j, err := open(d, "/journal", few)
	require.NoError(t, err)
	defer j.Close()
	for _, id := range inFile {
		require.Equal(t, ledger.Outcome{}, outcomeOf(t, j, id))
	}
	requireRemembered(t, j, slices.DeleteFunc(numbered("a", 8), func(id string) bool { return slices.Contains(inFile, id) })...)
}

// As long as a file can't be written the outcomes stay in memory, and nothing else fails.
func TestOlderOutcomesDiskFull(t *testing.T) {
	j, d := newJournal(t, few)
	leader := leaderOf(t, j)
	full := true
	tries := 0
	d.Inject(func(op crashfs.Op) crashfs.Fault {
		if full && op.Kind == "write" && op.Path == "/journal/"+olderTmp {
			tries++
			return crashfs.Fail
		}
		return crashfs.Healthy
	})
	ids := numbered("a", 20)
	decideAll(t, j, leader, noon, ids...)
	require.Len(t, j.queue.final, 20)
	require.Empty(t, olderIn(d))
	require.Less(t, tries, 12, "not after each call")
	requireRemembered(t, j, ids...)
	full = false
	decideAll(t, j, leader, noon, numbered("b", 4)...)
	require.Less(t, len(j.queue.final), 3+2)
	requireRemembered(t, j, ids...)
}

// The index finds what a map finds, also if hashes are the same.
func TestOlderIndex(t *testing.T) {
	d := newSimDisk()
	require.NoError(t, d.Mkdir("/journal", 0o700))
	at := dir{fsys: d, name: "/journal"}
	var o older
	want := map[string]int64{}
	now := noon
	for n := range 10 {
		var all []*known
		for i := range 50 {
			id := fmt.Sprint((n*37 + i*i) % 200)
			r, err := remember(ledger.OutcomeOf(item(id), ledger.Outcome{State: ledger.Published, Generation: int64(n)}))
			require.NoError(t, err)
			if !slices.ContainsFunc(all, func(k *known) bool { return k.id == id }) {
				all = append(all, &known{remembered: r})
				want[id] = int64(n)
			}
		}
		f, data, hashes := encodeOlder(olderName(uint64(n)), all, now)
		d.Put("/journal/"+f.Name, data)
		o.add(f, hashes)
		loaded, err := f.load(at)
		require.NoError(t, err)
		require.Equal(t, hashes, loaded)
		now = now.AddDate(0, 0, 1)
	}
	require.True(t, slices.IsSorted(o.ids))
	check := func() {
		t.Helper()
		for i := range 300 {
			r, found, err := o.find(at, fmt.Sprint(i))
			require.NoError(t, err)
			gen, ok := want[fmt.Sprint(i)]
			require.Equal(t, ok, found, i)
			if ok {
				require.Equal(t, gen, r.generation, "the newest one counts")
			}
		}
	}
	check()
	gone := o.expire(now.AddDate(0, 0, 2))
	require.Equal(t, []string{olderName(0), olderName(1), olderName(2), olderName(3)}, gone)
	maps.DeleteFunc(want, func(_ string, gen int64) bool { return gen < 4 })
	check()

	// Another ID with the same hash.
	o.ids = slices.Repeat([]uint64{idHash("other")}, len(o.ids))
	_, found, err := o.find(at, "other")
	require.NoError(t, err)
	require.False(t, found)
}

// FuzzOlder: no content of a file makes a reader fail in another way than with an error.
func FuzzOlder(f *testing.F) {
	var all []*known
	for i := range 3 {
		r, err := remember(ledger.OutcomeOf(item(fmt.Sprint(i)), ledger.Outcome{State: ledger.SetAside, Reason: "é"}))
		require.NoError(f, err)
		all = append(all, &known{remembered: r})
	}
	file, data, _ := encodeOlder(olderName(1), all, noon)
	f.Add(data, file.CRC, 3)
	f.Add(data[:40], file.CRC, 3)
	f.Add(data, file.CRC, 2)
	f.Add([]byte{}, uint32(0), 0)
	f.Fuzz(func(t *testing.T, data []byte, crc uint32, n int) {
		d := newSimDisk()
		require.NoError(t, d.Mkdir("/journal", 0o700))
		d.Put("/journal/"+olderName(1), data)
		at := dir{fsys: d, name: "/journal"}
		file := olderFile{Name: olderName(1), Outcomes: n, CRC: crc}
		hashes, err := file.load(at)
		if err != nil {
			return
		}
		for i := range hashes {
			if r, err := (olderPlace{file, i}).read(at); err == nil {
				require.NotZero(t, r.state)
			}
		}
	})
}

// What an Archive puts away is remembered all the same.
func TestOlderOutcomesArchived(t *testing.T) {
	j, d := newJournal(t, few)
	require.NoError(t, d.Mkdir("/archive", 0o700))
	leader := leaderOf(t, j)
	decideAll(t, j, leader, noon, numbered("a", 20)...)
	c := at(noon, checkpoint, 1)
	require.NoError(t, leader.Append(t.Context(), c))
	_, err := j.Archive(context.Background(), c.Hash(), "/archive")
	require.NoError(t, err)
	for range 2 {
		requireRemembered(t, j, numbered("a", 20)...)
		require.NoError(t, j.Close())
		j, err = open(d, "/journal", few)
		require.NoError(t, err)
		defer j.Close()
	}
}
