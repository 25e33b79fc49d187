package repository_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// install installs only the documents given; all others stay as they are.
func (e *env) install(d repository.Documents) error {
	return e.repo.Install(e.t.Context(), d)
}

func TestInstall(t *testing.T) {
	for name, form := range bothForms {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 4, form, func(t *testing.T, e *env) {
				e.publish(files("x", 10)...)
				root := e.ceremony.NextRoot(nil)
				require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
				s, err := e.repo.Status(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 2, s.Roles["root"].Version)
				require.EqualValues(t, 2, s.Generation, "a root is a commit of its own")
				published, err := e.store.Get(t.Context(), "2.root.json")
				require.NoError(t, err)
				require.Equal(t, root, published)
				e.check()

				require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}))
				require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
				e.check()
				require.NoError(t, e.install(e.ceremony.Documents()), "all of it again changes nothing")
				s, err = e.repo.Status(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 4, s.Generation)
				require.EqualValues(t, 2, s.Roles["targets"].Version)
				require.EqualValues(t, 2, s.Roles["bins"].Version)

				e.close()
				e.open()
				e.publish(file("later", "1"))
				e.check()
			})
		})
	}
}

// The one-time keys of targets and bins are replaced, both documents at once.
func TestInstallWithNewOfflineKeys(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		c := e.ceremony
		oldTargets := repotest.Of(2) // N+1 trusts old and new keys for targets …
		root := c.NextRoot(func(r *roles.RootSpec) {
			oldTargets = r.Targets
			r.Targets.Keys = append(append(r.Targets.Keys[:0:0], r.Targets.Keys...), c.NewEd25519().Public(), c.NewEd25519().Public())
		})
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
		e.check()
		targets := c.NextTargets(func(a *roles.Authority) { *a = repotest.Of(2, c.NewEd25519(), c.NewEd25519()) })
		require.ErrorContains(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": targets}}), `role "bins"`, "its bins belong with it")
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": targets, "bins": c.NextBins(nil)}}))
		e.check()
		root = c.NextRoot(func(r *roles.RootSpec) { // … and N+2 drops the old
			r.Targets.Keys = r.Targets.Keys[len(oldTargets.Keys):]
		})
		require.ErrorIs(t, e.install(repository.Documents{Roots: [][]byte{root}}), repository.ErrLocksOut, "a cache may serve the generation before")
		time.Sleep(2 * time.Hour)
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
		e.check()
	})
}

// The online key of snapshot and timestamp is replaced with an overlap.
func TestInstallWithNewOnlineKey(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		c := e.ceremony
		next := c.NewP256()
		drop := func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, next), repotest.Of(1, next) }

		both := c.NextRoot(func(r *roles.RootSpec) {
			r.Snapshot, r.Timestamp = repotest.Of(1, c.Online, next), repotest.Of(1, c.Online, next)
		})
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{both}}))
		e.publish(file("a", "1"))
		e.close()
		e.cfg.Snapshot, e.cfg.Timestamp = next, next
		e.open()
		last := c.NextRoot(drop)
		require.ErrorIs(t, e.install(repository.Documents{Roots: [][]byte{last}}), repository.ErrLocksOut,
			"the published timestamp is the old key's still")
		e.publish(file("b", "1"))
		time.Sleep(2 * time.Hour)
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{last}}))
		e.publish(file("c", "1"))
		e.check()
	})
}

