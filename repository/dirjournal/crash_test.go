package dirjournal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

func item(id string) ledger.Entry {
	e, err := ledger.Item{ID: id, Remove: []string{"simple/" + id + "/" + strings.Repeat("x", 100)}, Accepted: noon}.Entry()
	if err != nil {
		panic(err)
	}
	return e
}

func items(ids ...string) []ledger.Entry {
	var all []ledger.Entry
	for _, id := range ids {
		all = append(all, item(id))
	}
	return all
}

// queueUp enqueues items.
func queueUp(ctx context.Context, j repository.Journal, ids ...string) error {
	_, err := j.Enqueue(ctx, items(ids...)...)
	return err
}

// body returns one of that kind, with outcomes of items.
func body(kind ledger.Kind, generation int64, state *ledger.State, ids ...string) ledger.Body {
	var outcomes []ledger.ItemOutcome
	for _, id := range ids {
		outcomes = append(outcomes, ledger.OutcomeOf(item(id), ledger.Outcome{State: ledger.Published, Generation: generation}))
	}
	switch kind {
	case seal:
		return &ledger.Seal{
			Outcomes: outcomes, Keys: []string{"k"}, Rows: []ledger.RoleRow{{Role: "bins", Row: ledger.Row{Version: generation}}},
			Swaps: []ledger.Swap{{Name: ledger.Timestamp, Old: state.Timestamp(), New: []byte{byte(generation)}}},
		}
	case commit:
		return &ledger.Commit{}
	case decided:
		return &ledger.Decided{Outcomes: outcomes}
	case checkpoint:
		return state.Checkpoint()
	}
	return &ledger.Intent{Roles: []string{"bins"}}
}

// rec makes a record of epoch 1 that stands alone: its chain is not that of a ledger.
func rec(kind ledger.Kind, generation int64, ids ...string) ledger.Record {
	r, err := ledger.NewRecord(1, generation, "", noon, body(kind, generation, &ledger.State{}, ids...))
	if err != nil {
		panic(err)
	}
	return r
}

// process is one that uses a journal, of either kind.
type process struct {
	open    func() (repository.Journal, error)
	j       repository.Journal
	leader  repository.Lead
	epoch   int64
	history ledger.History // since it leads
}

type step func(p *process) error

func enqueue(ids ...string) step {
	return func(p *process) error {
		known, err := p.j.Enqueue(context.Background(), items(ids...)...)
		for i := range known {
			if e := item(ids[i]); p.leader != nil && !known[i] {
				err = errors.Join(err, p.history.Apply(ledger.Step{Entry: &e}))
			}
		}
		return err
	}
}

