package audit_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// What the store holds of a generation that was given up is told from one that
// is on its way by the journal only.
func TestAuditOfABurntGeneration(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		p := fresh()
		require.NoError(t, p.repo.Close())
		p.env.cfg.CheckpointBytes = 0 // what came before a checkpoint isn't known
		p.env.cfg.Workers = 1         // one file after the other, the snapshot last
		p.open()
		failed := false
		p.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && c.Name == "6.snapshot.json" {
				failed = true
				return faulty.After
			}
			if c.Op == "store.Delete" { // or the process died before it tidied up
				return faulty.Before
			}
			return faulty.None
		})
		p.publish(file(p.paths[0], "again")) // as 6, and then as 7
		p.inject.Plan(nil)
		require.True(t, failed)

		p = fresh()
		p.cfg.Targets = nil
		require.Empty(t, p.audit()) // an earlier generation, for all that one can see
		log := p.journalLog(t)
		p = fresh()
		p.cfg.Targets, p.cfg.Journal = nil, log
		requireFindings(t, []audit.Finding{
			finding(isNote, "orphan", "6.bins-0.json", "", "generation 6 was given up before it was published"),
			finding(isNote, "orphan", "6.snapshot.json", "", "generation 6 was given up before it was published"),
		}, p.audit())
	})
}

func TestAuditAgainstTheJournal(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		log := fresh().journalLog(t)
		judge := func(damage func(p *published), want ...audit.Finding) {
			t.Helper()
			p := fresh()
			p.cfg.Journal = log
			damage(p)
			requireFindings(t, want, p.audit())
		}
		// Properly signed, and yet not what was published.
		judge(func(p *published) {
			p.bin(p.binName(1), func(b *roles.Bin) *roles.Bin {
				return edited(p, b, b.Version(), b.Expires().Add(time.Hour))
			})
		}, finding(isError, "journal", "3.bins-1.json", "", "it is not what was published by the journal"))
		judge(func(p *published) {
			p.timestamp(5, append(p.files[snapshotName].Data, ' '))
			p.files[snapshotName] = &fstest.MapFile{Data: append(p.files[snapshotName].Data, ' ')}
		}, finding(isError, "journal", "timestamp.json", "", "not the one that the journal recorded for generation 5"))
		judge(func(p *published) {
			p.files["timestamp.json"] = &fstest.MapFile{Data: p.store.History("timestamp.json")[3]}
			delete(p.files, "5.snapshot.json")
			delete(p.files, "5.bins-3.json")
		}, finding(isError, "journal", "timestamp.json", "", "it is version 4, and by the journal generation 5 is published"))

		stray, err := ledger.NewRecord(1, 6, "", time.Now(), &ledger.Intent{})
		require.NoError(t, err)
		broken := append(slices.Clip(log), ledger.Step{Record: &stray})
		p := fresh()
		p.cfg.Journal = broken
		requireFindings(t, []audit.Finding{finding(isError, "journal", "", "", "the chain is broken")}, p.audit())

		// A journal that is behind.
		p = fresh()
		p.publish(file(p.paths[0], "again"))
		p = fresh()
		p.cfg.Targets, p.cfg.Journal = nil, log
		requireFindings(t, []audit.Finding{
			finding(isWarning, "journal", "timestamp.json", "", "it is version 6, and the journal knows of 5"),
		}, p.audit())
	})
}

// A journal of another repository isn't an old backup: that advice would destroy one of the two.
func TestAuditOfAnotherRepositorysJournal(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		other := newEnv(t, 4, delegation.Succinct)
		for i := range 8 { // it has fewer generations than the store at first, and more later
			other.publish(file("packages/other", fmt.Sprint(i)))
			p := fresh()
			p.cfg.Targets, p.cfg.Journal = nil, (&published{env: other}).journalLog(t)
			requireFindings(t, []audit.Finding{
				finding(isError, "journal", "", "", "it is the journal of another repository: nothing that it installed or published is in this store, and 1.root.json is another root"),
			}, p.audit())
		}
		require.NoError(t, other.repo.Close())
	})
}