// A cache serves a timestamp for ten minutes, and a client may take five with it. The root that
// drops the key of that timestamp waits for both, whoever is the publisher meanwhile.
func TestInstallWaitsForCaches(t *testing.T) {
	for name, alter := range map[string]func(r *roles.RootSpec, a roles.Authority){
		"timestamp": func(r *roles.RootSpec, a roles.Authority) { r.Timestamp = a },
		"snapshot":  func(r *roles.RootSpec, a roles.Authority) { r.Snapshot = a },
		"both":      func(r *roles.RootSpec, a roles.Authority) { r.Snapshot, r.Timestamp = a, a },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				e.cfg.CacheAge, e.cfg.ClientRun = 10*time.Minute, 5*time.Minute
				e.create()
				e.publish(files("x", 10)...)
				c := e.ceremony
				next := c.NewP256()
				both := c.NextRoot(func(r *roles.RootSpec) { alter(r, repotest.Of(1, c.Online, next)) })
				require.NoError(t, e.install(repository.Documents{Roots: [][]byte{both}}))
				last := repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { alter(r, repotest.Of(1, next)) })}}
				refused := func(contains string) {
					t.Helper()
					before := e.store.Names()
					err := e.install(last)
					require.ErrorIs(t, err, repository.ErrLocksOut)
					require.ErrorContains(t, err, contains)
					require.Equal(t, before, e.store.Names())
				}
				e.close()
				if name != "snapshot" {
					e.cfg.Timestamp = next
				}
				if name != "timestamp" {
					e.cfg.Snapshot = next
				}
				e.open()
				refused("clients behind caches fail for 15m0s then")
				e.publish(file("a", "1"))
				superseded := time.Now().UTC().Truncate(time.Second)
				refused("may be served by a cache until " + superseded.Add(15*time.Minute).Format(time.RFC3339))
				time.Sleep(10 * time.Minute)
				e.publish(file("b", "1")) // one more generation by the new key starts no new grace
				e.close()
				e.open()
				refused("clients behind caches fail for 5m0s then")
				time.Sleep(5*time.Minute - time.Second)
				refused("clients behind caches fail for 1s then")
				time.Sleep(time.Second)
				require.NoError(t, e.install(last))
				e.publish(file("c", "1"))
				e.check()
				e.close()
			})
		})
	}
}

// RestoreJournal doesn't know which of the online keys signed what a cache serves.
func TestInstallWaitsForCachesAfterRestoreJournal(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		c := e.ceremony
		next := c.NewP256()
		both := c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, c.Online, next) })
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{both}}))
		e.close()
		e.cfg.Timestamp = next
		e.open()
		e.publish(file("a", "1"))
		e.close()
		e.journal = storetest.NewJournal()
		var err error
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: c.Documents().Roots[0]})
		require.NoError(t, err)
		last := repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) { r.Timestamp = repotest.Of(1, next) })}}
		require.ErrorIs(t, e.install(last), repository.ErrLocksOut)
		time.Sleep(2 * time.Hour)
		require.NoError(t, e.install(last))
		e.publish(file("b", "1"))
		e.check()
	})
}

// A new key for the bins: all bins are signed again in the generation that makes
// the new document known.
func TestInstallWithNewBinKey(t *testing.T) {
	inBubble(t, 8, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		c := e.ceremony
		next := c.NewEd25519()
		bins := c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, next) })
		require.ErrorIs(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": bins}}), repository.ErrWrongKey)
		e.close()
		e.cfg.Bins = next
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrWrongKey)
		require.NoError(t, e.journal.Close())
		e.cfg.UncheckedKeys = true
		e.open()
		require.ErrorIs(t, e.repo.Run(t.Context()), repository.ErrWrongKey)
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": bins}}))
		for i := range 8 {
			_, err := e.store.Get(t.Context(), fmt.Sprintf("3.bins-%d.json", i))
			require.NoError(t, err)
		}
		e.publish(file("a", "1"))
		e.check()
	})
}

