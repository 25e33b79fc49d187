package interop

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// A client that accepted raised versions refuses what is published now, whose versions are lower, until
// root names none of the old keys, neither for timestamp nor for snapshot. From then on it updates as if
// nothing had happened. It doesn't matter in which order the keys are replaced. The same client that
// came only once both were replaced never fails. (repository's TestFastForwardNeedsNewKeys is this test
// for go-tuf.)
func TestClientsForgetRaisedVersions(t *testing.T) {
	for name, install := range clients {
		for first, second := range map[string]string{metadata.TIMESTAMP: metadata.SNAPSHOT, metadata.SNAPSHOT: metadata.TIMESTAMP} {
			for attack, version := range map[string]int64{"a jump": 1000, "the largest version": largest[name]} {
				t.Run(name+", "+first+" first, "+attack, func(t *testing.T) {
					c := install(t)
					layout, err := delegation.New("bins", 4, delegation.Succinct)
					require.NoError(t, err)
					x := &index{t: t, layout: layout, ceremony: repotest.NewCeremony(t, layout, time.Now())}
					old, next := x.ceremony.Online, map[string]keys.Signer{}
					signers := map[string][]keys.Signer{}
					for _, role := range []string{first, second} {
						next[role] = x.ceremony.NewP256()
						signers[role] = []keys.Signer{next[role], old}
					}
					x.serve(repository.Config{Signers: signers}, x.ceremony.Documents())
					x.publish(2, []roles.Target{x.put("a", "a", ""), x.put("b", "b", ""), x.put("c", "c", "")})

					// The attacker's copy has no target left, and every version raised.
					x.served.Store = x.attacked(version)
					state, late := t.TempDir(), t.TempDir()
					for _, s := range []string{state, late} {
						got, stderr := c.do(t, x.visit(s))
						require.Equal(t, report{Found: []file{}, Missing: x.visit(s).Paths, Refused: []refused{}}, got, stderr)
					}
					x.served.Store = x.store

					// Even without replaced keys a client fails, and stays as it is.
					fails := func() {
						t.Helper()
						got, stderr := c.do(t, x.visit(state))
						require.NotEmpty(t, got.Refresh, stderr)
						t.Log(got.Refresh)
					}
					fails()
					replace := func(role string, named ...keys.Signer) {
						t.Helper()
						root := x.ceremony.NextRoot(func(r *roles.RootSpec) {
							authority := &r.Timestamp
							if role == metadata.SNAPSHOT {
								authority = &r.Snapshot
							}
							*authority = repotest.Of(1, named...)
						})
						require.NoError(t, x.repo.InstallAfterCompromise(t.Context(), repository.Documents{Roots: [][]byte{root}}))
					}
					replace(first, next[first])
					fails()
					replace(second, next[second], old)
					fails()
					replace(second, next[second])
					for _, s := range []string{state, late, t.TempDir()} {
						got, stderr := c.do(t, x.visit(s))
						require.Equal(t, report{Found: x.found(), Missing: []string{}, Refused: []refused{}}, got, stderr)
					}
				})
			}
		}
	}
}

// largest is the largest version that a client reads. python-tuf has no limit.
var largest = map[string]int64{"python-tuf": math.MaxInt64, "tuf-js": 1<<53 - 1}

// attacked is a copy of the store, in which an attacker removed every target and raised every version.
func (x *index) attacked(version int64) repository.Store {
	x.t.Helper()
	store := storetest.NewStore()
	names, err := os.ReadDir(filepath.Join(filepath.Dir(x.Root), "metadata"))
	require.NoError(x.t, err)
	for _, e := range names {
		if !e.IsDir() {
			require.NoError(x.t, store.Create(x.t.Context(), e.Name(), x.get(e.Name())))
		}
	}
	repotest.Attacker{
		Bins: x.ceremony.Bins, Online: x.ceremony.Online, Store: store, Expires: time.Now().Add(time.Hour),
	}.Publish(x.t, version, func(bin string) (out []roles.TargetEdit) {
		for path := range x.want {
			if x.layout.Name(x.layout.Find(path)) == bin {
				out = append(out, roles.TargetEdit{Path: path})
			}
		}
		return out
	})
	return store
}
