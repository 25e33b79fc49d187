package awskms_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

const bins = 16

// index is a repository that publishes while the test runs.
type index struct {
	*repository.Repository
	store      *dirstore.Store
	timestamps [][]byte // of each generation
	want       []roles.Target
	log        *watchedLog
}

// newIndex has snapshot and timestamp signed by one signer, and the bins by
// another or, without one, by the ceremony's in memory.
func newIndex(t *testing.T, online, ofBins keys.Signer) *index {
	t.Helper()
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	require.NoError(t, err)
	ceremony := repotest.NewCeremony(t, layout, time.Now())
	ceremony.NextRoot(func(root *roles.RootSpec) {
		root.Snapshot, root.Timestamp = repotest.Of(1, online), repotest.Of(1, online)
	})
	if ofBins == nil {
		ofBins = ceremony.Bins
	}
	ceremony.NextBins(func(bin *roles.Authority) { *bin = repotest.Of(1, ofBins) })

	dir := t.TempDir()
	x := &index{log: &watchedLog{failed: make(chan struct{}, 100)}}
	x.store, err = dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	x.Repository, err = repository.Create(t.Context(), repository.Config{
		Store: x.store, Journal: journal,
		Bins: ofBins, Snapshot: online, Timestamp: online,
		MaxDelay: -1, Logger: slog.New(x.log),
	}, ceremony.Documents())
	require.NoError(t, err)
	x.committed(t)
	ended := make(chan error, 1)
	go func() { ended <- x.Run(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, x.Close())
		require.NoError(t, <-ended)
	})
	return x
}

// committed keeps the newest timestamp.
func (x *index) committed(t *testing.T) {
	t.Helper()
	timestamp, err := x.store.Get(t.Context(), "timestamp.json")
	require.NoError(t, err)
	x.timestamps = append(x.timestamps, timestamp)
}

// add adds a file, and does not wait for it to be published.
func (x *index) add(t *testing.T, n int) *repository.Receipt {
	t.Helper()
	target := roles.Target{
		Path: fmt.Sprintf("demo/demo-%d.tar.gz", n), Length: int64(n),
		Hashes: map[string]string{"sha256": strings.Repeat("ab", 32)},
	}
	receipt, err := x.Add(t.Context(), target)
	require.NoError(t, err)
	x.want = append(x.want, target)
	return receipt
}

// check has go-tuf's client judge all that was published.
func (x *index) check(t *testing.T) {
	t.Helper()
	repotest.CheckRepository(t, repotest.Published{Store: x.store, Timestamps: x.timestamps, Want: x.want, Now: time.Now()})
}

// watchedLog keeps errors, and tells of each.
type watchedLog struct {
	failed chan struct{}
	errors bytes.Buffer // to be read after failed was told
}

func (l *watchedLog) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}
func (l *watchedLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *watchedLog) WithGroup(string) slog.Handler      { return l }
func (l *watchedLog) Handle(ctx context.Context, r slog.Record) error {
	err := slog.NewTextHandler(&l.errors, nil).Handle(ctx, r)
	select {
	case l.failed <- struct{}{}:
	default:
	}
	return err
}

// With bins signed in memory, a generation costs two calls, whatever it holds. Create makes
// one more, by which the key proves that it signs.
func TestTwoCallsAGeneration(t *testing.T) {
	s := newService(t)
	_, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	x := newIndex(t, signer, nil)
	require.Equal(t, 1+2, s.Calls("Sign"))
	for generation := int64(2); generation <= 6; generation++ {
		outcome, err := x.add(t, int(generation)).Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, repository.Outcome{State: repository.Published, Generation: generation}, outcome)
		require.Equal(t, 1+2*int(generation), s.Calls("Sign"))
		x.committed(t)
	}
	require.Equal(t, 1, s.Calls("DescribeKey"))
	require.Equal(t, 1, s.Calls("GetPublicKey"))
	x.check(t)
}

// One key signs everything: two calls a generation, and one for each bin in it.
// Create makes one more, as a probe.
func TestEverythingByOneKey(t *testing.T) {
	s := newService(t)
	_, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	x := newIndex(t, signer, signer)
	require.Equal(t, 1+bins+2, s.Calls("Sign"))
	for generation := 2; generation <= 4; generation++ {
		_, err := x.add(t, generation).Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1+bins+2+3*(generation-1), s.Calls("Sign"))
		x.committed(t)
	}
	x.check(t)
}

// While no signature can be had, uploads are accepted and wait; Status and the
// log name the key and the error. When it can be had again, they are published
// without anyone doing anything.
func TestKeyServiceDown(t *testing.T) {
	for _, test := range []struct {
		name       string
		down, back func(t *testing.T, s *service, arn string)
		kind       error
		want       string
	}{
		{
			"KMS is down",
			func(t *testing.T, s *service, _ string) {
				s.Before(func(*http.Request, string) *fakekms.Error { return &fakekms.Error{Status: 503} })
			},
			func(t *testing.T, s *service, _ string) { s.Before(nil) },
			keys.ErrUnavailable, "KMS failed inside",
		}, {
			"throttled",
			func(t *testing.T, s *service, _ string) {
				s.Before(func(*http.Request, string) *fakekms.Error { return throttled })
			},
			func(t *testing.T, s *service, _ string) { s.Before(nil) },
			keys.ErrUnavailable, "ThrottlingException",
		}, {
			"key disabled",
			func(t *testing.T, s *service, arn string) {
				_, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
				require.NoError(t, err)
			},
			func(t *testing.T, s *service, arn string) {
				_, err := s.admin.EnableKey(t.Context(), &kms.EnableKeyInput{KeyId: &arn})
				require.NoError(t, err)
			},
			keys.ErrUnusable, "it is disabled: enable it",
		}, {
			"session over",
			func(t *testing.T, s *service, _ string) { s.Expire(publisher) },
			func(t *testing.T, s *service, _ string) { s.Permit(publisher, "kms:Sign") },
			keys.ErrDenied, "the credentials have expired",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{Attempts: 1})
			x := newIndex(t, signer, nil)

			test.down(t, s, arn)
			receipts := []*repository.Receipt{x.add(t, 1)}
			<-x.log.failed
			receipts = append(receipts, x.add(t, 2), x.add(t, 3))

			status, err := x.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(1), status.Generation)
			require.Equal(t, 3, status.Queue.Pending)
			require.ErrorIs(t, status.Err, test.kind)
			for _, want := range []string{arn, signer.Public().ID(), test.want} {
				require.ErrorContains(t, status.Err, want)
			}

			test.back(t, s, arn)
			for _, receipt := range receipts {
				outcome, err := receipt.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, repository.Published, outcome.State)
			}
			_, err = x.add(t, 4).Wait(t.Context()) // Status follows the receipts by a moment
			require.NoError(t, err)
			status, err = x.Status(t.Context())
			require.NoError(t, err)
			require.Zero(t, status.Queue.Pending)
			require.NoError(t, status.Err)
			x.committed(t)
			x.check(t)

			log := x.log.errors.String() // nothing fails any more
			require.Contains(t, log, "publishing failed, it will be tried again")
			require.Contains(t, log, arn)
			require.Contains(t, log, test.want)
			require.NotContains(t, log, secretKey)
			require.NotContains(t, log, sessionToken)
		})
	}
}
