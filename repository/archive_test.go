package repository_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// place is a repository on a real disk, with an archive for its journal.
type place struct {
	t        *testing.T
	dir, to  string
	ceremony *repotest.Ceremony
	cfg      repository.Config
	repo     *repository.Repository
	want     map[string]roles.Target
	gens     int64
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir(), to: t.TempDir(), want: map[string]roles.Target{}, gens: 1,
		cfg: repository.Config{CheckpointBytes: 1, MaxDelay: -1}}
	var err error
	p.ceremony, err = repotest.NewSite(t.Context(), t, p.dir, [32]byte{1}, mustBins(t, 2), p.cfg)
	require.NoError(t, err)
	p.open()
	return p
}

func (p *place) open() {
	p.t.Helper()
	var err error
	p.repo, err = repotest.OpenSite(p.t.Context(), p.dir, p.cfg)
	require.NoError(p.t, err)
}

func (p *place) close() {
	p.t.Helper()
	require.NoError(p.t, p.repo.Close())
}

// publish publishes targets in one generation.
func (p *place) publish(targets ...roles.Target) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	done := make(chan error)
	go func() { done <- p.repo.Run(ctx) }()
	r, err := p.repo.Add(ctx, targets...)
	require.NoError(p.t, err)
	o, err := r.Wait(ctx)
	require.NoError(p.t, err)
	p.gens = o.Generation
	cancel()
	require.NoError(p.t, <-done)
	for _, t := range targets {
		p.want[t.Path] = t
	}
}

func (p *place) journal() string           { return filepath.Join(p.dir, repotest.SiteJournal) }
func (p *place) stored(name string) string { return filepath.Join(p.dir, repotest.SiteStore, name) }

func (p *place) reader() repository.Reader {
	p.t.Helper()
	r, err := dirjournal.OpenReader(p.journal())
	require.NoError(p.t, err)
	return r
}

func (p *place) store() repository.Store {
	p.t.Helper()
	s, err := dirstore.Open(filepath.Join(p.dir, repotest.SiteStore))
	require.NoError(p.t, err)
	return s
}

// archive puts the history away.
func (p *place) archive() repository.Archived {
	p.t.Helper()
	a, err := p.repo.Archive(p.t.Context(), repository.Archive{To: p.to})
	require.NoError(p.t, err)
	return a
}

// putBack copies the archived files back.
func (p *place) putBack() {
	p.t.Helper()
	entries, err := os.ReadDir(p.to)
	require.NoError(p.t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(p.to, e.Name()))
		require.NoError(p.t, err)
		require.NoError(p.t, os.WriteFile(filepath.Join(p.journal(), e.Name()), data, 0o600))
	}
}

// bases are the files with which a replay begins.
func (p *place) bases() (names []string) {
	p.t.Helper()
	var s ledger.State
	for step, err := range p.reader().Read(p.t.Context(), ledger.FromCheckpoint) {
		require.NoError(p.t, err)
		if step.Record != nil {
			require.NoError(p.t, s.Apply(*step.Record))
		}
	}
	for role, version := range s.Bases {
		names = append(names, ledger.Name(version, role))
	}
	slices.Sort(names)
	return names
}

// check lets an auditor and a client judge what is published. Timestamps of earlier generations are not kept
// here.
func (p *place) check() {
	p.t.Helper()
	store := p.store()
	for f, err := range audit.Run(p.t.Context(), store, audit.Config{Journal: p.reader()}) {
		require.NoError(p.t, err)
		require.Equal(p.t, audit.Note, f.Severity, f)
	}
	timestamp, err := store.Get(p.t.Context(), ledger.Timestamp)
	require.NoError(p.t, err)
	repotest.CheckRepository(p.t, repotest.Published{
		Store: store, Timestamps: [][]byte{timestamp}, Now: time.Now(), Want: slices.Collect(mapsValues(p.want)),
	})
}

