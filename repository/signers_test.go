package repository_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// signedBy is the ID of the key that signed the newest file of a role.
func (e *env) signedBy(role string) string {
	e.t.Helper()
	var data []byte
	if role == metadata.TIMESTAMP {
		var err error
		data, err = e.store.Get(e.t.Context(), "timestamp.json")
		require.NoError(e.t, err)
	} else {
		_, data = e.newest(role)
	}
	var file struct {
		Signatures []struct {
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	require.NoError(e.t, json.Unmarshal(data, &file))
	require.Len(e.t, file.Signatures, 1)
	return file.Signatures[0].KeyID
}

// requireSigned requires that the newest files of these roles have this key's signature.
func (e *env) requireSigned(key keys.Signer, names ...string) {
	e.t.Helper()
	for _, role := range names {
		require.Equal(e.t, key.Public().ID(), e.signedBy(role), role)
	}
}

// manyKeys is a repository each of whose online roles has a key of its own, by the name
// that Config.Signers has for it.
func manyKeys(e *env) map[string]keys.Signer {
	c, own := e.ceremony, map[string]keys.Signer{}
	for _, name := range []string{"snapshot", "timestamp", "bins-*", "page-*", "recent"} {
		own[name] = c.NewEd25519()
	}
	c.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, own["snapshot"]), repotest.Of(1, own["timestamp"])
	})
	people, expires := repotest.Of(2, c.NewEd25519(), c.NewEd25519()), c.Now.UTC().AddDate(1, 0, 0)
	targets, err := delegation.NewRole("targets", 2, expires, []delegation.Delegation{
		{Name: "recent", Keys: repotest.Of(1, own["recent"]), Paths: []string{"recent/*"}, Terminating: true},
		{Name: "pages", Keys: people, Paths: []string{"simple/*"}, Terminating: true},
		{Name: "bins", Keys: people, HashPrefixes: []string{""}, Terminating: true},
	})
	require.NoError(e.t, err)
	c.SignTargets(targets)
	for role, prefix := range map[string]string{"pages": "page", "bins": "bins"} {
		set, err := delegation.New(prefix, 2, delegation.Succinct)
		require.NoError(e.t, err)
		doc, err := set.NewRole(2, expires, repotest.Of(1, own[prefix+"-*"]))
		require.NoError(e.t, err)
		c.SignRole(role, doc, people)
	}
	e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = nil, nil, nil
	return own
}

// Each role and each set of bins may have a key of its own.
func TestSignersByRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		own := manyKeys(e)
		wrong := []keys.Signer{e.ceremony.NewEd25519(), e.ceremony.NewP256()}
		for name, document := range map[string]string{
			"snapshot": "2.root.json", "timestamp": "2.root.json", "recent": "2.targets.json", "bins-*": "2.bins.json", "page-*": "2.pages.json",
		} {
			e.cfg.Signers = map[string][]keys.Signer{}
			for name, key := range own {
				e.cfg.Signers[name] = []keys.Signer{key}
			}
			e.cfg.Signers[name] = wrong
			_, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
			require.ErrorIs(t, err, repository.ErrWrongKey)
			require.EqualError(t, err, fmt.Sprintf("create repository: %s: the configured key may not sign it: it is key %s, %s, and %s names key %s",
				name, wrong[0].Public().ID(), wrong[1].Public().ID(), document, own[name].Public().ID()))
			require.NoError(t, e.journal.Close())
			e.cfg.Signers[name] = []keys.Signer{wrong[0], own[name]}
			if name == "recent" {
				continue // by its name alone it is known to be signed online
			}
			delete(e.cfg.Signers, name)
			_, err = repository.Create(t.Context(), e.config(), e.ceremony.Documents())
			require.Error(t, err)
			require.NoError(t, e.journal.Close())
		}
		require.Empty(t, e.store.Names())
		e.cfg.Signers = map[string][]keys.Signer{}
		for name, key := range own {
			e.cfg.Signers[name] = []keys.Signer{wrong[1], key}
		}
		e.create()
		e.publish(append(files("x", 8), file("recent/x", "1"), file("simple/x", "1"), file("simple/y", "1"), file("simple/z", "1"))...)
		e.requireSigned(own["timestamp"], "timestamp")
		e.requireSigned(own["snapshot"], "snapshot")
		e.requireSigned(own["recent"], "recent")
		e.requireSigned(own["page-*"], "page-0", "page-1")
		e.requireSigned(own["bins-*"], "bins-0", "bins-1")
		e.check()
		e.close()
	})
}

