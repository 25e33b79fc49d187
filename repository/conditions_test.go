package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

func absent(path string) []repository.Condition {
	return []repository.Condition{{Path: path, Absent: true}}
}

// holds is the condition that a path is published with the content of target.
func holds(target roles.Target) []repository.Condition {
	return []repository.Condition{{Path: target.Path, SHA256: target.Hashes["sha256"]}}
}

// one is an item that adds one target, if conditions hold.
func one(id string, target roles.Target, conditions []repository.Condition) repository.Item {
	return repository.Item{ID: id, Add: []roles.Target{target}, If: conditions}
}

// outcomes publishes items in one batch and returns what became of each.
func (e *env) outcomes(items ...repository.Item) (all []repository.Outcome) {
	e.t.Helper()
	var receipts []*repository.Receipt
	for _, it := range items {
		r, err := e.repo.Submit(e.t.Context(), it)
		require.NoError(e.t, err)
		receipts = append(receipts, r)
	}
	e.run(func() {
		for n, r := range receipts {
			o, err := r.Wait(e.t.Context())
			switch o.State {
			case repository.Refused:
				require.ErrorIs(e.t, err, repository.ErrRefused)
			case repository.SetAside:
				require.ErrorIs(e.t, err, repository.ErrSetAside)
			default:
				require.NoError(e.t, err)
			}
			if o.Reason != "" {
				require.EqualError(e.t, err, fmt.Sprintf("item %q: %s: %s", r.ID(), map[repository.State]string{
					repository.Refused: "condition not met", repository.SetAside: "set aside",
				}[o.State], o.Reason))
			}
			all = append(all, o)
			if o.State == repository.Published || o.State == repository.Superseded {
				e.note(items[n])
			}
		}
	})
	return all
}

// Conditions are decided in the order of the queue, against what is published and what the
// items before do. An item that is refused changes nothing, and its reason says what there is.
func TestConditions(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		old := file("there", "old")
		e.publish(old)
		a, b, c := file("new", "a"), file("new", "b"), file("new", "c")
		reason := func(target roles.Target, text string) repository.Outcome {
			return repository.Outcome{State: repository.Refused, Generation: 3,
				Reason: fmt.Sprintf("target %q %s", target.Path, strings.ReplaceAll(text, "HASH", target.Hashes["sha256"]))}
		}
		published := repository.Outcome{State: repository.Published, Generation: 3}
		superseded := repository.Outcome{State: repository.Superseded, Generation: 3}

		both := one("both", file("elsewhere", "1"), absent("elsewhere"))
		both.Add = append(both.Add, b)
		both.If = append(both.If, absent("new")...)
		free := repository.Item{ID: "free", Remove: []string{"new"}, If: holds(c)}
		require.Equal(t, []repository.Outcome{
			reason(old, "exists: it is published with the SHA-256 HASH"),
			reason(a, "is not published"),
			superseded,
			reason(a, "exists: it is published with the SHA-256 HASH"),
			reason(a, "exists: it is published with the SHA-256 HASH"),
			superseded,
			reason(c, "is published with the SHA-256 HASH"),
			superseded,
			published,
			published,
		}, e.outcomes(
			one("taken", file("there", "new"), absent("there")),
			one("too-early", b, holds(a)),
			one("first", a, absent("new")),
			one("second", b, absent("new")), // an item before it was faster
			both,                            // of which nothing is published
			one("replaces", c, holds(a)),
			one("outdated", b, holds(a)),
			free,
			one("again", b, absent("new")),
			one("there", file("there", "2"), holds(old)),
		))
		e.gone["elsewhere"] = true
		e.check()
	})
}

// An upload that is repeated under another ID is not refused because its first try is
// published: what it asks for is there.
func TestConditionsOfWhatIsThere(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		a := file("a", "1")
		got := e.outcomes(one("first", a, absent("a")), one("retry", a, absent("a")))
		require.Equal(t, []repository.Outcome{{State: repository.Published, Generation: 2}, {State: repository.Unchanged, Generation: 2}}, got)
		got = e.outcomes(one("later", a, absent("a")), repository.Item{ID: "never", Remove: []string{"b"}, If: holds(file("b", "1"))})
		require.Equal(t, []repository.Outcome{{State: repository.Unchanged, Generation: 2}, {State: repository.Unchanged, Generation: 2}}, got)
		e.check()
	})
}

// countingSigner counts what it signs.
type countingSigner struct {
	keys.Signer
	n *atomic.Int64
}

func (s countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.n.Add(1)
	return s.Signer.Sign(ctx, message)
}