func TestInstallAfterCompromise(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		c := e.ceremony
		e.close()
		online, bins := c.NewP256(), c.NewEd25519()
		e.cfg.Snapshot, e.cfg.Timestamp, e.cfg.Bins, e.cfg.UncheckedKeys = online, online, bins, true
		var log bytes.Buffer
		e.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		e.open()
		root := c.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, online), repotest.Of(1, online) })
		d := repository.Documents{Roots: [][]byte{root}, Roles: map[string][]byte{"bins": c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, bins) })}}
		require.ErrorIs(t, e.install(d), repository.ErrLocksOut)

		e.inject.Plan(nil)
		require.NoError(t, e.repo.InstallAfterCompromise(t.Context(), d))
		require.Contains(t, log.String(), `level=WARN msg="clients behind caches that serve an older timestamp fail until then" until=`+time.Now().Add(2*time.Hour).UTC().Format("2006-01-02T15:04:05"))
		calls := slices.DeleteFunc(e.inject.Calls(), func(c faulty.Call) bool { return c.Name == "checkpoint" })
		n := len(calls)
		require.Equal(t, []string{"store.Create 2.root.json", "store.Swap timestamp.json", "leader.Append commit"}, []string{
			calls[n-3].Op + " " + calls[n-3].Name, calls[n-2].Op + " " + calls[n-2].Name, calls[n-1].Op + " " + calls[n-1].Name,
		}, "back to back")
		e.publish(file("a", "1"))
		e.check()
	})
}

func TestInstallRefuses(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		c := e.ceremony
		e.publish(files("x", 3)...)
		stranger := repotest.NewCeremony(t, mustBins(t, 4), time.Now())
		stranger.NextRoot(nil)
		wide := repotest.NewCeremony(t, mustBins(t, 8), time.Now())
		root2, root3 := c.NextRoot(nil), c.NextRoot(nil)
		old := e.ceremony.Documents().Roles["targets"]
		// A key of a kind to come: go-tuf refuses the role that uses it, and python-tuf
		// any root that lists it.
		future := c.SignRoot(bytes.Replace(root2, []byte(`"keys":{`),
			[]byte(`"keys":{"future":{"keytype":"pq","keyval":{"public":"x"},"scheme":"pq"},`), 1))
		_, err := roles.Parse[metadata.RootType](future)
		require.NoError(t, err)
		unused := future
		future = c.SignRoot(bytes.Replace(future, []byte(`"timestamp":{"keyids":[`), []byte(`"timestamp":{"keyids":["future",`), 1))
		altered := func(root []byte, old, new string) []byte {
			require.Contains(t, string(root), old)
			return c.SignRoot(bytes.Replace(root, []byte(old), []byte(new), 1))
		}
		expiry := regexp.MustCompile(`"expires":"[^"]*"`).FindString(string(root2))
		for name, d := range map[string]repository.Documents{
			"go-tuf refuses":        {Roots: [][]byte{future}},
			"python-tuf refuses":    {Roots: [][]byte{unused}},
			"no consistent names":   {Roots: [][]byte{altered(root2, `"consistent_snapshot":true`, `"consistent_snapshot":false`)}},
			"a fifth role":          {Roots: [][]byte{altered(root2, `"roles":{`, `"roles":{"mirrors":{"keyids":[],"threshold":1},`)}},
			"parts of a second":     {Roots: [][]byte{altered(root2, expiry, expiry[:len(expiry)-2]+`.0Z"`)}},
			"too large a root":      {Roots: [][]byte{large(root2, roles.MaxRoot+1)}},
			"no JSON":               {Roles: map[string][]byte{"targets": []byte("{")}},
			"a root for a targets":  {Roles: map[string][]byte{"targets": root2}},
			"version skipped":       {Roots: [][]byte{root3}},
			"foreign root":          {Roots: stranger.Documents().Roots[1:]},
			"foreign targets":       {Roles: map[string][]byte{"targets": stranger.NextTargets(nil)}},
			"foreign bins":          {Roles: map[string][]byte{"bins": wide.NextBins(nil)}},
			"same version, altered": {Roles: map[string][]byte{"targets": append([]byte(" "), old...)}},
		} {
			before := e.store.Names()
			require.Error(t, e.install(d), name)
			require.Equal(t, before, e.store.Names(), name)
		}
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root2, root3}}))
		require.ErrorContains(t, e.install(repository.Documents{Roots: [][]byte{stranger.Documents().Roots[1]}}), "version 2 is older than version 3")

		// Expired by the time it is installed.
		late := c.NextTargets(nil)
		time.Sleep(366 * 24 * time.Hour)
		require.ErrorContains(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": late}}), "expired")
		// What expired meanwhile is no reason to refuse its successors one by one.
		c.Now = time.Now()
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{c.NextRoot(nil)}}))
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": c.NextTargets(nil)}}))
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": c.NextBins(nil)}}))
		e.check()
	})
}

