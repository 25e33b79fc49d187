package repository_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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

// problems returns those of the Status, as lines.
func (e *env) problems() (lines []string) {
	e.t.Helper()
	s, err := e.repo.Status(e.t.Context())
	require.NoError(e.t, err)
	for _, p := range s.Problems {
		require.NotEmpty(e.t, p.Advice, p.What)
		lines = append(lines, fmt.Sprintf("%s: %s", p.Severity, p.What))
	}
	return lines
}

// requireProblems requires problems that begin so, in this order, and no others.
func (e *env) requireProblems(want ...string) {
	e.t.Helper()
	got := e.problems()
	require.Len(e.t, got, len(want), strings.Join(got, "\n"))
	for n := range want {
		require.True(e.t, strings.HasPrefix(got[n], want[n]), "%s\nis not: %s", got[n], want[n])
	}
}

// Each problem shows while it lasts; a repository that is well has none.
func TestProblems(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.requireProblems("warning: Run isn't running")
		e.publish(files("x", 9)...)
		e.cfg.MaxPending = 10
		e.close()
		e.open()
		e.run(func() {
			time.Sleep(time.Second)
			e.requireProblems()
		})
		late := e.add(file("late", "1"))
		e.requireProblems("error: Run isn't running")
		for n := range 7 {
			e.add(file(fmt.Sprint(n), "1"))
		}
		e.requireProblems("error: Run isn't running", "warning: the queue is nearly full: 8 items")
		e.add(file("8", "1"))
		e.add(file("9", "1"))
		time.Sleep(6 * time.Minute)
		e.requireProblems("error: an item waits since 2000-01-01T", "error: Run isn't running", "error: the queue is full: 10 items")
		e.run(func() {
			e.wait(late, repository.Published)
			require.NoError(t, e.repo.Drain(t.Context()))
			e.requireProblems()
		})

		// Publishing fails.
		e.inject.Plan(faulty.On(faulty.Before, "store.Create"))
		r := e.add(file("now", "1"))
		e.run(func() {
			time.Sleep(time.Minute)
			e.requireProblems("error: publishing fails: publish generation ")
			e.inject.Plan(nil)
			e.wait(r, repository.Published)
			time.Sleep(time.Second)
			e.requireProblems()
		})

		// A bin is altered.
		role := e.roleOf("now")
		name, original := e.newest(role)
		e.put(name, []byte("{}"))
		e.close()
		e.open()
		e.add(file("now", "2"))
		e.run(func() {
			time.Sleep(10 * time.Second)
			e.requireProblems("error: 1 bins are quarantined, and their items wait: " + role + ": " + name)
			e.put(name, original)
			require.NoError(t, e.repo.Drain(t.Context()))
			e.requireProblems()
		})
		e.store.Forget(name)
		e.check()
	})
}

// What expires is a problem before it does, and so it is for a reader.
func TestProblemsOfExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.ceremony.Now = time.Now().AddDate(0, 0, -270) // the offline documents expire 95 days from now
		e.ceremony.NextRoot(nil)
		e.ceremony.NextTargets(nil)
		e.ceremony.NextBins(nil)
		e.create()
		none := "warning: Run isn't running"
		time.Sleep(19 * time.Hour)
		e.requireProblems("warning: timestamp version 1 expires at", "warning: snapshot version 1 expires at", none)
		time.Sleep(6 * time.Hour)
		e.requireProblems("error: timestamp version 1 expired", "error: snapshot version 1 expired", none)
		read, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		require.Len(t, read.Problems, 2)
		require.Equal(t, repository.SeverityError, read.Problems[0].Severity)
		require.Equal(t, read.Roles["snapshot"].Expires, read.Problems[0].From)
		time.Sleep(5 * 24 * time.Hour)
		e.requireProblems("error: timestamp", "error: snapshot", "warning: a bin is not renewed: it expires at", none)
		time.Sleep(2 * 24 * time.Hour)
		e.requireProblems("error: timestamp", "error: snapshot", "error: a bin expired", none)
		e.run(func() {
			time.Sleep(time.Minute)
			e.requireProblems()
			time.Sleep(30 * 24 * time.Hour)
			e.requireProblems("warning: root version 2 expires at", "warning: targets version 2 expires at", "warning: bins version 2 expires at")
		})
		e.close()
	})
}