// What changes nothing, and what is refused or set aside, costs one record of outcomes: no
// generation, no signature, and no call of the store but to read the bins.
func TestNothingToSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		var signed atomic.Int64
		e.cfg.Bins = countingSigner{e.cfg.Bins, &signed}
		e.cfg.Snapshot = countingSigner{e.cfg.Snapshot, &signed}
		e.cfg.Timestamp = e.cfg.Snapshot
		e.cfg.CheckpointBytes = 0
		e.create()
		a := file("a", "1")
		a.Custom = json.RawMessage(`{ "b": [1, 2], "a": "ü" }`)
		e.publish(a)

		same := a
		same.Custom = json.RawMessage(`{"a":"ü","b":[1,2]}`)
		names := e.store.Names()
		signed.Store(0)
		e.inject.Plan(nil)
		got := e.outcomes(
			one("same", same, nil),
			one("refused", file("a", "2"), absent("a")),
			repository.Item{ID: "removes-nothing", Remove: []string{"b"}},
		)
		require.Equal(t, []repository.State{repository.Unchanged, repository.Refused, repository.Unchanged},
			[]repository.State{got[0].State, got[1].State, got[2].State})
		require.EqualValues(t, 2, got[0].Generation, "the one that clients see")
		require.Zero(t, signed.Load())
		require.Equal(t, names, e.store.Names())
		calls := map[string]int{}
		for _, c := range e.inject.Calls() {
			calls[strings.TrimSpace(c.Op+" "+map[bool]string{true: c.Name}[c.Op == "leader.Append"])]++
		}
		delete(calls, "store.Get")
		require.Equal(t, map[string]int{"journal.Enqueue": 3, "leader.Pending": 1, "leader.Append decided": 1}, calls)

		// Opened again, they are what they were.
		e.close()
		e.open()
		o, err := e.repo.Outcome(t.Context(), "refused")
		require.NoError(t, err)
		require.Equal(t, got[1], o)
		e.publish(file("b", "1"))
		e.check()
		e.close()
	})
}

// One batch may hold items of every fate. They share a generation, and what is not published
// leaves no trace in it.
func TestMixedBatch(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		old := file("old", "1")
		e.publish(old)
		// Others may fill a shared journal with what is no item, and with what nobody can publish.
		poison := repository.Item{ID: "poison", Remove: []string{"../x"}}
		entry, err := poison.Entry()
		require.NoError(t, err)
		_, err = e.journal.Enqueue(t.Context(), entry, ledger.Entry{ID: "junk", Body: []byte(`{"add":`)}, ledger.Entry{ID: "newer", Body: []byte(`{"undo":["x"]}`)})
		require.NoError(t, err)
		got := e.outcomes(
			one("unchanged", old, nil),
			one("superseded", file("x", "1"), nil),
			one("refused", file("old", "2"), absent("old")),
			one("published", file("x", "2"), nil),
		)
		require.Equal(t, []repository.Outcome{
			{State: repository.Unchanged, Generation: 3},
			{State: repository.Superseded, Generation: 3},
			{State: repository.Refused, Generation: 3, Reason: `target "old" exists: it is published with the SHA-256 ` + old.Hashes["sha256"]},
			{State: repository.Published, Generation: 3},
		}, got)
		for id, reason := range map[string]string{"poison": `"../x"`, "junk": "item: ", "newer": "written by a newer version"} {
			o, err := e.repo.Outcome(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, repository.SetAside, o.State)
			require.EqualValues(t, 3, o.Generation)
			require.Contains(t, o.Reason, reason)
		}
		e.check()
	})
}

// An item that adds what an item before it in the batch adds changes nothing; one that puts
// back what an item before it replaced does.
func TestBatchAddsTwice(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		old := file("x", "old")
		e.publish(old)
		got := e.outcomes(
			one("adds", file("y", "1"), nil),
			one("adds-again", file("y", "1"), nil),
			one("replaces", file("x", "new"), nil),
			one("puts-back", old, nil),
			repository.Item{ID: "removes", Remove: []string{"z"}},
			one("z", file("z", "1"), nil),
			one("both", file("z", "1"), holds(file("z", "1"))),
		)
		var states []repository.State
		for _, o := range got {
			require.EqualValues(t, 3, o.Generation)
			states = append(states, o.State)
		}
		require.Equal(t, []repository.State{
			repository.Published, repository.Unchanged, repository.Superseded, repository.Published,
			repository.Unchanged, repository.Published, repository.Unchanged,
		}, states)
		e.check()
	})
}

// A reason may have a path in it, and that may be as long as an item. A record keeps 1,000 bytes.
func TestLongReason(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		for _, unit := range []string{"x", "\u0080", "\u20ac", "\U0001f600"} {
			long := strings.Repeat(unit, 2<<20/len(unit))
			id := fmt.Sprintf("%x", unit)
			entry, err := repository.Item{ID: id, Remove: []string{"../" + long}}.Entry()
			require.NoError(t, err)
			_, err = e.journal.Enqueue(t.Context(), entry)
			require.NoError(t, err)
			e.run(func() { e.repo.Receipt(id).Wait(t.Context()) })
			o, err := e.repo.Outcome(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, repository.SetAside, o.State)
			require.LessOrEqual(t, len(o.Reason), 1000)
			require.Greater(t, len(o.Reason), 990)
			require.True(t, utf8.ValidString(o.Reason))
		}
	})
}
