package audit_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

var update = flag.Bool("update", false, "write testdata/foreign again")

// foreign is a repository as others make them: go-tuf's types, indented JSON, key
// IDs that are no hashes, hashes in the snapshot, plain delegations and no bins.
// It is the same in each run, until something is changed before sign is called.
type foreign struct {
	t         *testing.T
	keys      map[string]ed25519.PrivateKey // by key ID
	larger    map[string]*ecdsa.PrivateKey  // on P-384, by key ID
	roots     []*metadata.RootType
	timestamp *metadata.TimestampType
	snapshot  *metadata.SnapshotType
	targets   map[string]*metadata.TargetsType // by role
	signers   map[string][]string              // key IDs by role
	others    int                              // more roles that the snapshot names
}

var foreignExpires = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func newForeign(t *testing.T) *foreign {
	f := &foreign{t: t, keys: map[string]ed25519.PrivateKey{}, larger: map[string]*ecdsa.PrivateKey{}}
	for _, id := range []string{"alice", "bob", "carol", "online", "dev ö"} {
		seed := sha256.Sum256([]byte(id))
		f.keys[id] = ed25519.NewKeyFromSeed(seed[:])
	}
	f.signers = map[string][]string{
		metadata.ROOT: {"alice", "bob"}, metadata.TARGETS: {"carol"}, metadata.SNAPSHOT: {"online"}, metadata.TIMESTAMP: {"online"},
		"ö": {"dev ö"}, "deep": {"alice", "carol"},
	}
	for version := range int64(2) {
		r := metadata.Root(foreignExpires).Signed
		r.Version = version + 1
		r.Keys = f.public("alice", "bob", "carol", "online")
		r.Roles = map[string]*metadata.Role{
			metadata.ROOT:      {KeyIDs: []string{"alice", "bob", "carol"}, Threshold: 2},
			metadata.TARGETS:   {KeyIDs: []string{"carol"}, Threshold: 1},
			metadata.SNAPSHOT:  {KeyIDs: []string{"online"}, Threshold: 1},
			metadata.TIMESTAMP: {KeyIDs: []string{"online"}, Threshold: 1},
		}
		f.roots = append(f.roots, &r)
	}
	targets := func(version int64, paths ...string) *metadata.TargetsType {
		d := metadata.Targets(foreignExpires).Signed
		d.Version = version
		for _, p := range paths {
			sum := sha256.Sum256([]byte(p))
			d.Targets[p] = &metadata.TargetFiles{Length: int64(len(p)), Hashes: metadata.Hashes{"sha256": sum[:]}}
		}
		return &d
	}
	f.targets = map[string]*metadata.TargetsType{
		metadata.TARGETS: targets(7, "README"), "ö": targets(3, "a/one", "a/two"), "deep": targets(9, "a/b/three"),
	}
	f.targets[metadata.TARGETS].Delegations = &metadata.Delegations{
		Keys: f.public("dev ö"), Roles: []metadata.DelegatedRole{{Name: "ö", KeyIDs: []string{"dev ö"}, Threshold: 1, Paths: []string{"a/*", "a/b/*"}}},
	}
	f.targets["ö"].Delegations = &metadata.Delegations{
		Keys:  f.public("alice", "carol"),
		Roles: []metadata.DelegatedRole{{Name: "deep", KeyIDs: []string{"alice", "carol"}, Threshold: 2, Paths: []string{"a/b/t*"}, Terminating: true}},
	}
	snapshot, timestamp := metadata.Snapshot(foreignExpires).Signed, metadata.Timestamp(foreignExpires).Signed
	snapshot.Version, timestamp.Version = 20, 31
	f.snapshot, f.timestamp = &snapshot, &timestamp
	return f
}

func (f *foreign) public(ids ...string) map[string]*metadata.Key {
	out := map[string]*metadata.Key{}
	for _, id := range ids {
		pub := f.keys[id].Public().(ed25519.PublicKey)
		out[id] = &metadata.Key{Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: hex.EncodeToString(pub)}}
	}
	return out
}

// newP384 makes a key that go-tuf knows and tough doesn't.
func (f *foreign) newP384(id string) *metadata.Key {
	f.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(f.t, err)
	f.larger[id] = key
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(f.t, err)
	return &metadata.Key{Type: "ecdsa", Scheme: "ecdsa-sha2-nistp384", Value: metadata.KeyVal{
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}}
}

