package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	records "github.com/bindery-tuf/bindery/repository/ledger"
)

// collected returns the history of a repository that deletes what it supersedes at once. A process
// collects when it has published, and rests after that: so there are many processes.
func collected(t require.TestingT, name string, checkpoint int) *History {
	a := newAuthor(t, name, delegation.Succinct, checkpoint)
	a.collects = true
	a.step(Step{Submit: []repository.Item{a.add(1, 2), a.add(3)}, Publish: true})
	a.step(Step{Reopen: true})
	a.step(Step{Submit: []repository.Item{a.add(1), a.add(4), a.remove(2)}, Publish: true})
	a.step(Step{Install: repository.Documents{
		Roots: [][]byte{a.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"targets": a.ceremony.NextTargets(nil), "bins": a.ceremony.NextBins(nil)},
	}})
	a.step(Step{Submit: []repository.Item{a.add(5)}, Reopen: true})
	a.step(Step{Wait: 5 * 24 * time.Hour, Submit: []repository.Item{a.add(5)}, Publish: true})
	a.step(Step{Reopen: true})
	a.step(Step{Wait: 5 * 24 * time.Hour, Publish: true}) // renewal alone
	return a.History
}

// rebuiltFromBase returns the history of such a repository that loses its journal, and a bin long after
// that. The bin is made again from the file that it had when the journal was lost.
func rebuiltFromBase(t require.TestingT, name string, checkpoint int) *History {
	a := newAuthor(t, name, delegation.Succinct, checkpoint)
	a.collects = true
	full := a.layout.Find(finishPath)
	sick := 1 - full
	a.step(Step{Submit: []repository.Item{a.add(a.nth(sick, 0), a.nth(sick, 1))}, Publish: true})
	a.step(Step{Submit: []repository.Item{a.add(a.nth(sick, 0), a.nth(full, 0))}, Publish: true})
	a.step(Step{Lose: wholeJournal})
	a.step(Step{Submit: []repository.Item{a.add(a.nth(sick, 2))}, Publish: true})
	a.step(Step{Reopen: true})
	a.step(Step{Submit: []repository.Item{a.add(a.nth(sick, 2))}, Publish: true})
	a.step(Step{Reopen: true})
	a.step(Step{Alter: file(a.nth(sick, 1)), Submit: []repository.Item{a.add(a.nth(sick, 3)), a.add(a.nth(full, 0))}, Publish: true})
	a.step(Step{Heal: rebuilt, Submit: []repository.Item{a.add(a.nth(sick, 4))}, Publish: true})
	return a.History
}

// attempt is an intent, and the epoch of the process that wrote it.
type attempt struct {
	epoch  int64
	intent *records.Intent
}

func (a attempt) names(role string) bool {
	for r := range a.intent.Names {
		if r == role {
			return true
		}
	}
	return false
}

// commit notes what a commit record makes garbage. The lock is held.
func (l *ledger) commit(generation int64) {
	l.committed[generation] = true
	seal := l.seals[generation]
	if seal == nil {
		return // a checkpoint hides it
	}
	for _, name := range seal.Superseded {
		l.garbage[name] = true
	}
	used := map[string]bool{metadata.SNAPSHOT: true}
	for _, r := range seal.Rows {
		used[r.Role] = true
	}
	for n, a := range l.attempts {
		for role := range a.intent.Names {
			if n < generation && !l.committed[n] || n == generation && !used[role] {
				l.garbage[records.Name(n, role)] = true
			}
		}
	}
}

// remove judges the deletion of a name before it is made.
func (l *ledger) remove(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.mayRemove(name); err != nil && l.broken == nil {
		l.broken = err
	}
	l.removed[name] = true
}

func (l *ledger) mayRemove(name string) error {
	version, role, ok := records.ParseName(name)
	if !ok || role == metadata.ROOT {
		return fmt.Errorf("%s is deleted, which must stay for ever", name)
	}
	if newest := l.generation(); newest > 0 {
		published, err := frozen(l.seen).generation(newest)
		if err != nil {
			return err
		}
		if published.files[name] {
			return fmt.Errorf("%s is deleted, and generation %d has it", name, newest)
		}
	}
	a, attempted := l.attempts[version]
	own := attempted && a.epoch == l.epoch && a.names(role) && l.seals[version] == nil
	if !l.garbage[name] && !own {
		return fmt.Errorf("%s is deleted, and no commit record superseded it", name)
	}
	return nil
}

// onlyNeeded requires that the store has nothing but what is published, roots, and the files with which
// a replay begins after the journal was lost.
func (l *ledger) onlyNeeded(store frozen) error {
	published, err := store.generation(l.generation())
	if err != nil {
		return err
	}
	for _, name := range l.healed { // it was put back by hand, perhaps after it was collected
		published.files[name] = true
	}
	if l.loss == wholeJournal {
		bases, err := frozen(l.seen).generation(l.lostAt)
		if err != nil {
			return err
		}
		for name := range bases.files {
			if _, role, _ := records.ParseName(name); strings.HasPrefix(role, "bins-") {
				published.files[name] = true
			}
		}
	}
	for name := range store {
		// A failed sync may lose a deletion for good: see dirstore.Store.Delete.
		if !published.files[name] && !l.removed[name] && name != timestampName && !strings.HasSuffix(name, ".root.json") {
			return fmt.Errorf("%s is superseded, and was never deleted", name)
		}
	}
	return nil
}

// collect opens the repository once more, and runs it until all that is superseded is deleted.
func (s *session) collect() error {
	if err := s.repo.Close(); err != nil {
		return err
	}
	s.disk.End()
	if err := s.open(); err != nil {
		return err
	}
	if err := s.repo.AcceptClock(s.ctx); err != nil {
		return err
	}
	status, err := s.repo.Status(s.ctx)
	if err != nil {
		return err
	}
	if status.Collection.Unlisted > 0 { // the journal was lost
		for _, err := range s.repo.Sweep(s.ctx, false) {
			if err != nil {
				return err
			}
		}
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.repo.Run(ctx) }()
	err = s.awaitCollected(ctx)
	cancel()
	return errors.Join(err, <-done)
}

func (s *session) awaitCollected(ctx context.Context) error {
	for {
		status, err := s.repo.Status(ctx)
		if err != nil {
			return err
		}
		if status.Collection.Files == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d files are not collected: %w", status.Collection.Files, ctx.Err())
		}
		time.Sleep(20 * time.Microsecond)
	}
}
