package dirjournal

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

func item(id string) repository.Item {
	return repository.Item{ID: id, Remove: []string{"simple/" + id + "/" + strings.Repeat("x", 100)}, Accepted: noon}
}

// process is one that uses a journal, of either kind.
type process struct {
	open   func() (repository.Journal, error)
	j      repository.Journal
	leader repository.Leader
	epoch  int64
}

type step func(p *process) error

func enqueue(ids ...string) step {
	return func(p *process) error {
		var items []repository.Item
		for _, id := range ids {
			items = append(items, item(id))
		}
		return p.j.Enqueue(context.Background(), items...)
	}
}

func lead(p *process) error {
	leader, err := p.j.Lead(context.Background())
	if err != nil {
		return err
	}
	log, err := leader.Load(context.Background())
	p.leader, p.epoch = leader, log.Epoch
	return err
}

func record(kind repository.RecordKind, generation int64, ids ...string) step {
	return func(p *process) error {
		r := repository.Record{Epoch: p.epoch, Kind: kind, Generation: generation, Body: json.RawMessage(`{"bins":[]}`)}
		for _, id := range ids {
			r.Outcomes = append(r.Outcomes, repository.ItemOutcome{
				ID: id, Outcome: repository.Outcome{State: repository.Published, Generation: generation},
			})
		}
		return p.leader.Append(context.Background(), r)
	}
}

func reopen(p *process) error {
	if p.j != nil {
		if err := p.j.Close(); err != nil {
			return err
		}
	}
	var err error
	p.j, err = p.open()
	return err
}

const (
	intent     = repository.KindIntent
	seal       = repository.KindSeal
	commit     = repository.KindCommit
	checkpoint = repository.KindCheckpoint
)

// workload has everything that a journal does. Its segments are of 400 bytes.
var workload = []step{
	enqueue("a"), enqueue("b", "c"), lead, record(intent, 1), record(seal, 1, "a", "b"), enqueue("d"), enqueue("a", "e"),
	record(commit, 1), reopen, enqueue("f"), reopen, lead, record(intent, 2), record(seal, 2, "c"),
	record(checkpoint, 1), record(commit, 2), record(checkpoint, 2), reopen, enqueue("g"), lead, enqueue("h", "i", "j"),
	enqueue("k"), record(seal, 3, "g"), record(commit, 3), reopen, lead, record(checkpoint, 3),
	reopen, reopen, lead, reopen, lead, enqueue("l"), reopen, reopen, lead,
}

var tiny = limits{remember: 1000, segment: 400}

// observe tells all that a journal knows. It leads.
func observe(p *process) (string, error) {
	if err := reopen(p); err != nil {
		return "", err
	}
	leader, err := p.j.Lead(context.Background())
	if err != nil {
		return "", err
	}
	log, err := leader.Load(context.Background())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, r := range log.Records {
		fmt.Fprintf(&b, "%s %d %v %s\n", r.Kind, r.Generation, r.Outcomes, r.Body)
	}
	pending, err := leader.Pending(context.Background(), 1000)
	if err != nil {
		return "", err
	}
	for _, it := range pending {
		fmt.Fprintf(&b, "pending %+v\n", it)
	}
	for id := 'a'; id <= 'z'; id++ {
		o, err := p.j.Outcome(context.Background(), string(id))
		fmt.Fprintf(&b, "%c %+v %t\n", id, o, err == nil)
	}
	return b.String(), nil
}

// states are what a journal knows after each number of steps, by an
// implementation that has nothing in common with this one.
func states(t *testing.T) []string {
	var all []string
	for n := range len(workload) + 1 {
		ledger := storetest.NewJournal()
		p := &process{open: func() (repository.Journal, error) { return ledger.Handle(), nil }}
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
	for at := 1; at <= healthy.Ops(); at++ {
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
	want := states(t)
	healthy := newSimDisk()
	_, err := run(healthy)
	require.NoError(t, err)
	for at := 1; at <= healthy.Ops(); at++ {
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

	require.NoError(t, p.j.Enqueue(context.Background(), item("z")), where)
	require.NoError(t, p.j.Close(), where)
}
