package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// book is a ledger that is being written.
type book struct {
	testing.TB
	steps   []ledger.Step
	history ledger.History
	epoch   int64
}

func newBook(t testing.TB) *book { return &book{TB: t, epoch: 1} }

func entry(id string) ledger.Entry {
	e, err := ledger.Item{ID: id, Accepted: noon, Remove: []string{id}}.Entry()
	if err != nil {
		panic(err)
	}
	return e
}

func (b *book) take(s ledger.Step) error {
	err := b.history.Apply(s)
	if err == nil {
		b.steps = append(b.steps, s)
	}
	return err
}

func (b *book) queue(ids ...string) {
	b.Helper()
	for _, id := range ids {
		e := entry(id)
		require.NoError(b, b.take(ledger.Step{Entry: &e}))
	}
}

func (b *book) write(generation int64, body ledger.Body) {
	b.Helper()
	require.NoError(b, b.try(generation, body))
}

func (b *book) try(generation int64, body ledger.Body) error {
	b.Helper()
	at := noon.Add(time.Duration(len(b.steps)) * time.Second)
	r, err := b.history.State.Next(b.epoch, generation, at, body)
	require.NoError(b, err)
	return b.take(ledger.Step{Record: &r})
}

// refuses makes sure that a body is refused; the state isn't used after that.
func (b *book) refuses(want string, generation int64, body ledger.Body) {
	b.Helper()
	copied := fold(b.TB, b.steps)
	other := &book{TB: b.TB, steps: b.steps, history: *copied, epoch: b.epoch}
	require.ErrorContains(b, other.try(generation, body), want)
}

func sealOf(generation int64, ids ...string) *ledger.Seal {
	var outcomes []ledger.ItemOutcome
	for _, id := range ids {
		outcomes = append(outcomes, ledger.OutcomeOf(entry(id), ledger.Outcome{State: ledger.Published, Generation: generation}))
	}
	return &ledger.Seal{
		Signed: noon.Unix() + generation, Keys: []string{"k"}, Rows: []ledger.RoleRow{{Role: "claimed", Row: row(generation)}},
		Documents: map[string]ledger.Doc{"root": {Version: generation}}, Snapshot: ledger.Blob{SHA256: digest, Length: generation},
		Outcomes: outcomes, Swaps: []ledger.Swap{{Name: "checkpoint", New: []byte("c")}, {Name: ledger.Timestamp, New: fmt.Append(nil, generation)}},
	}
}

func (b *book) publish(generation int64, ids ...string) {
	b.Helper()
	b.write(generation, &ledger.Intent{})
	b.write(generation, sealOf(generation, ids...))
	b.write(generation, &ledger.Commit{})
}

func fold(t testing.TB, steps []ledger.Step) *ledger.History {
	t.Helper()
	var h ledger.History
	for _, s := range steps {
		require.NoError(t, h.Apply(s))
	}
	return &h
}

func ids(entries []ledger.Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return strings.Join(all, " ")
}