func mapsValues(m map[string]roles.Target) func(func(roles.Target) bool) {
	return func(yield func(roles.Target) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

func (p *place) names(dir string) (names []string) {
	p.t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(p.t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// History is put away while uploads go on. What is left is enough to publish, to audit, to make bins again, and to
// restore a store from, as long as it has the bases. With the files put back all of the history is there.
func TestArchive(t *testing.T) {
	p := newPlace(t)
	p.publish(files("a", 8)...)
	root := p.ceremony.NextRoot(nil)
	require.NoError(t, p.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{root}}))
	p.publish(files("b", 8)...)
	begins := p.gens

	// A dry run changes nothing.
	before := p.names(p.journal())
	dry, err := p.repo.Archive(t.Context(), repository.Archive{To: p.to, DryRun: true})
	require.NoError(t, err)
	require.Equal(t, before, p.names(p.journal()))
	require.Empty(t, p.names(p.to))
	require.Empty(t, p.bases())
	require.Equal(t, []any{begins, 2}, []any{dry.Begins, dry.Bases})
	for _, words := range []string{
		fmt.Sprintf("%d files of the journal with %d bytes go to %s.\n", len(dry.Files), dry.Bytes, p.to),
		fmt.Sprintf("The history that is left begins at generation %d.", begins),
		fmt.Sprintf("its file of generation %d or before. These 2 files of the store are kept", begins),
		fmt.Sprintf("which costs up to %d bytes", dry.BaseBytes),
		"Once the files are put back into the journal's folder, all of this is possible again.\n",
	} {
		require.Contains(t, dry.String(), words)
	}

	done := p.archive()
	require.Equal(t, dry, done)
	require.Equal(t, len(done.Files), len(p.names(p.to)))
	bases := p.bases()
	require.Len(t, bases, 2)
	p.check()
	p.publish(append(files("c", 8), file(files("a", 8)[0].Path, "2"))...)
	for range 2 {
		p.check()
		gens := generations(t, p.reader())
		require.Equal(t, begins+1, gens[0].Number)
		_, err = repository.ReadDiff(t.Context(), p.reader(), begins-1, p.gens)
		require.ErrorContains(t, err, fmt.Sprintf("generation %d is before the history that is kept, which begins at generation %d", begins-1, begins))
		d, err := repository.ReadDiff(t.Context(), p.reader(), begins, p.gens)
		require.NoError(t, err)
		require.Len(t, d.Targets, 9)
		require.False(t, d.Unread, "the documents in force were written again")
		life, err := repository.ReadLife(t.Context(), p.reader(), files("a", 8)[0].Path)
		require.NoError(t, err)
		require.Equal(t, []int64{begins}, life.Gaps)
		require.Len(t, life.Items, 1)
		p.close()
		p.open()
	}

	// A bin is made again from its base.
	p.rebuild()
	// So is a store that has the bases and nothing else.
	p.lose(bases...)
	p.restore()
	p.check()
	// A store without the bases isn't: the error names them. With the files put back it is.
	p.lose()
	err = p.tryRestore()
	for _, name := range bases {
		require.ErrorContains(t, err, name)
	}
	p.putBack()
	p.restore()
	p.check()
	d, err := repository.ReadDiff(t.Context(), p.reader(), 1, begins)
	require.NoError(t, err)
	require.Len(t, d.Targets, 16)
	p.rebuild()
	p.close()
}

// rebuild alters each bin, and makes it again.
func (p *place) rebuild() {
	p.t.Helper()
	for _, bin := range []string{"bins-0", "bins-1"} {
		var newest int64
		for _, name := range p.names(filepath.Join(p.dir, repotest.SiteStore)) {
			if version, role, ok := ledger.ParseName(name); ok && role == bin {
				newest = max(newest, version)
			}
		}
		require.NoError(p.t, os.Remove(p.stored(ledger.Name(newest, bin))))
		require.NoError(p.t, p.repo.Rebuild(p.t.Context(), bin))
	}
	p.check()
}

// lose closes the repository and empties the store but for some files.
func (p *place) lose(but ...string) {
	p.t.Helper()
	p.close()
	for _, name := range p.names(filepath.Join(p.dir, repotest.SiteStore)) {
		if strings.HasSuffix(name, ".json") && !slices.Contains(but, name) {
			require.NoError(p.t, os.Remove(p.stored(name)))
		}
	}
}

func (p *place) tryRestore() error {
	p.t.Helper()
	journal, err := dirjournal.Open(p.journal())
	require.NoError(p.t, err)
	cfg, err := repotest.SiteConfig(p.dir, p.cfg, journal)
	require.NoError(p.t, err)
	repo, err := repository.RestoreStore(p.t.Context(), cfg, repository.Restoration{})
	if err != nil {
		return errors.Join(err, journal.Close())
	}
	p.repo = repo
	return nil
}

func (p *place) restore() {
	p.t.Helper()
	require.NoError(p.t, p.tryRestore())
}

// A second Archive goes on where the first ended, and the files with which the history began before it go. Bins can
// be made again from what is left of each, and from any part that is put back.
func TestArchiveAgain(t *testing.T) {
	p := newPlace(t)
	p.publish(files("a", 8)...)
	p.archive()
	first := p.bases()
	p.publish(files("b", 8)...)
	p.rebuild()
	_, err := p.repo.Archive(t.Context(), repository.Archive{Delete: true, DryRun: true})
	require.NoError(t, err)
	// The first bases were superseded long ago, and the collector left them alone.
	second := p.archive()
	require.NotEqual(t, first, p.bases())
	require.Contains(t, second.String(), "go to ")
	p.publish(files("c", 8)...)
	p.rebuild()
	p.putBack()
	p.rebuild()
	p.close()
	p.open()
	deleted, err := p.repo.Archive(t.Context(), repository.Archive{Delete: true})
	require.NoError(t, err)
	require.Contains(t, deleted.String(), "are deleted")
	require.Contains(t, deleted.String(), "Nothing brings the files back.")
	p.publish(files("d", 8)...)
	p.rebuild()
	p.close()
}

// RestoreJournal works with a journal whose history was put away.
func TestArchiveThenRestoreJournal(t *testing.T) {
	p := newPlace(t)
	p.publish(files("a", 8)...)
	p.archive()
	p.close()
	old := t.TempDir()
	require.NoError(t, os.CopyFS(old, os.DirFS(p.journal())))
	p.open()
	p.publish(files("b", 8)...)
	p.close()
	require.NoError(t, os.RemoveAll(p.journal()))
	require.NoError(t, os.CopyFS(p.journal(), os.DirFS(old)))
	journal, err := dirjournal.Open(p.journal())
	require.NoError(t, err)
	cfg, err := repotest.SiteConfig(p.dir, p.cfg, journal)
	require.NoError(t, err)
	p.repo, err = repository.RestoreJournal(t.Context(), cfg, repository.Restoration{})
	require.NoError(t, err)
	p.check()
	p.publish(files("c", 8)...)
	p.rebuild()
	p.archive()
	p.publish(files("d", 8)...)
	p.rebuild()
	p.putBack()
	p.rebuild()
	p.close()
}

// A document that a history begins with is superseded once.
func TestArchiveThenInstall(t *testing.T) {
	p := newPlace(t)
	p.publish(files("a", 8)...)
	p.archive()
	require.NoError(t, p.repo.Install(t.Context(), repository.Documents{Roles: map[string][]byte{"bins": p.ceremony.NextBins(nil)}}))
	for step, err := range p.reader().Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		if seal, ok := stepBody(step).(*ledger.Seal); ok {
			require.Equal(t, slices.Compact(slices.Sorted(slices.Values(seal.Superseded))), slices.Sorted(slices.Values(seal.Superseded)))
			require.Contains(t, seal.Superseded, "2.bins.json")
		}
	}
	p.check()
	p.close()
}

func stepBody(s ledger.Step) ledger.Body {
	if s.Record == nil {
		return nil
	}
	return s.Record.Body
}

func TestArchiveRefuses(t *testing.T) {
	p := newPlace(t)
	p.publish(files("a", 8)...)
	for words, a := range map[string]repository.Archive{
		"archive history: name a folder in Archive.To, or set Archive.Delete": {},
		"name a folder in Archive.To":                                         {To: p.to, Delete: true},
		"the archive must be a folder that exists":                            {To: filepath.Join(p.to, "missing")},
		"is the journal's own folder":                                         {To: p.journal()},
	} {
		_, err := p.repo.Archive(t.Context(), a)
		require.ErrorContains(t, err, words)
	}
	for _, dry := range []bool{true, false} {
		name := p.stored(ledger.Name(p.gens, "bins-0"))
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.Remove(name))
		_, err = p.repo.Archive(t.Context(), repository.Archive{To: p.to, DryRun: dry})
		require.ErrorContains(t, err, fmt.Sprintf("1 files are missing or altered in the store, and can be made again only from the history: call Rebuild for each of their bins first: %d.bins-0.json", p.gens))
		require.NoError(t, os.WriteFile(name, data, 0o644))
	}
	require.Empty(t, p.names(p.to))
	require.Empty(t, p.bases())
	p.close()
	_, err := p.repo.Archive(t.Context(), repository.Archive{To: p.to})
	require.ErrorIs(t, err, repository.ErrClosed)

	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		_, err := e.repo.Archive(t.Context(), repository.Archive{Delete: true})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "keeps all of its history")
	})
}