func takeOver(p *process) (err error) {
	p.history = ledger.History{}
	if p.leader, p.epoch, err = p.j.Lead(context.Background()); err != nil {
		return err
	}
	for s, err := range p.leader.Read(context.Background(), ledger.FromCheckpoint) {
		if err == nil {
			err = p.history.Apply(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// record appends the next record of a ledger.
func record(kind ledger.Kind, generation int64, ids ...string) step {
	return func(p *process) error { return p.append(body(kind, generation, &p.history.State, ids...), generation) }
}

// decidedThenCheckpoint appends two records in one call.
func decidedThenCheckpoint(generation int64, ids ...string) step {
	return func(p *process) error {
		state := &p.history.State
		return p.append(body(decided, generation, state, ids...), generation, body(checkpoint, generation, state))
	}
}

func (p *process) append(first ledger.Body, generation int64, more ...ledger.Body) error {
	var records []ledger.Record
	prev := p.history.State.Chain
	for _, b := range append([]ledger.Body{first}, more...) {
		r, err := ledger.NewRecord(p.epoch, generation, prev, noon, b)
		if err != nil {
			return err
		}
		records, prev = append(records, r), r.Hash()
	}
	err := p.leader.Append(context.Background(), records...)
	for _, r := range records {
		if err == nil {
			err = p.history.Apply(ledger.Step{Record: &r})
		}
	}
	return err
}

func reopen(p *process) error {
	if p.j != nil {
		if err := p.j.Close(); err != nil {
			return err
		}
	}
	p.leader = nil
	var err error
	p.j, err = p.open()
	return err
}

const (
	intent     = ledger.KindIntent
	seal       = ledger.KindSeal
	commit     = ledger.KindCommit
	decided    = ledger.KindDecided
	checkpoint = ledger.KindCheckpoint
)

// workload has everything that a journal does. Its segments are of 400 bytes.
var workload = []step{
	enqueue("a"), enqueue("b", "c"), takeOver, record(intent, 1), record(seal, 1, "a", "b"), enqueue("d"), enqueue("a", "e"),
	record(commit, 1), reopen, enqueue("f"), reopen, takeOver, record(intent, 2), record(seal, 2, "c"), reopen, takeOver,
	record(checkpoint, 1), record(intent, 3), record(seal, 3, "c", "d"), record(decided, 1, "e"), record(commit, 3), record(checkpoint, 3),
	reopen, enqueue("g"), takeOver, enqueue("h", "i", "j"),
	enqueue("k"), record(intent, 4), record(seal, 4, "g"), record(commit, 4), reopen, takeOver, decidedThenCheckpoint(4, "h"),
	reopen, reopen, takeOver, reopen, takeOver, enqueue("l"), reopen, reopen, takeOver,
}

var tiny = limits{remember: 2, segment: 400}

// observe tells all that a journal knows. It leads.
func observe(p *process) (string, error) {
	if err := reopen(p); err != nil {
		return "", err
	}
	if err := takeOver(p); err != nil { // the chain is intact
		return "", err
	}
	var b strings.Builder
	for _, from := range []ledger.From{ledger.FromCheckpoint, ledger.FromBeginning} {
		fmt.Fprintf(&b, "from %d\n", from)
		for s, err := range p.leader.Read(context.Background(), from) {
			switch {
			case err != nil:
				return "", err
			case s.Entry != nil:
				fmt.Fprintf(&b, "entry %+v\n", *s.Entry)
			default:
				fmt.Fprintf(&b, "%s\n", s.Record.Bytes())
			}
		}
	}
	pending, err := p.leader.Pending(context.Background(), 1000, 1<<30)
	if err != nil {
		return "", err
	}
	for _, e := range pending {
		fmt.Fprintf(&b, "pending %+v\n", e)
	}
	for id := 'a'; id <= 'z'; id++ {
		o, err := p.j.Outcomes(context.Background(), string(id))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%c %+v\n", id, o)
	}
	return b.String(), nil
}

// states are what a journal knows after each number of steps, by an
// implementation that has nothing in common with this one.
func states(t *testing.T) []string {
	var all []string
	for n := range len(workload) + 1 {
		memory := storetest.NewJournal()
		p := &process{open: func() (repository.Journal, error) { return memory.Handle(), nil }}
		require.NoError(t, reopen(p))
		for _, s := range workload[:n] {
			require.NoError(t, s(p))
		}
		state, err := observe(p)
		require.NoError(t, err)
		all = append(all, state)
	}
	return all
}

func (d *simDisk) openJournal() (repository.Journal, error) {
	j, err := open(d.FS, "/journal", tiny)
	if err != nil {
		return nil, err
	}
	return j, nil
}

// run performs the workload until the first error, and tells how many steps were
// acknowledged; -1 if it wasn't even created.
func run(d *simDisk) (acknowledged int, err error) {
	p := &process{open: d.openJournal}
	j, err := create(d.FS, "/journal", tiny)
	if err != nil {
		return -1, err
	}
	p.j = j
	defer func() {
		if p.j != nil {
			p.j.Close()
		}
	}()
	for i, s := range workload {
		if err := s(p); err != nil {
			return i, err
		}
	}
	return len(workload), nil
}

// TestCrash ends the process at every operation on the disk, or lets it fail, in
// every way, and finds after each kind of restart all that was acknowledged, in
// order, and nothing that was never asked for. What was found once is found again
// after the power was lost, too.
func TestCrash(t *testing.T) {
	t.Parallel()
	want := states(t)
	healthy := newSimDisk()
	n, err := run(healthy)
	require.NoError(t, err)
	require.Equal(t, len(workload), n)
	t.Logf("%d operations", healthy.Ops())

	cuts := map[string]func(d *simDisk){
		"restart":        func(d *simDisk) { d.restart() },
		"power, nothing": func(d *simDisk) { d.powerLoss(loseAll) },
		"power, all":     func(d *simDisk) { d.powerLoss(keepAll) },
		"power, parts":   func(d *simDisk) { d.powerLoss(d.AnyCut()) },
	}
	first, step := thorough.OneIn(5)
	for at := 1 + first; at <= healthy.Ops(); at += step {
		for _, f := range faults {
			for name, cut := range cuts {
				for seed := range uint64(3) {
					if seed > 0 && name != "power, parts" {
						continue
					}
					where := fmt.Sprintf("operation %d, fault %d, %s, seed %d", at, f, name, seed)
					d := startOn(crashfs.New(seed))
					d.at(at, f)
					acknowledged, err := run(d)
					if err == nil {
						continue // a Close said that it failed
					}
					cut(d)
					requireRecovery(t, d, want, acknowledged, where)
				}
			}
		}
	}
}

// TestCrashDuringRecovery ends the process again while it recovers, at every
// operation of that.
func TestCrashDuringRecovery(t *testing.T) {
	t.Parallel()
	want := states(t)
	healthy := newSimDisk()
	_, err := run(healthy)
	require.NoError(t, err)
	first, step := thorough.OneIn(5)
	for at := 1 + first; at <= healthy.Ops(); at += step {
		for again := 1; ; again++ {
			where := fmt.Sprintf("operation %d, and %d of the recovery", at, again)
			random := rand.New(rand.NewPCG(uint64(at), uint64(again)))
			d := startOn(crashfs.New(random.Uint64()))
			d.at(at, crashfs.KillBefore)
			acknowledged, err := run(d)
			if acknowledged < 0 || err == nil {
				break // there is nothing to recover
			}
			d.powerLoss(keepAny)
			d.InjectNext(again, faults[random.IntN(len(faults))])
			_, err = observe(&process{open: d.openJournal})
			if err == nil {
				break
			}
			if again%2 == 0 {
				d.powerLoss(keepAny)
			} else {
				d.restart()
			}
			requireRecovery(t, d, want, acknowledged, where)
		}
	}
}

func requireRecovery(t *testing.T, d *simDisk, want []string, acknowledged int, where string) {
	t.Helper()
	p := &process{open: d.openJournal}
	if acknowledged < 0 {
		// It may not be there at all; then it can be created.
		j, err := create(d.FS, "/journal", tiny)
		if err != nil {
			j, err = open(d.FS, "/journal", tiny)
		}
		require.NoError(t, err, where)
		require.NoError(t, j.Close(), where)
		acknowledged = 0
	}
	first, err := observe(p)
	require.NoError(t, err, where)
	next := min(acknowledged+1, len(workload))
	require.Contains(t, []string{want[acknowledged], want[next]}, first, where)

	// What it told us stays true.
	d.powerLoss(loseAll)
	require.ErrorIs(t, p.j.Close(), crashfs.ErrKilled)
	p.j = nil
	second, err := observe(p)
	require.NoError(t, err, where)
	require.Equal(t, first, second, where)

	require.NoError(t, queueUp(context.Background(), p.j, "z"), where)
	require.NoError(t, p.j.Close(), where)
}