// large fills a document up to this size with white space, which nobody signs.
func large(document []byte, size int) []byte {
	return append(document[:len(document):len(document)], bytes.Repeat([]byte(" "), size-len(document))...)
}

// A document of people is refused if some client would refuse its size, and published if not.
func TestLargeDocuments(t *testing.T) {
	const most = roles.MaxTargetsWithLength
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		docs := e.ceremony.Documents()
		for role, file := range maps.Clone(docs.Roles) {
			docs.Roles[role] = large(file, most+1)
			_, err := repository.Create(t.Context(), e.config(), docs)
			require.EqualError(t, err, "create repository: 1."+role+": it has 10000001 bytes, and clients accept 10000000")
			require.Empty(t, e.store.Names())
			docs.Roles[role] = file
		}
		e.create()
		for role, file := range map[string][]byte{"targets": e.ceremony.NextTargets(nil), "bins": e.ceremony.NextBins(nil)} {
			before := e.store.Names()
			err := e.install(repository.Documents{Roles: map[string][]byte{role: large(file, most+1)}})
			require.EqualError(t, err, "install: 2."+role+": it has 10000001 bytes, and clients accept 10000000")
			require.Equal(t, before, e.store.Names())
			require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{role: large(file, most)}}))
			e.checkNewest()
		}
		e.close()
	})
	// The index makes a file of its own of what an online role's document says.
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		shape := repotest.Shapes()[0]
		e.cfg.Signers = shape.Signers(e.ceremony)
		docs := repository.Documents{Roles: shape.Documents(e.ceremony, 1)}
		docs.Roots = e.ceremony.Documents().Roots
		docs.Roles["targets"] = large(docs.Roles["targets"], most)
		_, err := repository.Create(t.Context(), e.config(), docs)
		require.EqualError(t, err, "create repository: 1.targets: it has 10000000 bytes, and clients accept 9995904")
	})
}

// Every call of an Install fails once, or the process dies there: after Open the
// documents are published, or were never accepted.
func TestInstallFaults(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(3)
	for _, fault := range []faulty.Fault{faulty.Before, faulty.After} {
		for n := 1 + first; ; n += step {
			hit := false
			t.Run(fmt.Sprintf("fault %d call %d", fault, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					e := newEnv(t, 2, delegation.Succinct)
					e.create()
					e.publish(files("x", 3)...)
					c := e.ceremony
					c.NextRoot(nil)
					c.NextTargets(nil)
					c.NextBins(nil)
					e.inject.Plan(func(call faulty.Call) faulty.Fault {
						switch {
						case call.N < n:
							return faulty.None
						case call.N == n:
							hit = true
							return fault
						default:
							return faulty.Before
						}
					})
					err := e.install(c.Documents())
					e.repo.Close()
					e.inject.Plan(nil)
					if hit {
						require.ErrorIs(t, err, faulty.ErrInjected)
					}
					e.open()
					e.run(func() {
						synctest.Wait()
						e.wait(e.add(file("a", "1")), repository.Published)
					})
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.Equal(t, s.Roles["root"].Version, s.Roles["targets"].Version)
					require.Equal(t, s.Roles["root"].Version, s.Roles["bins"].Version)
					e.check()
					require.NoError(t, e.install(c.Documents()))
					s, err = e.repo.Status(t.Context())
					require.NoError(t, err)
					require.EqualValues(t, 2, s.Roles["bins"].Version)
					e.check()
					e.close()
				})
			})
			if !hit {
				require.Greater(t, n, 8)
				break
			}
		}
	}
}