func TestGeneration(t *testing.T) {
	b := newBook(t)
	s := &b.history.State
	b.queue("a", "b", "c")
	doc := ledger.Doc{Version: 1}
	b.write(0, &ledger.Documents{InForce: map[string]ledger.Doc{"root": doc}, Files: []ledger.File{{Role: "root", Doc: doc}}})
	require.Len(t, s.Unwritten, 1)
	b.write(5, &ledger.Intent{Bins: []ledger.BinRange{{Prefix: "bins", Digits: 1, First: 0, Last: 1}}})
	require.EqualValues(t, 5, s.Planned)
	require.Zero(t, s.Last())
	b.write(7, &ledger.Intent{}) // 5 is burnt
	seal := sealOf(7, "b")
	seal.Sets = []ledger.SetSize{{Prefix: "bins", Bins: 2}}
	seal.Rows = append(seal.Rows, ledger.RoleRow{Role: "bins-1", Row: row(7)})
	b.write(7, seal)
	require.EqualValues(t, 7, s.Last())
	require.Zero(t, s.Generation)
	require.Nil(t, s.Timestamp())
	require.Equal(t, "a c", ids(b.history.Queue()))
	require.Equal(t, "b", ids(b.history.Sealed()))
	b.write(7, &ledger.Commit{})
	require.EqualValues(t, 7, s.Generation)
	require.Equal(t, noon.Add(7*time.Second), s.Committed)
	require.Equal(t, noon.Unix()+7, s.Signed.Unix())
	require.Equal(t, "7", string(s.Timestamp()))
	require.Equal(t, "c", string(s.Swapped["checkpoint"]))
	require.Equal(t, seal.Documents, s.Published)
	require.Empty(t, s.Unwritten)
	require.Empty(t, b.history.Sealed())
	got, ok := s.Table.Row("bins-1")
	require.True(t, ok)
	require.Equal(t, row(7), got)
	_, ok = s.Table.Row("bins-0")
	require.False(t, ok)

	b.write(8, &ledger.Intent{})
	seal = sealOf(8)
	seal.Rows, seal.Dropped = []ledger.RoleRow{{Role: "bins-0", Row: row(8)}}, []string{"claimed"}
	seal.Sets = []ledger.SetSize{{Prefix: "bins", Bins: 2}, {Prefix: "more", Bins: 4}}
	b.write(8, seal)
	b.write(8, &ledger.Commit{})
	_, ok = s.Table.Row("claimed")
	require.False(t, ok)
	got, _ = s.Table.Row("bins-1")
	require.Equal(t, row(7), got, "a set whose size stays keeps its rows")
	require.Equal(t, 6, s.Table.Len())
	b.write(8, &ledger.Collected{Through: 7})
	require.EqualValues(t, 7, s.Collected)
}

// TestDocumentsAfterSeal: a commit comes after the documents that were there at its seal, and
// no others.
func TestDocumentsAfterSeal(t *testing.T) {
	b := newBook(t)
	file := func(version int64) []ledger.File {
		return []ledger.File{{Role: "root", Doc: ledger.Doc{Version: version}}}
	}
	b.write(0, &ledger.Documents{Files: file(1)})
	b.write(1, &ledger.Intent{})
	b.write(1, sealOf(1))
	b.write(0, &ledger.Documents{Files: file(2)})
	require.Len(t, b.history.State.Unwritten, 2)
	b.write(1, &ledger.Commit{})
	require.Equal(t, file(2), b.history.State.Unwritten)
	b.publish(2)
	require.Empty(t, b.history.State.Unwritten)
}

