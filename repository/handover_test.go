package repository_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// The index signs targets, then people do, and then the index again: versions rise, and
// clients of every generation follow. Each seal names the file that the role had before.
func TestRoleChangesHands(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		c := e.ceremony
		people := c.NewEd25519()
		c.NextRoot(func(root *roles.RootSpec) { root.Targets = repotest.Of(1, c.Online, people) })
		layout := mustBins(t, 4)
		document := func(version int64, signers ...keys.Signer) []byte {
			doc, err := layout.NewRole(version, time.Now().AddDate(1, 0, 0), repotest.Of(1, c.Bins))
			require.NoError(t, err)
			return c.SignRole("targets", doc, repotest.Of(1, signers...))
		}
		e.cfg.Signers = map[string][]keys.Signer{"targets": {c.Online}}
		docs := repository.Documents{Roots: c.Documents().Roots, Roles: map[string][]byte{"targets": document(1, c.Online)}}
		var err error
		e.repo, err = repository.Create(t.Context(), e.config(), docs)
		require.NoError(t, err)
		a := auditor{env: e, seals: map[int64]*ledger.Seal{}}
		e.publish(files("x", 5)...)
		e.run(func() { time.Sleep(5 * 24 * time.Hour) }) // targets is signed again meanwhile
		status, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		signedOnline := status.Roles["targets"].Version
		require.Greater(t, signedOnline, int64(2))
		e.check()
		a.compare()
		e.close()

		// People take over: with a higher version than any that clients have seen.
		e.cfg.Signers = nil
		e.open()
		err = e.install(repository.Documents{Roles: map[string][]byte{"targets": document(2, people)}})
		require.ErrorContains(t, err, "a document that people sign must have a higher one")
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": document(signedOnline+1000, people)}}))
		e.check()
		a.compare()
		e.publish(file("packages/x/x-0.tar.gz", "2"))
		e.run(func() { time.Sleep(5 * 24 * time.Hour) })
		e.check()
		a.compare()
		e.close()

		// The index takes it back: the next generation has a higher number than the document.
		e.cfg.Signers = map[string][]keys.Signer{"targets": {c.Online}}
		e.open()
		e.publish(file("packages/x/x-0.tar.gz", "3"))
		status, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, signedOnline+1001, status.Generation)
		require.Equal(t, status.Generation, status.Roles["targets"].Version)
		e.check()
		a.compare()
		e.close()
	})
}

// The index has no signer any more for a role whose document it signed. The role keeps its
// file until people sign a newer document, whatever the version of the old one, which is no file.
func TestSignerGoesAway(t *testing.T) {
	for name, published := range map[string]bool{"published": true, "accepted": false} {
		t.Run(name, func(t *testing.T) {
			inFronted(t, func(t *testing.T, e *fronted) {
				role := e.role("recent", "recent/*")
				role.Keys = repotest.Of(1, e.ceremony.Bins, e.ceremony.NewEd25519())
				e.people.Keys = append(e.people.Keys, role.Keys.Keys[1])
				a := file("recent/a", "1")
				require.NoError(t, e.install(e.front(role)))
				e.publish(a)
				if !published {
					e.inject.Plan(func(c faulty.Call) faulty.Fault {
						if c.Op == "store.Swap" || c.Op == "store.Create" {
							return faulty.Before
						}
						return faulty.None
					})
				}
				document := func(version int64) repository.Documents {
					return repository.Documents{Roles: map[string][]byte{"recent": e.listing("recent", version, a)}}
				}
				require.Equal(t, published, e.install(document(1000)) == nil)
				e.inject.Plan(nil)
				frozen, _ := e.newest("recent")
				e.close()
				e.cfg.Signers = nil
				e.open()
				e.publish(files("y", 3)...)
				now, _ := e.newest("recent")
				require.Equal(t, frozen, now)
				e.altered = "no audit: the role is not renewed"
				e.check()
				e.altered = ""
				require.NoError(t, e.install(document(1001)))
				require.Contains(t, e.newestSeal().Superseded, frozen)
				e.check()
			})
		})
	}
}

// A document for the index to sign was accepted, and before that happened the role is people's.
func TestSignerNeverThere(t *testing.T) {
	inFronted(t, func(t *testing.T, e *fronted) {
		role := e.role("recent", "recent/*")
		role.Keys = repotest.Of(1, e.ceremony.Bins, e.ceremony.NewEd25519())
		e.people.Keys = append(e.people.Keys, role.Keys.Keys[1])
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.Contains(c.Name, "snapshot") {
				return faulty.Before
			}
			return faulty.None
		})
		next := e.front(role)
		next.Roles["recent"] = e.listing("recent", 1, file("recent/a", "1"))
		require.ErrorContains(t, e.install(next), "accepted, and not yet published")
		e.inject.Plan(nil)
		e.close()
		e.cfg.Signers = nil
		e.open()
		e.publish(files("y", 3)...)
		e.note(repository.Item{Add: []roles.Target{file("recent/a", "1")}})
		e.check()
	})
}