// requireNoneZero requires that an example has a value in each exported field, so that a new one is
// not forgotten in it.
func requireNoneZero(t *testing.T, v reflect.Value, where string) {
	t.Helper()
	require.False(t, v.IsZero(), where)
	switch {
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Map && v.Len() > 0:
		for _, element := range v.Seq2() {
			requireNoneZero(t, element, where+"[]")
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				requireNoneZero(t, v.Field(i), where+"."+f.Name)
			}
		}
	}
}

// The JSON form has all there is, under names in lower case.
func TestStatusJSON(t *testing.T) {
	day := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	full := repository.Status{
		Generation: 7, Signed: day, Leads: true, Epoch: 3, Queue: ledger.Backlog{Pending: 2, Bytes: 300, Oldest: day},
		Roles: map[string]repository.RoleStatus{"root": {Version: 1, Expires: day}}, BinCount: 4, FirstBinExpires: day,
		Fullest:     []repository.FullBin{{Bin: "bins-0", Bytes: 100, Targets: 1, Largest: "a", LargestBytes: 90}, {Bin: "bins-2", Bytes: 50}},
		Quarantined: []repository.QuarantinedBin{{Bin: "bins-1", Reason: "altered"}},
		Collection:  repository.CollectionStatus{Files: 8, Targets: 9, Oldest: day, Unlisted: 3, Overdue: day, Error: "denied", GivenBack: 1, GivenError: "in use"},
		Rotations: []repository.Rotation{{
			Role: "bins-*", State: repository.RotationSigning, To: "b", From: []string{"a"}, Begun: day, Left: 3, Next: "n", At: day,
		}},
		Err:      errors.New("disk full"),
		Problems: []repository.Problem{{Severity: repository.SeverityWarning, What: "w", Advice: "a", From: day}},
	}
	known := full
	known.Fullest = full.Fullest[:1] // nobody has looked into the other yet
	requireNoneZero(t, reflect.ValueOf(known), "Status")
	got, err := json.Marshal(full)
	require.NoError(t, err)
	require.JSONEq(t, `{"generation":7,"signed":"2026-05-17T12:00:00Z","leads":true,"epoch":3,"queue":{"pending":2,"bytes":300,"oldest":"2026-05-17T12:00:00Z"},
		"roles":{"root":{"version":1,"expires":"2026-05-17T12:00:00Z"}},"bin_count":4,"first_bin_expires":"2026-05-17T12:00:00Z",
		"fullest":[{"bin":"bins-0","bytes":100,"targets":1,"largest":"a","largest_bytes":90},{"bin":"bins-2","bytes":50}],
		"quarantined":[{"bin":"bins-1","reason":"altered"}],"rotations":[{"role":"bins-*","state":"signing","to":"b","from":["a"],"begun":"2026-05-17T12:00:00Z","left":3,"next":"n","at":"2026-05-17T12:00:00Z"}],"error":"disk full",
		"collection":{"files":8,"targets":9,"oldest":"2026-05-17T12:00:00Z","unlisted":3,"overdue":"2026-05-17T12:00:00Z","error":"denied","given_back":1,"given_error":"in use"},
		"problems":[{"severity":"warning","what":"w","advice":"a","from":"2026-05-17T12:00:00Z"}]}`, string(got))
	got, err = json.Marshal(&repository.Status{})
	require.NoError(t, err)
	require.JSONEq(t, `{"generation":0,"leads":false,"epoch":0,"queue":{"pending":0,"bytes":0},"roles":{},"bin_count":0,"fullest":[],"quarantined":[],"rotations":[],"collection":{"files":0,"targets":0},"problems":[]}`, string(got))
}