// What happened to the root is told from the journal, and nothing else is blamed for it.
func TestAuditOfTheRootAgainstTheJournal(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		log := fresh().journalLog(t)
		judge := func(damage func(p *published), want ...audit.Finding) {
			t.Helper()
			p := fresh()
			p.cfg.Journal = log
			damage(p)
			requireFindings(t, want, p.audit())
		}
		judge(func(p *published) { delete(p.files, "3.root.json") },
			finding(isError, "missing", "3.root.json", "", "by the journal it was installed, and it does not exist: clients don't come beyond root 2: "))
		judge(func(p *published) {
			for _, name := range []string{"1.root.json", "2.root.json", "3.root.json"} {
				delete(p.files, name)
			}
		}, finding(isError, "missing", "3.root.json", "", "there is other metadata and no root, and by the journal root version 3 was installed: "))
		judge(func(p *published) { clear(p.files) },
			finding(isError, "missing", "3.root.json", "", "there is no metadata at all, and by the journal root version 3 was installed: "))
		// Another root of the same people.
		judge(func(p *published) {
			root, err := roles.Parse[metadata.RootType](p.files["3.root.json"].Data)
			require.NoError(t, err)
			signed := root.Signed()
			signed.Expires = signed.Expires.Add(time.Hour)
			again, err := roles.New(signed)
			require.NoError(t, err)
			p.files["3.root.json"] = &fstest.MapFile{Data: p.ceremony.SignRoot(again.Bytes())}
		}, finding(isError, "journal", "3.root.json", "", "it is not the root that the journal installed: it was replaced"))
	})
}

func TestAuditEnds(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		old := audit.Config{Now: func() time.Time { return time.Now().AddDate(2, 0, 0) }}
		for _, err := range audit.Run(t.Context(), e.store, old) {
			require.NoError(t, err)
			break // to yield more would panic
		}

		errs := func(store audit.Files) (findings int, last error) {
			for _, err := range audit.Run(t.Context(), store, audit.Config{}) {
				require.NoError(t, last, "something came after an error")
				if last = err; err == nil {
					findings++
				}
			}
			return findings, last
		}
		_, err := errs(audit.FS(fstest.MapFS{"x": {}, "x.json": {}}))
		require.ErrorIs(t, err, repository.ErrNotRepository)

		n, err := errs(unlisted{e.store})
		require.ErrorIs(t, err, faulty.ErrInjected)
		require.Zero(t, n)

		// A file that can't be read is a finding, and the audit goes on.
		e.inject.Plan(faulty.On(faulty.Before, "store.Get"))
		n, err = errs(e.cfg.Store)
		require.NoError(t, err)
		require.Equal(t, 1, n) // the one root; there is no way beyond
		e.inject.Plan(nil)

		for f := range audit.Run(t.Context(), e.cfg.Store, audit.Config{}) {
			require.Equal(t, "clients", f.Check)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range audit.Run(ctx, e.store, audit.Config{}) {
			require.ErrorIs(t, err, context.Canceled)
		}
	})
}

// A publisher at work doesn't disturb an audit, at whichever call it goes on.
func TestAuditBesideAPublisher(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		calls := 1
		for at := 0; at < calls; at++ {
			log := (&published{env: e}).journalLog(t)
			store := &interrupted{Store: e.store, at: at, f: func() {
				require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
				for n := range 2 {
					var changed []roles.Target
					for _, f := range files("demo", 8) {
						changed = append(changed, file(f.Path, fmt.Sprint(at, n)))
					}
					e.publish(changed...)
				}
			}}
			for f, err := range audit.Run(t.Context(), store, audit.Config{Journal: log, Workers: 1}) {
				require.NoError(t, err)
				if f.Check == "journal" { // published after the journal was read
					require.Equal(t, audit.Warning, f.Severity)
					continue
				}
				require.Equal(t, audit.Note, f.Severity, "call %d: %+v", at, f)
			}
			calls = max(calls, min(store.n, 20))
		}
		require.Greater(t, calls, 10)
	})
}

// A root that was written after the store was listed is one that clients follow.
func TestAuditFollowsNewRoots(t *testing.T) {
	files := newForeign(t).sign()
	files["2.root.json"] = files["1.root.json"]
	for f, err := range audit.Run(t.Context(), late{audit.FS(files)}, audit.Config{Now: func() time.Time { return foreignNow }}) {
		require.NoError(t, err)
		if f.Name == "1.root.json" { // its key IDs
			continue
		}
		requireFindings(t, []audit.Finding{finding(isError, "version", "2.root.json", "", "it is version 1")}, []audit.Finding{f})
		return
	}
	require.Fail(t, "nothing was found")
}

// late lists one root only.
type late struct{ audit.Files }

func (late) List(context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) { yield(repository.Info{Name: "1.root.json"}, nil) }
}

// interrupted does something else before one call.
type interrupted struct {
	repository.Store
	n, at int
	f     func()
}

func (s *interrupted) call() {
	if s.n == s.at {
		s.f()
	}
	s.n++
}

func (s *interrupted) Get(ctx context.Context, name string) ([]byte, error) {
	s.call()
	return s.Store.Get(ctx, name)
}

func (s *interrupted) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	s.call()
	return s.Store.List(ctx)
}

// unlisted is a store that can't be listed.
type unlisted struct{ repository.Store }

func (unlisted) List(context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) { yield(repository.Info{}, faulty.ErrInjected) }
}
