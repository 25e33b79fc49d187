package gcpkms_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// With bins signed in memory and snapshot and timestamp here, a generation costs
// two calls, whatever it holds. While the key is disabled uploads are accepted and
// wait, and Status says which key it is; once it is enabled they are published.
func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{})
		online := newSigner(t, fake, client)
		layout, err := delegation.New("bins", 16, delegation.Succinct)
		require.NoError(t, err)
		ceremony := repotest.NewCeremony(t, layout, time.Now())
		ceremony.NextRoot(func(root *roles.RootSpec) {
			root.Snapshot, root.Timestamp = repotest.Of(1, online), repotest.Of(1, online)
		})
		store := storetest.NewStore()
		repo, err := repository.Create(t.Context(), repository.Config{
			Store: store, Journal: storetest.NewJournal(),
			Bins: ceremony.Bins, Snapshot: online, Timestamp: online,
		}, ceremony.Documents())
		require.NoError(t, err)
		require.Equal(t, []string{"AsymmetricSign", "AsymmetricSign", "AsymmetricSign"}, fake.took(), "a probe of the key, and generation 1")

		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- repo.Run(ctx) }()
		var published []roles.Target
		for i, paths := range [][]string{{"a"}, {"b", "c", "d", "e", "f"}} {
			var targets []roles.Target
			for _, path := range paths {
				targets = append(targets, file(path))
			}
			receipt, err := repo.Add(ctx, targets...)
			require.NoError(t, err)
			outcome, err := receipt.Wait(ctx)
			require.NoError(t, err)
			require.EqualValues(t, i+2, outcome.Generation)
			require.Equal(t, []string{"AsymmetricSign", "AsymmetricSign"}, fake.took())
			published = append(published, targets...)
		}

		fake.set(func() { inState(kmspb.CryptoKeyVersion_DISABLED)(fake) })
		late := file("late")
		receipt, err := repo.Add(ctx, late)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		status, err := repo.Status(ctx)
		require.NoError(t, err)
		require.EqualValues(t, 3, status.Generation)
		require.Equal(t, 1, status.Queue.Pending)
		require.ErrorIs(t, status.Err, keys.ErrUnusable)
		require.ErrorContains(t, status.Err, name)
		fake.took()

		fake.set(func() { fake.keys[name] = enabled(p256) })
		outcome, err := receipt.Wait(ctx)
		require.NoError(t, err)
		require.Greater(t, outcome.Generation, int64(3), "the attempts took numbers that are not used again")
		require.Equal(t, []string{"AsymmetricSign", "AsymmetricSign"}, fake.took())

		cancel()
		require.NoError(t, <-stopped)
		require.NoError(t, repo.Close())
		repotest.CheckRepository(t, repotest.Published{
			Store: store, Timestamps: store.History("timestamp.json"), Now: time.Now(), Want: append(published, late),
		})
	})
}

// file is a target whose content is its path.
func file(path string) roles.Target {
	sum := sha256.Sum256([]byte(path))
	return roles.Target{Path: path, Length: int64(len(path)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}
