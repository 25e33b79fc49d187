package s3store_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// owner has a repository's documents, keys and journal.
type owner struct {
	cfg      repository.Config
	ceremony *repotest.Ceremony
}

func newOwner(t *testing.T, store repository.Store) owner {
	t.Helper()
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	require.NoError(t, err)
	ceremony := repotest.NewCeremony(t, layout, time.Now())
	return owner{repository.Config{
		Store: store, Journal: storetest.NewJournal(), Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online, MaxDelay: -1,
	}, ceremony}
}

// Of two repositories that are pointed at one bucket, the second is told what is there and what to do, and
// nothing of the first is touched.
func TestTwoRepositoriesInOneBucket(t *testing.T) {
	f := newFake()
	first := newOwner(t, f.open(t))
	repo, err := repository.Create(t.Context(), first.cfg, first.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	before := map[string]string{}
	for key, object := range f.objects {
		before[key] = string(object.data)
	}

	second := newOwner(t, f.open(t))
	_, err = repository.Create(t.Context(), second.cfg, second.ceremony.Documents())
	require.ErrorIs(t, err, repository.ErrExists)
	require.ErrorContains(t, err, "store: there is a repository already: it has a timestamp.json: if the journal that belongs to it is another, use Open with that; for a new repository, give an empty store")

	// Its own bucket was given first, and then the other's.
	second.cfg.Store = newFake().open(t)
	repo, err = repository.Create(t.Context(), second.cfg, second.ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	second.cfg.Store = f.open(t)
	second.cfg.Journal = second.cfg.Journal.(*storetest.MemJournal).Handle()
	_, err = repository.Open(t.Context(), second.cfg)
	require.ErrorIs(t, err, repository.ErrDiverged)

	for key, object := range f.objects {
		require.Equal(t, before[key], string(object.data), key)
	}
	require.Len(t, f.objects, len(before))
}

// Uploads are published, once each, while every fifth request that writes fails in turn in each way.
func TestPublishesThroughFaults(t *testing.T) {
	f := newFake()
	store := f.open(t)
	x := newOwner(t, store)
	n := 0
	f.fault = func(r *http.Request, do func() *http.Response) (*http.Response, error) {
		f.mu.Lock()
		if r.Method != http.MethodGet {
			n++
		}
		hit := r.Method != http.MethodGet && n%5 == 0
		which := faults[n/5%len(faults)]
		f.mu.Unlock()
		if !hit {
			return nil, nil
		}
		return which.fail(do)
	}
	repo, err := repository.Create(t.Context(), x.cfg, x.ceremony.Documents())
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- repo.Run(context.Background()) }()
	published := repotest.Published{Store: store}
	committed := func() {
		timestamp, err := store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		published.Timestamps = append(published.Timestamps, timestamp)
	}
	committed()
	for _, target := range repotest.Files("demo", 10) {
		receipt, err := repo.Add(t.Context(), target)
		require.NoError(t, err)
		_, err = receipt.Wait(t.Context())
		require.NoError(t, err)
		committed()
		published.Want = append(published.Want, target)
	}
	require.NoError(t, repo.Close())
	require.NoError(t, <-ended)
	f.fault = nil
	published.Now = time.Now()
	repotest.CheckRepository(t, published)
}
