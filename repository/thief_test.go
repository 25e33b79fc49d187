package repository_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/stretchr/testify/require"
)

// These tests are the cells of the table in SECURITY.md that no other test shows.

// stolen is what a thief has: a copy of the store that clients are shown, and some keys.
type stolen struct {
	*env
	shown *storetest.MemStore
}

// inTheft is a repository of two generations. The client in the folder seen has seen the newest one.
func inTheft(t *testing.T, f func(t *testing.T, s *stolen, seen string)) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		e.publish(file("later", "1"))
		s, seen := &stolen{e, e.store.Clone()}, t.TempDir()
		_, err := s.visit(seen)
		require.NoError(t, err)
		f(t, s, seen)
		e.check()
	})
}

// visit is a client that is shown what the thief shows.
func (s *stolen) visit(dir string) (map[string]roles.Target, error) {
	s.t.Helper()
	return repotest.Visit(s.t, s.shown, dir, time.Now(), "packages/x/x-1.tar.gz", evil)
}

// show gives a name a content.
func (s *stolen) show(name string, data []byte) {
	s.t.Helper()
	if _, err := s.shown.Get(s.t.Context(), name); err == nil {
		require.NoError(s.t, s.shown.Delete(s.t.Context(), name))
	}
	require.NoError(s.t, s.shown.Create(s.t.Context(), name, data))
}

func (s *stolen) get(name string) []byte {
	s.t.Helper()
	data, err := s.shown.Get(s.t.Context(), name)
	require.NoError(s.t, err)
	return data
}

// signedBy is the file of d, with the signatures of these keys alone.
func signedBy(t *testing.T, d roles.Signed, signers ...keys.Signer) []byte {
	t.Helper()
	var list [][]byte
	for _, signer := range signers {
		sig, err := roles.Sign(context.Background(), signer, d.Canonical())
		require.NoError(t, err)
		list = append(list, fmt.Appendf(nil, `{"keyid":%q,"sig":%q}`, sig.KeyID, hex.EncodeToString(sig.Sig)))
	}
	return fmt.Appendf(nil, `{"signatures":[%s],"signed":%s}`, bytes.Join(list, []byte(",")), d.Canonical())
}

// Who can write the store, a mirror or what a CDN serves can keep clients from updating, and hold them on
// what was published last until it expires. Clients accept no altered file, and nothing that is older
// than what they saw.
func TestThiefOfWhatIsServed(t *testing.T) {
	inTheft(t, func(t *testing.T, s *stolen, seen string) {
		role := s.roleOf("packages/x/x-1.tar.gz")
		bin, original := s.newest(role)
		snapshot, _ := s.newest("snapshot")
		for _, name := range []string{bin, snapshot, "1.targets.json", "1.bins.json", "timestamp.json"} {
			good := s.get(name)
			s.show(name, bytes.Replace(good, []byte(`"version":`), []byte(`"version":1`), 1))
			_, err := s.visit(t.TempDir())
			require.Error(t, err, name)
			s.show(name, good)
		}
		s.show(bin, bytes.Replace(original, []byte("x/x-1.tar.gz"), []byte("evil/evil-1.whl"), 1))
		_, err := s.visit(t.TempDir())
		require.Error(t, err, "a file that was put into a bin")
		s.show(bin, original)

		// An older generation: refused by who saw a newer one, and shown to who didn't.
		newest := s.get("timestamp.json")
		s.show("timestamp.json", s.store.History("timestamp.json")[1])
		_, err = s.visit(seen)
		require.ErrorContains(t, err, "version")
		_, err = s.visit(t.TempDir())
		require.NoError(t, err)
		s.show("timestamp.json", newest)

		// Held on what is there, until the timestamp expires.
		time.Sleep(23 * time.Hour)
		_, err = s.visit(seen)
		require.NoError(t, err)
		time.Sleep(2 * time.Hour)
		_, err = s.visit(seen)
		require.ErrorContains(t, err, "expired")
		s.publish(file("on", "1"))
	})
}

// Who can write the journal, or submit to the queue, can publish what he wants, in every role that is
// signed online. That is what Config.Approve is for: see TestApprove.
func TestThiefOfTheJournal(t *testing.T) {
	inTheft(t, func(t *testing.T, s *stolen, seen string) {
		e, err := ledger.Item{ID: "thief", By: "ada", Accepted: time.Now().UTC(), Add: []roles.Target{file(evil, "evil")}}.Entry()
		require.NoError(t, err)
		thief := s.journal.Handle()
		_, err = thief.Enqueue(t.Context(), e)
		require.NoError(t, err)
		s.run(func() { require.NoError(t, s.repo.Drain(t.Context())) })
		s.note(repository.Item{Add: []roles.Target{file(evil, "evil")}})
		s.shown = s.store
		found, err := s.visit(seen)
		require.NoError(t, err)
		require.Contains(t, found, evil)

		// The way back: what the journal says was asked for, and by whom, is removed.
		s.run(func() { s.wait(s.remove(evil), repository.Published) })
		found, err = s.visit(seen)
		require.NoError(t, err)
		require.NotContains(t, found, evil)
	})
}

