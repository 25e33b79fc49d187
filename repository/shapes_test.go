package repository_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// createShape creates the repository in a shape.
func (e *env) createShape(s repotest.Shape) {
	e.t.Helper()
	if s.Signers != nil {
		e.cfg.Signers = s.Signers(e.ceremony)
	}
	docs := repository.Documents{Roles: s.Documents(e.ceremony, 1)} // for which it may make another root
	docs.Roots = e.ceremony.Documents().Roots
	var err error
	e.repo, err = repository.Create(e.t.Context(), e.config(), docs)
	require.NoError(e.t, err)
}

// Every shape is created, published in, renewed, changed by people, opened again, rebuilt,
// restored and audited, and clients of every generation follow.
func TestShapes(t *testing.T) {
	t.Parallel()
	all := repotest.Shapes()
	first, step := thorough.OneIn(3)
	for n := first; n < len(all); n += step {
		s := all[n]
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				e.createShape(s)
				e.list(s, 1)
				e.check()

				upload := files("x", 12)
				for _, path := range s.Online {
					upload = append(upload, file(path, "1"))
				}
				e.publish(upload...)
				e.check()
				for path, role := range s.Owned {
					_, err := e.repo.Add(t.Context(), file(path, "1"))
					require.ErrorIs(t, err, repository.ErrSignedByPeople)
					require.EqualError(t, err, `submit: target "`+path+`": people sign this path's role: it belongs to the role "`+role+`"`)
				}
				// A removal and a renewal of all online roles, after a week.
				r := e.remove(upload[0].Path)
				e.run(func() { e.wait(r, repository.Published) })
				e.run(func() { time.Sleep(7 * 24 * time.Hour) })
				e.check()
				// Newer documents, and their installation repeated.
				e.ceremony.Now = time.Now()
				next := repository.Documents{Roles: s.Documents(e.ceremony, 2)}
				require.NoError(t, e.install(next))
				require.NoError(t, e.install(next))
				e.list(s, 2)
				e.check()
				status, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				for role := range next.Roles {
					require.Contains(t, status.Roles, role)
				}
				e.close()

				e.open()
				read, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
				require.NoError(t, err)
				status.Err, status.Problems, status.Leads, read.Queue = nil, read.Problems, false, status.Queue
				require.Equal(t, status, read)
				e.publish(file(upload[1].Path, "again"))
				e.check()

				// Lost files of each online role are made again from the journal.
				for _, upload := range upload[1:] {
					role := e.roleOf(upload.Path)
					e.requireRebuilt(role, e.reopen)
				}
				e.check()
				e.close()

				// The store is lost, and then the journal.
				lost := e.store.Clone()
				for _, name := range lost.Names() {
					if name != "timestamp.json" {
						require.NoError(t, lost.Delete(t.Context(), name))
					}
				}
				e.store = lost
				e.cfg.Store = lost
				e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
				require.NoError(t, err)
				e.publish(file("restored", "1"))
				e.checkNewest()
				e.close()
				e.journal = storetest.NewJournal()
				e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
				require.NoError(t, err)
				e.publish(file("restored", "2"))
				e.checkNewest()
				e.close()
			})
		})
	}
}

// list notes what clients find in documents of this version.
func (e *env) list(s repotest.Shape, version int64) {
	if s.Listed == nil {
		return
	}
	if version > 1 {
		for path := range s.Listed(version - 1) {
			e.note(repository.Item{Remove: []string{path}})
		}
	}
	for path, content := range s.Listed(version) {
		e.note(repository.Item{Add: []roles.Target{file(path, content)}})
	}
}

// roleOf is the role in which clients find a path.
func (e *env) roleOf(path string) string {
	e.t.Helper()
	for _, name := range e.store.Names() {
		bin, err := e.store.Get(e.t.Context(), name)
		require.NoError(e.t, err)
		doc, err := roles.Parse[metadata.TargetsType](bin)
		if err != nil {
			continue
		}
		if _, ok := doc.Signed().Targets[path]; ok {
			_, role, _ := strings.Cut(strings.TrimSuffix(name, ".json"), ".")
			return role
		}
	}
	require.FailNow(e.t, "nobody has "+path)
	return ""
}

// checkNewest lets new clients judge the newest generation.
func (e *env) checkNewest() {
	e.t.Helper()
	timestamps := e.store.History("timestamp.json")
	for f, err := range audit.Run(e.t.Context(), e.store, audit.Config{Online: slices.Collect(maps.Keys(e.cfg.Signers))}) {
		require.NoError(e.t, err)
		require.Equal(e.t, audit.Note, f.Severity, f)
	}
	e.checkViews()
	repotest.CheckRepository(e.t, repotest.Published{
		Store: e.store, Timestamps: timestamps[len(timestamps)-1:], Now: time.Now(),
		Want: slices.Collect(maps.Values(e.want)), Gone: slices.Collect(maps.Keys(e.gone)),
	})
}