func TestRefusedRecords(t *testing.T) {
	b := newBook(t)
	b.queue("a", "b", "c")
	b.refuses("there is no intent before it", 1, sealOf(1))
	b.refuses("there is no seal before it", 1, &ledger.Commit{})
	for _, bins := range []ledger.BinRange{
		{Prefix: "b", Digits: 0}, {Prefix: "b", Digits: 5}, {Prefix: "b", Digits: 1, First: -1}, {Prefix: "b", Digits: 1, First: 2, Last: 1},
		{Prefix: "b", Digits: 1, First: 0, Last: 16}, {Prefix: "b", Digits: -1, Last: 1 << 30},
	} {
		b.refuses("out of range", 1, &ledger.Intent{Bins: []ledger.BinRange{bins}})
	}
	b.write(1, &ledger.Intent{})
	b.refuses("it follows generation 1", 1, &ledger.Intent{})
	b.refuses("there is no intent before it", 2, sealOf(2))
	alter := func(f func(*ledger.Seal)) *ledger.Seal {
		seal := sealOf(1, "a")
		f(seal)
		return seal
	}
	for want, f := range map[string]func(*ledger.Seal){
		"its last swap is not timestamp.json": func(s *ledger.Seal) { s.Swaps[0], s.Swaps[1] = s.Swaps[1], s.Swaps[0] },
		"its last swap is not":                func(s *ledger.Seal) { s.Swaps = nil },
		"it swaps timestamp.json twice":       func(s *ledger.Seal) { s.Swaps[0].Name = ledger.Timestamp },
		"claimed: key 1 of 1: out of range":   func(s *ledger.Seal) { s.Rows[0].Row.Key = 1 },
		"claimed: key -1 of 1: out of range":  func(s *ledger.Seal) { s.Rows[0].Row.Key = -1 },
		"key 0 of 0: out of range":            func(s *ledger.Seal) { s.Keys = nil },
		"not a power of two":                  func(s *ledger.Seal) { s.Sets = []ledger.SetSize{{Prefix: "b", Bins: 3}} },
		`two sets of bins named "b"`:          func(s *ledger.Seal) { s.Sets = []ledger.SetSize{{Prefix: "b", Bins: 2}, {Prefix: "b", Bins: 4}} },
		`item "z" isn't in the history`:       func(s *ledger.Seal) { s.Outcomes[0].ID = "z" },
		`item "b" has the digest`:             func(s *ledger.Seal) { s.Outcomes[0].ID = "b" },
		`item "a" isn't in the history`:       func(s *ledger.Seal) { s.Outcomes = append(s.Outcomes, s.Outcomes[0]) },
	} {
		b.refuses(want, 1, alter(f))
	}
	b.write(1, sealOf(1, "a"))
	b.refuses("generation 1 is sealed and not committed", 1, sealOf(1, "b"))
	b.refuses("there is no seal before it", 2, &ledger.Commit{})
	b.refuses(`item "a" isn't in the history`, 1, &ledger.Decided{Outcomes: sealOf(1, "a").Outcomes})
	e := entry("a")
	require.ErrorContains(t, fold(t, b.steps).Apply(ledger.Step{Entry: &e}), "queued twice")
	b.write(1, &ledger.Commit{})
	b.refuses("there is no intent before it", 2, sealOf(2))
	b.refuses("through generation 2: not from 0 to 1", 1, &ledger.Collected{Through: 2})
	b.refuses("through generation -1", 1, &ledger.Collected{Through: -1})
	e = entry("b")
	require.ErrorContains(t, fold(t, b.steps).Apply(ledger.Step{Entry: &e}), "queued twice")

	b.epoch = 3
	b.write(2, &ledger.Intent{})
	b.epoch = 2
	b.refuses("it is of epoch 2, after one of epoch 3", 3, &ledger.Intent{})
	b.epoch = 3
	r := newRecord(t, 3, 3, digest, &ledger.Intent{})
	require.ErrorContains(t, fold(t, b.steps).Apply(ledger.Step{Record: &r}), "the chain is broken")

	fewer := sealOf(2)
	fewer.Keys, fewer.Rows = nil, nil
	b.write(2, fewer)
	b.refuses("claimed: key 0 of 0: out of range", 2, &ledger.Commit{})
}

func TestRefusedCheckpoints(t *testing.T) {
	b := newBook(t)
	b.publish(1)
	b.write(5, &ledger.Intent{})
	for want, f := range map[string]func(*ledger.Checkpoint){
		"it knows of no generation after 4, and there was 5": func(c *ledger.Checkpoint) { c.Planned = 4 },
		"key 7 of 1: out of range": func(c *ledger.Checkpoint) {
			c.Table.Roles = map[string]ledger.Row{"x": {Version: 1, Key: 7}}
		},
		`bin 1 of "b": key 7`: func(c *ledger.Checkpoint) {
			c.Table.Sets = []ledger.Set{{Prefix: "b", Rows: []ledger.Row{{}, {Version: 1, Key: 7}}}}
		},
		"3 bins: not a power of two": func(c *ledger.Checkpoint) { c.Table.Sets = []ledger.Set{{Prefix: "b", Rows: make([]ledger.Row, 3)}} },
	} {
		c := b.history.State.Checkpoint()
		f(c)
		b.refuses(want, 1, c)
	}
	b.refuses("it knows of no generation after 5, and there was 6", 6, b.history.State.Checkpoint())
	b.write(1, b.history.State.Checkpoint())
}