// forgedBin is a bin, signed by signer, that lists a file of the thief's under the version that the
// snapshot has for it.
func (s *stolen) forgedBin(signer keys.Signer) (name string, data []byte) {
	s.t.Helper()
	name, data = s.newest(evilBin(s.t))
	bin, err := roles.ParseBin(data)
	require.NoError(s.t, err)
	forged := file(evil, "evil")
	bin, err = bin.Edit(bin.Version(), bin.Expires(), []roles.TargetEdit{{Path: evil, Target: &forged}})
	require.NoError(s.t, err)
	return name, signedBy(s.t, bin, signer)
}

func twoBins(t *testing.T) delegation.Bins {
	t.Helper()
	l, err := delegation.New(delegation.BinsRole, 2, delegation.Succinct)
	require.NoError(t, err)
	return l
}

// evilBin is the bin of the thief's file.
func evilBin(t *testing.T) string { return twoBins(t).Name(twoBins(t).Find(evil)) }

// The key of the bins is enough, together with the store or a mirror, because the snapshot has the bins'
// versions and no hashes. Without a place that clients read, it is worth nothing.
func TestThiefOfTheBinsKey(t *testing.T) {
	inTheft(t, func(t *testing.T, s *stolen, seen string) {
		name, forged := s.forgedBin(s.ceremony.Bins)
		s.show(name, forged)
		found, err := s.visit(t.TempDir())
		require.NoError(t, err)
		require.Contains(t, found, evil)

		// The publisher builds nothing on it: see TestStoreThatWasAltered.

		// With the key of snapshot and timestamp instead, no bin can be forged.
		_, forged = s.forgedBin(s.ceremony.Online)
		s.show(name, forged)
		_, err = s.visit(t.TempDir())
		require.Error(t, err)

		// The way back: documents that name another key. Nothing of the old one is accepted then.
		_, forged = s.forgedBin(s.ceremony.Bins)
		next := s.ceremony.NewEd25519()
		s.close()
		s.cfg.Bins = next
		s.cfg.UncheckedKeys = true
		s.open()
		require.NoError(t, s.repo.InstallAfterCompromise(t.Context(), repository.Documents{
			Roles: map[string][]byte{"bins": s.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, next) })}}))
		s.shown = s.store.Clone()
		found, err = s.visit(seen)
		require.NoError(t, err)
		require.NotContains(t, found, evil)
		name, _ = s.newest(evilBin(t))
		s.show(name, forged)
		_, err = s.visit(t.TempDir())
		require.Error(t, err)
	})
}

// The key of timestamp and snapshot can hold clients on what is published now, for as long as it pleases
// the thief, and raise versions so that clients refuse the true ones.
func TestThiefOfTheTimestampKey(t *testing.T) {
	inTheft(t, func(t *testing.T, s *stolen, seen string) {
		number, snapshot := s.newest("snapshot")
		version, _, _ := ledger.ParseName(number)
		parsed, err := roles.ParseSnapshot(snapshot)
		require.NoError(t, err)
		forever := time.Now().UTC().Truncate(time.Second).AddDate(20, 0, 0)
		parsed, err = parsed.Edit(version, forever, nil)
		require.NoError(t, err)
		snapshot = signedBy(t, parsed, s.ceremony.Online)
		timestamp, err := roles.NewTimestamp(1000, forever, version, snapshot)
		require.NoError(t, err)
		s.show(number, snapshot)
		s.show("timestamp.json", signedBy(t, timestamp, s.ceremony.Online))
		time.Sleep(72 * time.Hour)
		held := t.TempDir()
		_, err = s.visit(held)
		require.NoError(t, err, "what the repository published expired long ago")

		// The way back is a root that replaces the keys of both: see TestFastForwardNeedsNewKeys.
		s.publish(file("on", "1"))
		s.shown = s.store
		_, err = s.visit(held)
		require.ErrorContains(t, err, "version")
	})
}

// One holder of two can change nothing, even if root is all that clients and the publisher have to go by.
// All holders can change everything, and clients follow them.
func TestThiefOfHolders(t *testing.T) {
	inTheft(t, func(t *testing.T, s *stolen, seen string) {
		thief := s.ceremony.NewEd25519()
		root := s.ceremony.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, thief) })
		var whole struct {
			Signatures []json.RawMessage `json:"signatures"`
			Signed     json.RawMessage   `json:"signed"`
		}
		require.NoError(t, json.Unmarshal(root, &whole))
		whole.Signatures = whole.Signatures[:1]
		one, err := json.Marshal(whole)
		require.NoError(t, err)
		require.ErrorContains(t, s.install(repository.Documents{Roots: [][]byte{one}}), "1 of 2 signatures")
		s.show("2.root.json", one)
		_, err = s.visit(seen)
		require.Error(t, err)
		_, err = s.visit(t.TempDir())
		require.Error(t, err)

		// With the threshold: the thief alone says what targets are.
		s.show("2.root.json", root)
		expires := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
		targets, err := delegation.NewTargets(1, expires, repotest.Of(1, thief))
		require.NoError(t, err)
		bins, err := twoBins(t).NewRole(1, expires, repotest.Of(1, thief))
		require.NoError(t, err)
		s.show("1.targets.json", signedBy(t, targets, thief))
		s.show("1.bins.json", signedBy(t, bins, thief))
		name, forged := s.forgedBin(thief)
		s.show(name, forged)
		for _, client := range []string{t.TempDir(), seen} {
			found, err := s.visit(client)
			require.NoError(t, err)
			require.Contains(t, found, evil)
		}
	})
}
