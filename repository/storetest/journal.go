package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Place is where one journal lives.
type Place struct {
	// Open opens a handle on the journal, as a process does.
	Open func() (repository.Journal, error)

	// Expire ends the lease of the leader, as if that process had been silent
	// for too long. It is nil for a journal that one process at a time can have
	// open: then Open must fail with ErrLocked until that process closed it.
	Expire func()

	// OwnClock: the journal sets Entry.Accepted by a clock of its own, not the caller's.
	OwnClock bool

	// OnlyText: the journal refuses a body that isn't UTF-8, or has a NUL. No item is such a body.
	OnlyText bool
}

// TestJournal tests a repository.Journal against its interface's contract. place returns where a new, empty
// journal lives, and registers its clean-up with t.Cleanup.
func TestJournal(t *testing.T, place func(t *testing.T) Place) {
	for _, test := range []struct {
		name string
		run  func(b *bench)
	}{
		{"Enqueue", testEnqueue},
		{"EnqueueRefuses", testEnqueueRefuses},
		{"EnqueueAgain", testEnqueueAgain},
		{"SameMeaning", testSameMeaning},
		{"OpaqueBodies", testOpaqueBodies},
		{"EnqueueAllOrNone", testEnqueueAllOrNone},
		{"EnqueueRace", testEnqueueRace},
		{"EnqueueReuseRace", testEnqueueReuseRace},
		{"EnqueueKeepsOrder", testEnqueueKeepsOrder},
		{"NoSharedMemory", testJournalNoSharedMemory},
		{"Outcomes", testOutcomes},
		{"OutcomeNeedsCommit", testOutcomeNeedsCommit},
		{"DecidedRecord", testDecidedRecord},
		{"GivenUp", testGivenUp},
		{"SealedKeepsBodies", testSealedKeepsBodies},
		{"Reopen", testReopen},
		{"Read", testRead},
		{"ReadFirst", testReadFirst},
		{"ReadAgain", testReadAgain},
		{"Checkpoint", testCheckpoint},
		{"CheckpointAmongOthers", testCheckpointAmongOthers},
		{"RecordsAsWritten", testRecordsAsWritten},
		{"Remembers", testRemembers},
		{"AppendAllOrNone", testAppendAllOrNone},
		{"PendingBounds", testPendingBounds},
		{"Await", testAwait},
		{"Decided", testDecided},
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

// bench is what a test works at: one place, and the process that it plays. It knows what
// the journal must hold, and lead makes sure of that.
type bench struct {
	*testing.T
	place  Place
	open   repository.Journal // nil while closed
	leader repository.Lead    // nil before lead
	epoch  int64              // of leader

	steps   []ledger.Step  // all that was queued and appended
	point   int            // where the newest checkpoint is in there
	atPoint []ledger.Entry // what was pending then
	folded  ledger.History // of the steps
	head    string         // hash of the newest record that was made
	blind   bool           // whether the test uses the journal without the bench's knowledge
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

// lead leads, and makes sure that what it reads is what there must be.
func (b *bench) lead() {
	b.Helper()
	leader, epoch, err := b.journal().Lead(b.Context())
	require.NoError(b, err)
	require.Greater(b, epoch, b.epoch)
	b.leader, b.epoch = leader, epoch
	b.requireHistory(leader)
}

// requireHistory makes sure of what a reader reads. The bytes of the records are those that
// were appended; that their chain is intact is what ledger.History makes sure of.
func (b *bench) requireHistory(r repository.Reader) {
	b.Helper()
	got := readAll(b.T, r, ledger.FromCheckpoint)
	whole := readAll(b.T, r, ledger.FromBeginning)
	if b.blind {
		return
	}
	var want []ledger.Step
	for _, e := range b.atPoint {
		want = append(want, ledger.Step{Entry: &e})
	}
	b.requireSteps(append(want, b.steps[b.point:]...), got)
	b.requireSteps(b.steps, whole)
	for _, steps := range [][]ledger.Step{got, whole} {
		h := fold(b.T, steps)
		require.Equal(b, b.folded.State, h.State)
		b.requireEntries(b.folded.Queue(), h.Queue())
		b.requireEntries(b.folded.Sealed(), h.Sealed())
	}
}

func readAll(t testing.TB, r repository.Reader, from ledger.From) []ledger.Step {
	t.Helper()
	var steps []ledger.Step
	for s, err := range r.Read(t.Context(), from) {
		require.NoError(t, err)
		require.True(t, (s.Entry == nil) != (s.Record == nil))
		steps = append(steps, s)
	}
	return steps
}

func fold(t testing.TB, steps []ledger.Step) *ledger.History {
	t.Helper()
	var h ledger.History
	for _, s := range steps {
		require.NoError(t, h.Apply(s))
	}
	return &h
}

func (b *bench) requireSteps(want, got []ledger.Step) {
	b.Helper()
	require.Len(b, got, len(want))
	for i := range want {
		require.Equal(b, want[i].Entry == nil, got[i].Entry == nil, "step %d", i)
		if want[i].Entry != nil {
			b.requireEntries([]ledger.Entry{*want[i].Entry}, []ledger.Entry{*got[i].Entry})
		}
		if want[i].Record != nil {
			require.NotNil(b, got[i].Record, "step %d", i)
			require.Equal(b, string(want[i].Record.Bytes()), string(got[i].Record.Bytes()), "step %d", i)
			require.Equal(b, want[i].Record.Hash(), got[i].Record.Hash())
			require.Equal(b, want[i].Record.Kind(), got[i].Record.Kind())
		}
	}
}

// requireEntries makes sure of entries that the journal returned.
func (b *bench) requireEntries(want, got []ledger.Entry) {
	b.Helper()
	require.Len(b, got, len(want))
	for i, e := range got {
		e.Accepted = b.accepted(want[i].Accepted, e.Accepted)
		require.Equal(b, want[i], e)
	}
}

// accepted returns want if a journal with a clock of its own may have got for it, and else got.
func (b *bench) accepted(want, got time.Time) time.Time {
	b.Helper()
	if !b.place.OwnClock || got.IsZero() {
		return got
	}
	require.Equal(b, time.UTC, got.Location())
	return want
}

// took takes notice of what is in the journal now.
func (b *bench) took(steps ...ledger.Step) {
	b.Helper()
	for _, s := range steps {
		if s.Record != nil { // as it will be read
			r, err := ledger.ParseRecord(s.Record.Bytes())
			require.NoError(b, err)
			s.Record = &r
		}
		if s.Record != nil && s.Record.Kind() == ledger.KindCheckpoint {
			b.point = len(b.steps)
			b.atPoint = append(append([]ledger.Entry(nil), b.folded.Sealed()...), b.folded.Queue()...)
		}
		b.steps = append(b.steps, s)
		require.NoError(b, b.folded.Apply(s))
	}
}

func (b *bench) enqueue(entries ...ledger.Entry) []bool {
	b.Helper()
	known, err := b.journal().Enqueue(b.Context(), entries...)
	require.NoError(b, err)
	require.Len(b, known, len(entries))
	for i, e := range entries {
		if !known[i] {
			b.took(ledger.Step{Entry: &e})
		}
	}
	return known
}

func (b *bench) append(records ...ledger.Record) {
	b.Helper()
	require.NoError(b, b.leader.Append(b.Context(), records...))
	for _, r := range records {
		b.took(ledger.Step{Record: &r})
	}
}

// requireRefused makes sure that an Append fails for certain.
func (b *bench) requireRefused(records ...ledger.Record) error {
	b.Helper()
	err := b.leader.Append(b.Context(), records...)
	require.Error(b, err)
	require.NotErrorIs(b, err, repository.ErrUnknown)
	b.head = b.folded.State.Chain
	return err
}

func (b *bench) outcomes(ids ...string) []ledger.Outcome {
	b.Helper()
	got, err := b.journal().Outcomes(b.Context(), ids...)
	require.NoError(b, err)
	require.Len(b, got, len(ids))
	return got
}

func (b *bench) requireOutcome(id string, want ledger.Outcome) {
	b.Helper()
	require.Equal(b, []ledger.Outcome{want}, b.outcomes(id))
}

func (b *bench) requireUnknown(id string) {
	b.Helper()
	b.requireOutcome(id, ledger.Outcome{})
}

// requirePending requires that exactly these entries are pending, in this order.
func (b *bench) requirePending(want ...ledger.Entry) {
	b.Helper()
	backlog, err := b.journal().Backlog(b.Context())
	require.NoError(b, err)
	size := 0
	for _, e := range want {
		size += len(e.Body)
	}
	expected := ledger.Backlog{Pending: len(want), Bytes: int64(size)}
	if len(want) > 0 {
		expected.Oldest = want[0].Accepted
		backlog.Oldest = b.accepted(expected.Oldest, backlog.Oldest)
	}
	require.Equal(b, expected, backlog)
	if b.leader == nil {
		b.lead()
	}
	got, err := b.leader.Pending(b.Context(), len(want)+1, 1<<40)
	require.NoError(b, err)
	b.requireEntries(want, got)
}

var noon = time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)

// item makes an entry whose ID is its path.
func item(format string, args ...any) ledger.Entry {
	id := fmt.Sprintf(format, args...)
	return entryOf(ledger.Item{
		ID: id, By: "uploader <é>", Accepted: noon,
		Add: []roles.Target{{
			Path: "packages/" + id + "-1.0-py3-none-any.whl", Length: 1 << 40,
			Hashes: map[string]string{"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
			Custom: json.RawMessage(`{ "yanked" : false, "größe": "<&>\u2028" }`),
		}},
		Remove: []string{"simple/" + id + "/index.html"},
	})
}

func entryOf(it ledger.Item) ledger.Entry {
	e, err := it.Entry()
	if err != nil {
		panic(err)
	}
	return e
}

// changed is another item under the same ID.
func changed(e ledger.Entry) ledger.Entry {
	it, err := e.Item()
	if err != nil {
		panic(err)
	}
	it.Add[0].Length++
	return entryOf(it)
}

// otherwise is the same item as another program writes it: with the members in another order,
// and white space.
func otherwise(e ledger.Entry) ledger.Entry {
	d := json.NewDecoder(bytes.NewReader(e.Body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	body, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		panic(err)
	}
	e.Body = append(body, '\n')
	return e
}

// items makes n entries, a second apart.
func items(prefix string, n int) []ledger.Entry {
	all := make([]ledger.Entry, n)
	for i := range all {
		all[i] = item("%s-%d", prefix, i)
		all[i].Accepted = noon.Add(time.Duration(i) * time.Second)
	}
	return all
}

func published(generation int64) ledger.Outcome {
	return ledger.Outcome{State: ledger.Published, Generation: generation}
}

var accepted = ledger.Outcome{State: ledger.Accepted}

// record makes the record that follows the newest one that was made.
func (b *bench) record(generation int64, body ledger.Body) ledger.Record {
	b.Helper()
	r, err := ledger.NewRecord(b.epoch, generation, b.head, noon, body)
	require.NoError(b, err)
	b.head = r.Hash()
	return r
}

func (b *bench) intent(generation int64) ledger.Record {
	b.Helper()
	return b.record(generation, &ledger.Intent{
		Roles: []string{"snapshot", "<&>\u2028é"}, Bins: []ledger.BinRange{{Prefix: "bins", Digits: 2, First: 0, Last: 7}},
	})
}

// seal makes a seal that publishes entries.
func (b *bench) seal(generation int64, entries ...ledger.Entry) ledger.Record {
	b.Helper()
	var outcomes []ledger.ItemOutcome
	for _, e := range entries {
		outcomes = append(outcomes, ledger.OutcomeOf(e, published(generation)))
	}
	return b.sealWith(generation, outcomes...)
}

func (b *bench) sealWith(generation int64, outcomes ...ledger.ItemOutcome) ledger.Record {
	b.Helper()
	return b.record(generation, &ledger.Seal{
		Signed: noon.Unix(), Keys: []string{"key"}, Outcomes: outcomes,
		Rows:      []ledger.RoleRow{{Role: "packages", Row: ledger.Row{Version: generation}}},
		Documents: map[string]ledger.Doc{"root": {Version: 1}},
		Swaps: []ledger.Swap{{
			Name: ledger.Timestamp, Old: b.folded.State.Timestamp(), New: fmt.Appendf(nil, "timestamp %d", generation),
		}},
	})
}

func (b *bench) commit(generation int64) ledger.Record {
	b.Helper()
	return b.record(generation, &ledger.Commit{})
}

// publish appends the records of one generation in one call.
func (b *bench) publish(generation int64, entries ...ledger.Entry) {
	b.Helper()
	b.append(b.intent(generation), b.seal(generation, entries...), b.commit(generation))
}

func (b *bench) decide(outcomes ...ledger.ItemOutcome) ledger.Record {
	b.Helper()
	return b.record(b.folded.State.Generation, &ledger.Decided{Outcomes: outcomes})
}

// checkpoint makes one of what was appended.
func (b *bench) checkpoint() ledger.Record {
	b.Helper()
	return b.record(b.folded.State.Generation, b.folded.State.Checkpoint())
}

func ended(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