// TestBeginsAtCheckpoint: a history that begins there ends as the whole one does.
func TestBeginsAtCheckpoint(t *testing.T) {
	b := newBook(t)
	b.queue("a", "b", "c", "d")
	b.publish(1, "b")
	b.write(1, &ledger.Collected{Through: 1})
	pending := append([]ledger.Entry(nil), b.history.Queue()...)
	begins := len(b.steps)
	b.epoch++
	b.write(1, b.history.State.Checkpoint())
	b.queue("e")
	b.publish(2, "d", "e")
	b.write(2, &ledger.Decided{Outcomes: sealOf(2, "a").Outcomes})

	var steps []ledger.Step
	for _, e := range pending {
		steps = append(steps, ledger.Step{Entry: &e})
	}
	h := fold(t, append(steps, b.steps[begins:]...))
	require.Equal(t, b.history.State, h.State)
	require.Equal(t, "c", ids(h.Queue()))
	require.Equal(t, b.history.Queue(), h.Queue())
	require.Equal(t, b.history.Backlog(), h.Backlog())
	require.Equal(t, ledger.Backlog{Pending: 1, Bytes: int64(len(entry("c").Body)), Oldest: noon}, h.Backlog())

	// A checkpoint is a value of its own.
	b.write(2, b.history.State.Checkpoint())
	r := b.steps[len(b.steps)-1].Record
	fresh := fold(t, []ledger.Step{{Record: r}})
	b.publish(3)
	got, _ := fresh.State.Table.Row("claimed")
	require.Equal(t, row(2), got)
	require.Equal(t, "2", string(fresh.State.Timestamp()))

	// It may begin nowhere else.
	var middle ledger.History
	require.ErrorContains(t, middle.Apply(b.steps[len(b.steps)-1]), "the chain is broken")
}

// TestRotations: a rotation is under way until documents end it, whatever else happens.
func TestRotations(t *testing.T) {
	b := newBook(t)
	b.publish(1)
	b.refuses("it lacks the role or the key", 1, &ledger.Rotation{Role: "bins-*"})
	b.write(1, &ledger.Rotation{Role: "bins-*", To: "a"})
	b.write(1, &ledger.Rotation{Role: "timestamp", To: "c"})
	begun := b.steps[len(b.steps)-1].Record.Time
	b.publish(2)
	kept := b.history.State.Checkpoint()
	b.write(2, kept)
	b.write(2, &ledger.Rotation{Role: "bins-*", To: "b"}) // the last one counts
	last := b.steps[len(b.steps)-1].Record.Time
	require.Equal(t, map[string]ledger.Rotating{"bins-*": {To: "b", Begun: last}, "timestamp": {To: "c", Begun: begun}}, b.history.State.Rotations)
	require.Equal(t, "a", kept.Rotations["bins-*"].To, "a checkpoint is a value of its own")
	documents := &ledger.Documents{InForce: b.history.State.Documents, Rotated: []string{"bins-*"}}
	b.write(2, documents)
	b.refuses(`the rotation of "bins-*" ends, and none is under way`, 2, documents)
	require.Equal(t, map[string]ledger.Rotating{"timestamp": {To: "c", Begun: begun}}, b.history.State.Rotations)
	b.write(2, &ledger.Documents{InForce: b.history.State.Documents, Rotated: []string{"timestamp"}})
	require.Empty(t, b.history.State.Rotations)
	require.Equal(t, b.history.State, fold(t, b.steps).State)
}

// TestGivenUp: only a checkpoint gives a seal up. Its entries are decided again, first.
func TestGivenUp(t *testing.T) {
	b := newBook(t)
	b.queue("a", "b", "c", "d")
	b.publish(1)
	b.write(2, &ledger.Intent{})
	b.write(2, sealOf(2, "d", "b"))
	b.write(2, &ledger.Decided{Outcomes: sealOf(2, "a").Outcomes})
	require.Equal(t, "c", ids(b.history.Queue()))
	require.Equal(t, "d b", ids(b.history.Sealed()))
	b.write(3, &ledger.Intent{})
	b.write(1, b.history.State.Checkpoint())
	require.Equal(t, "d b c", ids(b.history.Queue()))
	require.Empty(t, b.history.Sealed())
	require.Nil(t, b.history.State.Sealed)
	require.EqualValues(t, 1, b.history.State.Last())
	require.EqualValues(t, 3, b.history.State.Planned)
	b.refuses("it follows generation 3", 3, &ledger.Intent{})
	b.publish(4, "b", "c")
	require.Equal(t, "d", ids(b.history.Queue()))
	require.Equal(t, b.history.State, fold(t, b.steps).State)
}

