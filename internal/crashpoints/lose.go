package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
)

// loss says what is lost while no process runs. The next process restores it.
type loss int

const (
	_            loss = iota
	wholeStore        // all files of the store
	newest            // the newest generation: the store is of an older backup
	wholeJournal      // all files of the journal
)

// lossy returns the history of a repository that loses its store while items wait, or loses its
// journal, with the items in it, after a new root and a new bins document.
func lossy(t require.TestingT, name string, checkpoint int, what loss) *History {
	a := newAuthor(t, name, delegation.Succinct, checkpoint)
	a.step(Step{Submit: []repository.Item{a.add(1, 2), a.add(3), a.add(4)}, Publish: true})
	a.step(Step{Install: repository.Documents{Roots: [][]byte{a.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": a.ceremony.NextBins(nil)}}})
	a.step(Step{Submit: []repository.Item{a.add(1), a.remove(4)}, Publish: true})
	waiting := []repository.Item{a.add(5), a.remove(3)}
	if what == wholeJournal {
		waiting = nil
	}
	a.step(Step{Wait: time.Hour, Submit: waiting, Lose: what})
	a.step(Step{Submit: []repository.Item{a.add(2)}, Publish: true})
	return a.History
}

// lose takes files away.
func (s *session) lose(what loss) error {
	switch what {
	case 0:
		return nil
	case wholeJournal:
		for file := range s.disk.Files() {
			if strings.HasPrefix(file, journalDir+"/") {
				s.disk.Drop(file)
			}
		}
		s.disk.Drop(journalDir)
		s.ledger.set(func() {
			s.ledger.loss, s.ledger.lostAt = what, s.ledger.generation()
			for _, e := range s.ledger.items {
				e.forgotten = true
			}
		})
		return nil
	}
	generation := s.ledger.generation()
	lost := map[string][]byte{}
	for file, data := range s.disk.Files() {
		name, ok := published(file)
		if _, written := s.ledger.seen[name]; !ok || !written && name != timestampName {
			continue
		}
		if what == newest && name != timestampName && !ofGeneration(name, generation) {
			continue
		}
		if name != timestampName {
			lost[name] = data
		}
		s.disk.Drop(file)
	}
	if what == newest {
		n := len(s.ledger.timestamps)
		if n < 2 {
			return fmt.Errorf("there is no generation before %d", generation)
		}
		s.disk.Put(storeDir+"/"+timestampName, s.ledger.timestamps[n-2])
	}
	s.ledger.set(func() { s.ledger.loss, s.ledger.lostAt, s.ledger.lost = what, generation, lost })
	return nil
}

// ofGeneration reports whether a name has that version. (An offline document may have it too; the
// restoration must write that again.)
func ofGeneration(name string, generation int64) bool {
	var version int64
	_, err := fmt.Sscanf(name, "%d.", &version)
	return err == nil && version == generation
}

// restore opens the repository after a loss, if err, which Open returned, is about the loss. What
// a restoration sealed is completed by Open.
func (s *session) restore(ctx context.Context, cfg repository.Config, err error) (*repository.Repository, error) {
	for sealed := range s.ledger.seals {
		if sealed > s.ledger.lostAt {
			return nil, err
		}
	}
	switch {
	case s.ledger.loss == wholeJournal && errors.Is(err, repository.ErrNotRepository):
		return repository.RestoreJournal(ctx, cfg, repository.Restoration{Root: s.history.documents.Roots[0]})
	case s.ledger.loss != 0 && errors.Is(err, repository.ErrDiverged):
		return repository.RestoreStore(ctx, cfg, repository.Restoration{})
	}
	return nil, err
}
