package repository_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// observer keeps what it is told, and asks for the Status each time.
type observer struct {
	e      *env
	mu     sync.Mutex
	events []repository.Event
}

func (e *env) observe() *observer {
	o := &observer{e: e}
	e.cfg.Observe = func(event repository.Event) {
		if o.e.repo != nil {
			_, _ = o.e.repo.Status(e.t.Context()) // it must not wait for ever
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.events = append(o.events, event)
	}
	return o
}

// lines returns the events since it was last called, one a line.
func (o *observer) lines() (lines []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.events {
		require.False(o.e.t, e.Start.IsZero())
		require.Equal(o.e.t, e.Stage == repository.StageSign, e.Key != "")
		failed := ""
		if e.Err != nil {
			failed = " failed"
		}
		role := ""
		if e.Role != "" {
			role = fmt.Sprintf(" %s %t", e.Role, e.Bytes > 0)
		}
		lines = append(lines, fmt.Sprintf("%s %d%s: %d %d%s%s", e.Stage, e.Generation, " "+e.Cause, e.Items, e.Roles, role, failed))
	}
	o.events = nil
	return lines
}

func (o *observer) causes() (causes []string) {
	for _, line := range o.lines() {
		if fields := strings.Fields(line); fields[0] == "generation" {
			causes = append(causes, strings.TrimSuffix(fields[2], ":"))
		}
	}
	return causes
}

// Each stage of a generation is told of once, in order, also when it fails.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.Workers = 1
		o := e.observe()
		e.create()
		require.Equal(t, []string{
			"write 0 : 0 0 root true", "write 0 : 0 0 bins true", "write 0 : 0 0 targets true",
			"read 1 : 0 0", "plan 1 : 0 0", "intent 1 : 0 2",
			"sign 1 : 0 0 snapshot true", "sign 1 : 0 0 timestamp true",
			"sign 1 : 0 0 bins-0 true", "write 1 : 0 0 bins-0 true", "sign 1 : 0 0 bins-1 true", "write 1 : 0 0 bins-1 true",
			"write 1 : 0 0 snapshot true", "seal 1 : 0 2", "commit 1 : 0 2", "generation 1 create: 0 2", "checkpoint 1 : 0 2",
		}, o.lines())
		e.close()
		e.cfg.CheckpointBytes = 1 << 20
		e.open()
		require.Empty(t, o.lines())

		a := file("a", "1")
		e.publish(a)
		bin := e.roleOf("a")
		require.Equal(t, []string{
			"read 2 : 1 1", "plan 2 : 1 1", "intent 2 : 0 1", "sign 2 : 0 0 snapshot true", "sign 2 : 0 0 timestamp true",
			"sign 2 : 0 0 " + bin + " true", "write 2 : 0 0 " + bin + " true", "write 2 : 0 0 snapshot true",
			"seal 2 : 1 1", "commit 2 : 1 1", "generation 2 items: 1 1",
		}, o.lines())

		require.Equal(t, []repository.Outcome{{State: repository.Unchanged, Generation: 2}}, e.outcomes(one("same", a, nil)))
		require.Equal(t, []string{"read 3 : 1 1", "plan 3 : 1 0", "decide 2 : 1 0"}, o.lines()[:3])

		written := 0
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" {
				if written++; written == 1 {
					return faulty.Before
				}
			}
			return faulty.None
		})
		e.publish(file("a", "2"))
		failed := slices.DeleteFunc(o.lines(), func(line string) bool { return !strings.HasSuffix(line, " failed") })
		require.Equal(t, []string{"write 3 : 0 0 " + bin + " true failed", "generation 3 items: 1 1 failed"}, failed)
		e.inject.Plan(nil)

		// Why generations are made.
		e.run(func() { time.Sleep(13 * time.Hour) })
		require.Equal(t, []string{"renewal"}, o.causes())
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
		require.Equal(t, []string{"documents"}, o.causes())
		name, original := e.newest(bin)
		e.put(name, []byte("{}"))
		require.NoError(t, e.repo.Rebuild(t.Context(), bin))
		require.Equal(t, []string{"rebuild"}, o.causes())
		e.put(name, original)
		e.store.Forget(name)
		e.check()
		e.close()
		for _, name := range e.store.Names() {
			require.NoError(t, e.store.Delete(t.Context(), name))
		}
		e.repo = nil
		repo, err := repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.repo = repo
		require.Equal(t, []string{"restore"}, o.causes())
		e.close()
	})
}

// From each of its calls an observer may ask and submit, though it runs within the publisher.
func TestObserverAsks(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.close()
		var mu sync.Mutex
		asked := map[repository.Stage]int{}
		e.cfg.CheckpointBytes = 1
		e.cfg.Observe = func(event repository.Event) {
			if e.repo == nil {
				return // Open
			}
			mu.Lock()
			asked[event.Stage]++
			id := fmt.Sprintf("%s-%d", event.Stage, asked[event.Stage])
			mu.Unlock()
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			v, err := e.repo.View(t.Context())
			require.NoError(t, err)
			require.GreaterOrEqual(t, v.Generation(), s.Generation)
			if strings.HasSuffix(id, "-1") {
				r, err := e.repo.Submit(t.Context(), one(id, file("by-observer", "1"), nil))
				require.NoError(t, err)
				o, err := e.repo.Outcome(t.Context(), r.ID())
				require.NoError(t, err)
				require.Equal(t, repository.Accepted, o.State)
			}
		}
		e.repo = nil
		e.open()
		e.run(func() {
			for n := range 3 {
				e.wait(e.add(file("a", fmt.Sprint(n))), repository.Published)
			}
			require.NoError(t, e.repo.Drain(t.Context()))
			e.wait(e.add(file("a", "2")), repository.Unchanged)
			require.NoError(t, e.repo.Drain(t.Context()))
		})
		require.Len(t, asked, 10, "all stages")
		e.note(repository.Item{Add: []roles.Target{file("by-observer", "1")}})
		e.check()
	})
}
