package repository_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// approver is an index that says no to some IDs, and counts.
type approver struct {
	no     map[string]error
	asked  []string
	wrong  error                 // what of the question was wrong
	during func(context.Context) // called each time
}

func (a *approver) approve(ctx context.Context, e ledger.Entry, it repository.Item) error {
	a.asked = append(a.asked, e.ID)
	if e.ID != it.ID || len(it.Add)+len(it.Remove) == 0 || e.Accepted != it.Accepted {
		a.wrong = fmt.Errorf("%+v, %+v", e, it)
	}
	if a.during != nil {
		a.during(ctx)
	}
	return a.no[e.ID]
}

func (a *approver) ask() (asked []string) {
	asked, a.asked = a.asked, nil
	return asked
}

// approved starts the repository anew with an approver.
func (e *env) approved() *approver {
	a := &approver{no: map[string]error{}}
	e.close()
	e.cfg.Approve = a.approve
	e.open()
	return a
}

// Each item is asked about once, whatever it turns out to be, and what the index refuses is set
// aside with its reason; also where nothing is left to be signed.
func TestApprove(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		old := file("old", "1")
		e.publish(old)
		a := e.approved()
		a.no["bad"] = errors.New("malware\xff: " + strings.Repeat("x", 2000))
		a.no["alone"] = errors.New("embargo")
		reason := "not approved: malware: " + strings.Repeat("x", 1000-len("not approved: malware\xff: …")) + "…"

		all := e.outcomes(one("good", file("good", "1"), nil), one("bad", file("bad", "1"), nil),
			one("unchanged", old, nil), one("refused", file("old", "2"), absent("old")))
		require.Equal(t, []repository.Outcome{
			{State: repository.Published, Generation: 3},
			{State: repository.SetAside, Generation: 3, Reason: reason},
			{State: repository.Unchanged, Generation: 3},
			{State: repository.Refused, Generation: 3, Reason: all[3].Reason},
		}, all)
		require.Equal(t, []string{"good", "bad", "unchanged", "refused"}, a.ask())

		require.Equal(t, []repository.Outcome{{State: repository.SetAside, Generation: 3, Reason: "not approved: embargo"}}, e.outcomes(one("alone", file("alone", "1"), nil)))
		require.Equal(t, []repository.Outcome{{State: repository.Unchanged, Generation: 3}}, e.outcomes(one("same", old, nil)))
		require.Equal(t, []string{"alone", "same"}, a.ask())
		e.gone["bad"], e.gone["alone"] = true, true

		// Nobody is asked again about what is decided.
		e.close()
		e.open()
		r, err := e.repo.Submit(t.Context(), one("bad", file("bad", "1"), nil))
		require.NoError(t, err)
		require.True(t, r.Repeated())
		e.publish(file("more", "1"))
		require.Len(t, a.ask(), 1)
		require.NoError(t, a.wrong)
		e.check()
	})
}

// While the index can't say, nothing is decided and all else goes on.
func TestApproveNotNow(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 9)...)
		a := e.approved()
		a.no["late"] = fmt.Errorf("scanner is down: %w: %w", repository.ErrNotNow, repository.ErrClosed)
		r := e.submit(one("late", file("late", "1"), nil))
		e.add(file("behind", "1"))
		e.run(func() {
			time.Sleep(20 * time.Second)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, 2, s.Queue.Pending)
			require.Equal(t, int64(2), s.Generation, "nothing was due")
			require.ErrorIs(t, s.Err, repository.ErrNotNow)
			require.ErrorContains(t, s.Err, `approve item "late": scanner is down`)
			require.Less(t, len(a.ask()), 10, "pauses grow")

			require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
			time.Sleep(48 * time.Hour)
			s, err = e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Greater(t, s.Generation, int64(5), "renewed")
			require.Equal(t, 2, s.Queue.Pending)

			delete(a.no, "late")
			e.wait(r, repository.Published)
			require.NoError(t, e.repo.Drain(t.Context()))
		})
		e.check()
	})
}

// Approve is not asked again about an item that was sealed: not after an attempt that failed after
// the seal, not by Open, and not by a restoration. It is asked again about one that was not decided.
func TestApproveIsNotAskedAgain(t *testing.T) {
	for _, restore := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			e := newEnv(t, 4, delegation.Succinct)
			e.create()
			e.publish(files("x", 9)...)
			a := e.approved()
			a.no["bad"] = errors.New("no")
			_, err := e.repo.Submit(t.Context(), one("bad", file("bad", "1"), nil))
			require.NoError(t, err)
			e.submit(one("good", file("good", "1"), nil))

			// The first attempt fails before the seal, the second one after it.
			snapshots := 0
			e.inject.Plan(func(c faulty.Call) faulty.Fault {
				switch {
				case c.Op == "store.Create" && strings.HasSuffix(c.Name, ".snapshot.json"):
					if snapshots++; snapshots == 1 {
						return faulty.Before
					}
				case c.Op == "store.Swap" && snapshots > 1:
					return faulty.Before
				}
				return faulty.None
			})
			e.run(func() { time.Sleep(time.Hour) })
			require.Equal(t, []string{"bad", "good", "bad", "good"}, a.ask())
			require.Equal(t, 2, snapshots)
			e.close()
			e.inject.Plan(nil)

			delete(a.no, "bad") // the seal's word holds
			if restore {
				for _, name := range e.store.Names() {
					require.NoError(t, e.store.Delete(t.Context(), name))
				}
				e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
				require.NoError(t, err)
			} else {
				e.open()
			}
			require.Empty(t, a.ask())
			o, err := e.repo.Outcome(t.Context(), "bad")
			require.NoError(t, err)
			require.Equal(t, repository.SetAside, o.State)
			require.Equal(t, "not approved: no", o.Reason)
			o, err = e.repo.Outcome(t.Context(), "good")
			require.NoError(t, err)
			require.Equal(t, repository.Published, o.State)
			e.gone["bad"] = true
			e.checkViews()
			e.close()
		})
	}
}

// To be told to stop while the index thinks says nothing of the item.
func TestApproveAndStop(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		a := e.approved()
		r := e.submit(one("slow", file("slow", "1"), nil))
		ctx, stop := context.WithCancel(t.Context())
		a.no["slow"] = errors.New("asked in vain")
		a.during = func(ctx context.Context) {
			_, err := e.repo.Status(ctx) // it may ask
			require.NoError(t, err)
			stop()
			<-ctx.Done()
		}
		require.NoError(t, e.repo.Run(ctx))
		o, err := e.repo.Outcome(t.Context(), r.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Accepted, o.State)
		a.during = nil
		delete(a.no, "slow")
		e.run(func() { e.wait(r, repository.Published) })
		e.check()
	})
}