// TestManyPending: entries leave the queue from anywhere, and what is left stays in order.
func TestManyPending(t *testing.T) {
	b := newBook(t)
	left := map[string]bool{}
	for n := range int64(50) {
		for i := range 10 {
			id := fmt.Sprintf("%02d-%d", n, i)
			b.queue(id)
			left[id] = true
		}
		var decided []string
		for id := range left {
			if len(decided) < 9 {
				decided = append(decided, id)
				delete(left, id)
			}
		}
		b.publish(n+1, decided...)
		if n%7 == 0 {
			b.write(n+1, b.history.State.Checkpoint())
		}
	}
	queue := strings.Fields(ids(b.history.Queue()))
	require.Len(t, queue, 50)
	require.IsIncreasing(t, queue)
	for _, id := range queue {
		require.True(t, left[id])
	}
	require.Equal(t, 50, b.history.Backlog().Pending)
}

// Each combination of keys is there once, with the time at which the commit of another
// generation ended its last one, and a checkpoint keeps that.
func TestSignings(t *testing.T) {
	b := newBook(t)
	by := func(key string) ledger.SignedBy { return ledger.SignedBy{"timestamp": {key}, "targets": {"t1", "t2"}} }
	at := func() time.Time { return noon.Add(time.Duration(len(b.steps)-1) * time.Second) }
	generation := int64(0)
	publish := func(key string) time.Time {
		generation++
		b.write(generation, &ledger.Intent{})
		seal := sealOf(generation)
		seal.SignedBy = by(key)
		b.write(generation, seal)
		b.write(generation, &ledger.Commit{})
		return at()
	}
	publish("old")
	publish("old")
	require.Equal(t, []ledger.Signing{{SignedBy: by("old")}}, b.history.State.Signings)
	ended := publish("new")
	publish("new")
	want := []ledger.Signing{{SignedBy: by("old"), Superseded: ended}, {SignedBy: by("new")}}
	require.Equal(t, want, b.history.State.Signings)
	b.write(generation, b.history.State.Checkpoint())
	require.Equal(t, want, b.history.State.Signings)
	kept := b.history.State.Checkpoint()
	back := publish("old") // after all
	require.Equal(t, []ledger.Signing{{SignedBy: by("new"), Superseded: back}, {SignedBy: by("old")}}, b.history.State.Signings)
	require.Equal(t, want, kept.Signings)
}

// A root that waits for its commit can be withdrawn until a seal comes after it.
func TestWithdrawn(t *testing.T) {
	b := newBook(t)
	file := func(version int64, atCommit bool) ledger.File {
		return ledger.File{Role: "root", Doc: ledger.Doc{Version: version}, AtCommit: atCommit}
	}
	inForce := func(version int64) map[string]ledger.Doc { return map[string]ledger.Doc{"root": {Version: version}} }
	withdraw := func(names ...string) *ledger.Documents {
		return &ledger.Documents{InForce: inForce(1), Withdrawn: names}
	}
	b.write(0, &ledger.Documents{InForce: inForce(1), Files: []ledger.File{file(1, false)}})
	b.publish(1)
	b.write(1, &ledger.Documents{InForce: inForce(3), Files: []ledger.File{file(2, false), file(3, true)}})
	b.refuses("2.root.json can't be withdrawn", 1, withdraw("2.root.json"))
	b.refuses("4.root.json can't be withdrawn", 1, withdraw("4.root.json"))
	b.write(1, withdraw("3.root.json"))
	require.Equal(t, []ledger.File{file(2, false)}, b.history.State.Unwritten)
	require.Equal(t, inForce(1), b.history.State.Documents)
	b.write(1, &ledger.Documents{InForce: inForce(3), Files: []ledger.File{file(3, true)}})
	b.write(2, &ledger.Intent{})
	b.write(2, sealOf(2))
	b.refuses("3.root.json can't be withdrawn", 2, withdraw("3.root.json"))
	b.write(2, &ledger.Documents{InForce: inForce(4), Files: []ledger.File{file(4, true)}})
	b.write(2, withdraw("4.root.json"))
	b.write(2, &ledger.Commit{})
	require.Empty(t, b.history.State.Unwritten)
}