func mustBins(t *testing.T, n int) delegation.Bins {
	t.Helper()
	b, err := delegation.New("bins", n, delegation.Succinct)
	require.NoError(t, err)
	return b
}

// A document of a role to which nobody delegates is refused by its name, as is one of a bin
// or of another role that has no document of its own.
func TestDocumentsOfUnknownRoles(t *testing.T) {
	for _, s := range append(repotest.Shapes(), repotest.PEP458(delegation.Succinct), repotest.PEP458(delegation.Explicit)) {
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				if s.Signers != nil {
					e.cfg.Signers = s.Signers(e.ceremony)
				}
				docs := repository.Documents{Roles: s.Documents(e.ceremony, 1)}
				docs.Roots = e.ceremony.Documents().Roots
				people := e.ceremony.NewEd25519()
				doc, err := delegation.NewRole("any", 7, e.ceremony.Now.UTC().AddDate(1, 0, 0), nil)
				require.NoError(t, err)
				unknown := map[string][]byte{}
				for _, name := range []string{"nobody", "bins-9", "bins-2", "snapshot", "timestamp"} {
					unknown[name] = e.ceremony.SignRole(name, doc, repotest.Of(1, people, e.ceremony.Bins))
				}
				for name, data := range unknown {
					docs.Roles[name] = data
					_, err := repository.Create(t.Context(), e.config(), docs)
					require.ErrorContains(t, err, name, "create")
					require.Empty(t, e.store.Names())
					require.NoError(t, e.journal.Close())
					delete(docs.Roles, name)
				}
				e.repo, err = repository.Create(t.Context(), e.config(), docs)
				require.NoError(t, err)
				e.inject.Plan(nil)
				for name, data := range unknown {
					err := e.install(repository.Documents{Roles: map[string][]byte{name: data}})
					require.ErrorContains(t, err, name, "install")
					require.Empty(t, e.inject.Calls())
				}
				e.close()
			})
		})
	}
}

// A role that nobody delegated to for a while comes back with the document that it had: it
// has no other, and its version is published.
func TestRoleComesBack(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		c := e.ceremony
		claimed := delegation.Delegation{Name: "claimed", Keys: repotest.Of(1, c.NewEd25519()), Paths: []string{"claimed/*"}}
		auth := repotest.Of(1, c.NewEd25519())
		bins := delegation.Delegation{Name: "bins", Keys: auth, HashPrefixes: []string{""}, Terminating: true}
		document := func(role string, version int64, who roles.Authority, to ...delegation.Delegation) []byte {
			doc, err := delegation.NewRole(role, version, time.Now().AddDate(1, 0, 0), to)
			require.NoError(t, err)
			if role == metadata.TARGETS {
				return c.SignTargets(doc)
			}
			return c.SignRole(role, doc, who)
		}
		layout, err := mustBins(t, 4).NewRole(2, time.Now().AddDate(1, 0, 0), repotest.Of(1, c.Bins))
		require.NoError(t, err)
		own := document("claimed", 1, claimed.Keys)
		install := func(docs map[string][]byte) error { return e.install(repository.Documents{Roles: docs}) }

		require.NoError(t, install(map[string][]byte{
			"targets": document("targets", 2, roles.Authority{}, claimed, bins), "bins": c.SignRole("bins", layout, auth), "claimed": own,
		}))
		require.NoError(t, install(map[string][]byte{"targets": document("targets", 3, roles.Authority{}, bins)}))
		back := document("targets", 4, roles.Authority{}, claimed, bins)
		require.ErrorContains(t, install(map[string][]byte{"targets": back}), "neither a document")
		require.NoError(t, install(map[string][]byte{"targets": back, "claimed": own}))
		e.close()
		e.open()
		e.publish(file("x", "1"))
		e.checkNewest()
	})
}