// In a rotation old and new keys are configured together: the documents decide which one
// signs, so that nobody has to be quick.
func TestSignersForARotation(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		oldBins, newBins := e.ceremony.Bins, e.ceremony.NewEd25519()
		oldOnline, newOnline := e.ceremony.Online, e.ceremony.NewP256()
		e.close()
		e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = nil, nil, nil
		e.cfg.Signers = map[string][]keys.Signer{
			"bins-*":   {newBins, oldBins},
			"snapshot": {newOnline, oldOnline}, "timestamp": {newOnline, oldOnline},
		}
		e.open()
		e.publish(file("a", "1"))
		e.requireSigned(oldBins, "bins-0", "bins-1")
		e.requireSigned(oldOnline, "snapshot", "timestamp")

		// Both are named: the first one signs, what it has to.
		both := repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(func(r *roles.RootSpec) {
			r.Snapshot, r.Timestamp = repotest.Of(1, oldOnline, newOnline), repotest.Of(1, oldOnline, newOnline)
		})}}
		both.Roles = map[string][]byte{"bins": e.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, oldBins, newBins) })}
		require.NoError(t, e.install(both))
		e.requireSigned(newOnline, "snapshot", "timestamp")
		e.requireSigned(oldBins, "bins-0", "bins-1")
		e.publish(files("x", 8)...)
		e.requireSigned(newBins, "bins-0", "bins-1")
		e.check()

		// The old ones are dropped, once no cache serves what they signed.
		e.run(func() { time.Sleep(3 * time.Hour) })
		last := repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(func(r *roles.RootSpec) {
			r.Snapshot, r.Timestamp = repotest.Of(1, newOnline), repotest.Of(1, newOnline)
		})}}
		last.Roles = map[string][]byte{"bins": e.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, newBins) })}
		require.NoError(t, e.install(last))
		e.publish(file("a", "2"))
		e.check()

		// A document that names neither is refused, and nothing changes.
		e.inject.Plan(nil)
		stranger := e.ceremony.NewEd25519()
		docs := e.ceremony.Documents()
		err := e.install(repository.Documents{Roles: map[string][]byte{
			"bins": e.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, stranger) }),
		}})
		require.ErrorIs(t, err, repository.ErrWrongKey)
		require.EqualError(t, err, fmt.Sprintf("install: bins-*: the configured key may not sign it: it is key %s, %s, and %d.bins.json names key %s",
			newBins.Public().ID(), oldBins.Public().ID(), 4, stranger.Public().ID()))
		require.Empty(t, e.inject.Calls())
		require.NoError(t, e.install(docs))
		e.check()
	})
}

// A role that people signed goes on with what they wrote in it, and above their version, once
// a signer is configured for it.
func TestRoleOfPeopleGoesOnline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		c, recent := e.ceremony, e.ceremony.NewEd25519()
		c.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, c.Online) })
		expires := c.Now.UTC().AddDate(1, 0, 0)
		people := repotest.Of(1, c.NewEd25519())
		targets, err := delegation.NewRole("targets", 20, expires, []delegation.Delegation{
			{Name: "recent", Keys: repotest.Of(1, recent), Paths: []string{"recent/*"}, Terminating: true},
			{Name: "bins", Keys: people, HashPrefixes: []string{""}, Terminating: true},
		})
		require.NoError(t, err)
		c.SignTargets(targets)
		set, err := delegation.New("bins", 2, delegation.Succinct)
		require.NoError(t, err)
		bins, err := set.NewRole(2, expires, repotest.Of(1, c.Bins))
		require.NoError(t, err)
		c.SignRole("bins", bins, people)
		listed := file("recent/listed", "by people")
		bin, err := roles.NewBin().Edit(50, expires, []roles.TargetEdit{{Path: listed.Path, Target: &listed}})
		require.NoError(t, err)
		signed, err := bin.Sign(t.Context(), recent)
		require.NoError(t, err)
		docs := c.Documents()
		docs.Roles["recent"] = signed
		e.want[listed.Path] = listed
		e.repo, err = repository.Create(t.Context(), e.config(), docs)
		require.NoError(t, err)
		e.publish(files("x", 3)...)
		e.check()
		e.close()

		e.cfg.Signers = map[string][]keys.Signer{"recent": {recent}, "targets": {c.Online}}
		e.open()
		e.publish(file("recent/x", "1"))
		e.check()
		e.publish(file("recent/y", "1"), file("z", "1"))
		e.check()
		status, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 52, status.Generation)
		e.close()

		// The journal is enough to make all of it again.
		lost := e.store.Clone()
		for _, name := range lost.Names() {
			if name != "timestamp.json" {
				require.NoError(t, lost.Delete(t.Context(), name))
			}
		}
		e.store, e.cfg.Store = lost, lost
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.checkNewest()
		e.close()
	})
}
