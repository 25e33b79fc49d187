package repository_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
)

// A generation that is given up because no bin can be read leaves no snapshot behind,
// however late that turns out: to an audit it would look like one that clients saw.
func TestUnreadBinLeavesNoSnapshot(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(onePerBin(t, 2)...)
		e.close()
		slow := &slowStore{Store: e.store}
		e.cfg.Store, e.cfg.CacheBytes = slow, -1
		e.open()
		slow.reads.Store(3) // both are read once to be decided on, and then to be built
		var receipts []*repository.Receipt
		for _, target := range onePerBin(t, 2) {
			target.Length++
			receipts = append(receipts, e.add(target))
		}
		e.run(func() { time.Sleep(500 * time.Millisecond) })
		require.Empty(t, e.store.History("3.snapshot.json"))
		for f, err := range audit.Run(t.Context(), e.store, audit.Config{}) {
			require.NoError(t, err)
			require.Equal(t, audit.Note, f.Severity, f)
		}
		e.run(func() {
			for _, r := range receipts {
				e.wait(r, repository.Published)
			}
		})
		e.check()
	})
}

// slowStore takes its time to fail, twice, to read a bin.
type slowStore struct {
	repository.Store
	reads atomic.Int64 // until it fails
}

func (s *slowStore) Get(ctx context.Context, name string) ([]byte, error) {
	if strings.Contains(name, "bins-") && fails(s.reads.Add(-1)) {
		time.Sleep(10 * time.Millisecond)
		return nil, errors.New("service unavailable")
	}
	return s.Store.Get(ctx, name)
}

func fails(left int64) bool { return left == 0 || left == -1 }