// p384 gives the delegated role such a key, in place of carol's.
func (f *foreign) p384(role, id string) {
	d := f.targets["ö"].Delegations
	d.Keys[id] = f.newP384(id)
	d.Roles[0].KeyIDs = []string{"alice", id}
	f.signers[role] = []string{"alice", id}
}

// sign signs everything and returns the files.
func (f *foreign) sign() fstest.MapFS {
	f.t.Helper()
	files := fstest.MapFS{}
	write := func(name, role string, signed any) metadata.MetaFiles {
		message, err := cjson.EncodeCanonical(signed)
		require.NoError(f.t, err)
		type signature struct {
			KeyID string `json:"keyid"`
			Sig   string `json:"sig"`
		}
		var signatures []signature
		for _, id := range f.signers[role] {
			if key, ok := f.larger[id]; ok {
				digest := sha512.Sum384(message)
				sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
				require.NoError(f.t, err)
				signatures = append(signatures, signature{id, hex.EncodeToString(sig)})
				continue
			}
			signatures = append(signatures, signature{id, hex.EncodeToString(ed25519.Sign(f.keys[id], message))})
		}
		data, err := json.MarshalIndent(map[string]any{"signatures": signatures, "signed": signed}, "", "  ")
		require.NoError(f.t, err)
		files[name] = &fstest.MapFile{Data: append(data, '\n')}
		sum := sha256.Sum256(files[name].Data)
		return metadata.MetaFiles{Length: int64(len(files[name].Data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	}
	name := func(role string, version int64) string {
		if !f.roots[1].ConsistentSnapshot {
			return role + ".json"
		}
		return fmt.Sprintf("%d.%s.json", version, role)
	}
	for _, r := range f.roots {
		write(fmt.Sprintf("%d.root.json", r.Version), metadata.ROOT, r)
	}
	f.snapshot.Meta = map[string]*metadata.MetaFiles{}
	for role, doc := range f.targets {
		m := write(name(role, doc.Version), role, doc)
		m.Version = doc.Version
		f.snapshot.Meta[role+".json"] = &m
	}
	for i := range f.others {
		f.snapshot.Meta[fmt.Sprintf("other-%d.json", i)] = &metadata.MetaFiles{Version: 1}
	}
	m := write(name(metadata.SNAPSHOT, f.snapshot.Version), metadata.SNAPSHOT, f.snapshot)
	m.Version = f.snapshot.Version
	f.timestamp.Meta = map[string]*metadata.MetaFiles{"snapshot.json": &m}
	write("timestamp.json", metadata.TIMESTAMP, f.timestamp)
	return files
}

const foreignDir = "testdata/foreign"

// What is in testdata is what newForeign makes, and go-tuf's client takes it.
func TestForeignTestdata(t *testing.T) {
	files := newForeign(t).sign()
	if *update {
		require.NoError(t, os.RemoveAll(foreignDir))
		require.NoError(t, os.CopyFS(foreignDir, files))
	}
	entries, err := os.ReadDir(foreignDir)
	require.NoError(t, err)
	require.Len(t, entries, len(files))
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(foreignDir, name))
		require.NoError(t, err)
		require.Equal(t, string(want.Data), string(got), name)
	}
	trusted, err := trustedmetadata.New(files["1.root.json"].Data)
	require.NoError(t, err)
	_, err = trusted.UpdateRoot(files["2.root.json"].Data)
	require.NoError(t, err)
	_, err = trusted.UpdateTimestamp(files["timestamp.json"].Data)
	require.NoError(t, err)
	_, err = trusted.UpdateSnapshot(files["20.snapshot.json"].Data, false)
	require.NoError(t, err)
	_, err = trusted.UpdateTargets(files["7.targets.json"].Data)
	require.NoError(t, err)
	_, err = trusted.UpdateDelegatedTargets(files["3.ö.json"].Data, "ö", metadata.TARGETS)
	require.NoError(t, err)
	_, err = trusted.UpdateDelegatedTargets(files["9.deep.json"].Data, "deep", "ö")
	require.NoError(t, err)
}
