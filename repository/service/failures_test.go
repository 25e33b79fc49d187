package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// badDisk is a disk of which writes or syncs fail while a test says so.
type badDisk struct {
	disk.FS
	full    atomic.Bool  // writes do a part and fail with ENOSPC
	broken  atomic.Int64 // as many syncs fail with EIO
	refused atomic.Int64 // how many calls failed
}

func (d *badDisk) Create(name string, perm fs.FileMode) (disk.File, error) {
	f, err := d.FS.Create(name, perm)
	if err != nil {
		return nil, err
	}
	return badFile{f, name, d}, nil
}

func (d *badDisk) sync(name string, sync func() error) error {
	if d.broken.Add(-1) < 0 {
		d.broken.Store(0)
		return sync()
	}
	d.refused.Add(1)
	return &fs.PathError{Op: "sync", Path: name, Err: syscall.EIO}
}

func (d *badDisk) SyncDir(name string) error {
	return d.sync(name, func() error { return d.FS.SyncDir(name) })
}

type badFile struct {
	disk.File
	name string
	disk *badDisk
}

func (f badFile) Write(p []byte) (int, error) {
	if !f.disk.full.Load() {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:len(p)/2])
	f.disk.refused.Add(1)
	return n, errors.Join(err, &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC})
}

func (f badFile) Sync() error { return f.disk.sync(f.name, f.File.Sync) }

// Sixty-four goroutines submit while the journal fails twenty times (six by default), in three ways. What was
// accepted is published once, and of what may have been accepted Outcome tells.
func TestManyFailures(t *testing.T) {
	bad := &badDisk{FS: disk.OS()}
	site := newSite(t, t.TempDir())
	site.fsys, site.queue = bad, 100
	cfg := site.config()
	cfg.Patience = time.Minute
	s := started(t, cfg)

	var mu sync.Mutex
	accepted, doubtful := map[string]roles.Target{}, map[string]roles.Target{}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(accepted)
	}
	var refusals atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var submitters errgroup.Group
	for g := range 64 {
		submitters.Go(func() error {
			for n := 0; ctx.Err() == nil; n++ {
				id := fmt.Sprintf("%d-%d", g, n)
				target := file("p/"+id+".whl", id)
				call, cancel := ctx, context.CancelFunc(func() {})
				if g%2 == 1 { // it gives up soon
					call, cancel = context.WithTimeout(ctx, 10*time.Millisecond)
				}
				r, err := s.Submit(call, repository.Item{ID: id, Add: []roles.Target{target}})
				cancel()
				if errors.Is(err, repository.ErrBusy) {
					refusals.Add(1)
					time.Sleep(20 * time.Millisecond)
					continue
				}
				mu.Lock()
				switch {
				case err == nil:
					accepted[id] = target
				case errors.Is(err, repository.ErrUnknown):
					doubtful[id] = target
				case errors.Is(err, syscall.ENOSPC), errors.Is(err, ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
					doubtful[id] = target // it should not be there: Outcome must know
					refusals.Add(1)
				default:
					mu.Unlock()
					return fmt.Errorf("%s: %w", id, err)
				}
				mu.Unlock()
				if err == nil && g%4 == 0 {
					o, err := r.Wait(ctx)
					if ctx.Err() == nil && (err != nil || o.State != repository.Published) {
						return fmt.Errorf("%s: %v, %w", id, o, err)
					}
				}
			}
			return nil
		})
	}
	// more waits until more items were accepted.
	more := func() {
		for before := count(); count() < before+40 && !t.Failed(); {
			time.Sleep(time.Millisecond)
		}
	}
	more()
	var between []roles.Target // published while others submit
	failures := 6
	if thorough.Long() {
		failures = 20
	}
	for n := range failures {
		repo, _ := s.now()
		lost := func(now *repository.Repository, _ error) bool { return now != repo }
		struck := bad.refused.Load()
		switch n % 3 {
		case 0:
			bad.broken.Store(int64(1 + n%2)) // the second one when it is opened again
			until(t, s, lost)
		case 1:
			bad.full.Store(true)
			for bad.refused.Load() < struck+5 {
				time.Sleep(time.Millisecond)
			}
			bad.full.Store(false)
		case 2: // another, empty directory in the place of the journal's
			require.NoError(t, os.Rename(site.journal(), site.journal()+".moved"))
			require.NoError(t, os.Mkdir(site.journal(), 0o700))
			until(t, s, because(repository.ErrNotRepository))
			require.NoError(t, os.RemoveAll(site.journal()))
			require.NoError(t, os.Rename(site.journal()+".moved", site.journal()))
			require.NoError(t, s.Reload(t.Context()))
		}
		until(t, s, isOpen)
		more()
		if n%3 == 2 {
			target := file("between/"+strconv.Itoa(n), "1")
			r, err := s.Add(t.Context(), target)
			for errors.Is(err, repository.ErrBusy) {
				time.Sleep(20 * time.Millisecond)
				r, err = s.Add(t.Context(), target)
			}
			require.NoError(t, err)
			_, err = r.Wait(t.Context())
			require.NoError(t, err)
			between = append(between, target)
		}
	}
	stop()
	require.NoError(t, submitters.Wait())
	require.NoError(t, s.Drain(t.Context()))
	var want []roles.Target
	var gone []string
	unknown := 0
	for id := range accepted {
		o, err := s.Outcome(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State, id)
		want = append(want, accepted[id])
	}
	for id, target := range doubtful {
		switch o, err := s.Outcome(t.Context(), id); {
		case errors.Is(err, repository.ErrUnknownItem):
			gone = append(gone, target.Path)
		default:
			require.NoError(t, err, id)
			require.Equal(t, repository.Published, o.State, id)
			want = append(want, target)
			unknown++
		}
	}
	require.NoError(t, s.Close())
	h := site.history(t)
	want = append(want, between...)
	require.Len(t, h.published, len(want))
	for id, times := range h.published {
		require.Equal(t, 1, times, id)
	}
	t.Logf("%d items accepted, %d of unknown fate published, %d not; %d calls failed otherwise; %d calls of the disk failed; %d generations",
		len(accepted), unknown, len(gone), refusals.Load(), bad.refused.Load(), len(h.timestamps))
	site.check(t, want, gone[:min(len(gone), 50)]...)
}

// A Submit whose fate is unknown is repeated under its ID: it is queued once, and the caller
// needn't know.
func TestSubmitOfUnknownFate(t *testing.T) {
	for _, given := range []string{"", "an-ID"} {
		for name, fault := range map[string]faulty.Fault{"not queued": faulty.Before, "queued": faulty.After} {
			t.Run(name+" "+given, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := newMemory(t)
					s := started(t, m.config())
					n := 0
					m.inject.Plan(func(c faulty.Call) faulty.Fault {
						if c.Op == "journal.Enqueue" {
							if n++; n <= 3 {
								return fault
							}
						}
						return faulty.None
					})
					r, err := s.Submit(t.Context(), repository.Item{ID: given, Add: []roles.Target{file("a/a.whl", "1")}})
					require.NoError(t, err)
					require.Equal(t, 4, n)
					if given == "" {
						require.False(t, r.Repeated())
					}
					o, err := r.Wait(t.Context())
					require.NoError(t, err)
					require.Equal(t, repository.Published, o.State)
					r, err = s.Submit(t.Context(), repository.Item{ID: r.ID(), Add: []roles.Target{file("a/a.whl", "1")}})
					require.NoError(t, err)
					require.True(t, r.Repeated())
					require.NoError(t, s.Close())
					m.check(t, []roles.Target{file("a/a.whl", "1")})
				})
			})
		}
	}
}

// What is refused once the journal is open again may have been queued before.
func TestRefusedAfterUnknownFate(t *testing.T) {
	for fault, queued := range map[faulty.Fault]bool{faulty.Before: false, faulty.After: true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			s := started(t, m.config())
			struck := false
			m.inject.Plan(func(c faulty.Call) faulty.Fault {
				if c.Op != "journal.Enqueue" || struck {
					return faulty.None
				}
				struck = true
				repo, _ := s.now()
				s.lose(repo, failure{errors.New("a test says so")})
				m.cfg.MaxCustomBytes = 1
				return fault
			})
			target := file("a/a.whl", "1")
			target.Custom = []byte(`{"size":"large"}`)
			r, err := s.Add(t.Context(), target)
			if queued {
				require.NoError(t, err)
				o, err := r.Wait(t.Context())
				require.NoError(t, err)
				require.Equal(t, repository.Published, o.State)
			} else {
				require.ErrorContains(t, err, "MaxCustomBytes")
				require.NotErrorIs(t, err, repository.ErrUnknown)
			}
			require.NoError(t, s.Close())
		})
	}
}

// Calls wait as long as Patience says, and then tell why. What may be queued is of unknown fate.
// A leader that publishes what others queued, and loses the lead again and again, doesn't wait ever longer
// before it tries again.
func TestPauseAfterPublishingForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		index := m.journal.Handle()
		begun := time.Now()
		var want []roles.Target
		for n := range 12 {
			target := file("p/"+strconv.Itoa(n), "1")
			want = append(want, target)
			e, err := repository.Item{ID: strconv.Itoa(n), Add: []roles.Target{target}}.Entry()
			require.NoError(t, err)
			_, err = index.Enqueue(t.Context(), e)
			require.NoError(t, err)
			for seen := int64(0); ; {
				o, err := index.Outcomes(t.Context(), e.ID)
				require.NoError(t, err)
				if o[0].State == repository.Published {
					break
				}
				seen, err = index.Decided(t.Context(), seen)
				require.NoError(t, err)
			}
			opened := m.opened()
			m.loseJournal()
			until(t, s, func(repo *repository.Repository, _ error) bool { return repo != nil && m.opened() > opened })
		}
		require.Less(t, time.Since(begun), 10*time.Second)
		require.NoError(t, s.Close())
		m.check(t, want)
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		gone := errors.New("the disk is gone")
		s := started(t, m.config())
		publish(t, s, file("a/a.whl", "1"))
		r, err := s.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		_, err = r.Wait(t.Context())
		require.NoError(t, err)

		repo, _ := s.now()
		m.failWith(gone)
		s.lose(repo, failure{fmt.Errorf("sync: %w: %w", repository.ErrUnknown, syscall.EIO)})
		began := time.Now()
		_, err = s.Add(t.Context(), file("c/c.whl", "1"))
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, gone)
		require.NotErrorIs(t, err, repository.ErrUnknown)
		require.NotErrorIs(t, err, repository.ErrClosed)
		require.Equal(t, 10*time.Second, time.Since(began))
		_, err = r.Wait(t.Context())
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorContains(t, err, `item "`+r.ID()+`" is accepted, and its outcome is known once the repository is open: `)
		require.Equal(t, 20*time.Second, time.Since(began))
		_, err = s.Outcome(t.Context(), r.ID())
		require.ErrorIs(t, err, ErrUnavailable)

		// Status doesn't wait, and knows what there was.
		began = time.Now()
		status, err := s.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 1, status.Generation)
		require.ErrorIs(t, status.Err, gone)
		require.ErrorIs(t, status.Err, ErrUnavailable)
		require.Zero(t, time.Since(began))

		// A context that ends before.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.Add(ctx, file("c/c.whl", "1"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, ErrUnavailable)
		require.Equal(t, time.Second, time.Since(began))

		// It is tried again at least each minute, for ever.
		time.Sleep(24 * time.Hour)
		require.Greater(t, m.opened(), 24*60)
		require.Less(t, m.opened(), 24*60+20)
		m.failWith(nil)
		until(t, s, isOpen)
		publish(t, s, file("c/c.whl", "1"))
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1"), file("c/c.whl", "1")})
	})
}

// An item that may be queued when Patience ends is of unknown fate, until Outcome tells.
func TestUnknownFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		m.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "journal.Enqueue" {
				repo, _ := s.now()
				s.lose(repo, failure{errors.New("a test says so")})
				m.failWith(errors.New("the disk is gone"))
				return faulty.After
			}
			return faulty.None
		})
		_, err := s.Submit(t.Context(), repository.Item{ID: "1", Add: []roles.Target{file("a/a.whl", "1")}})
		require.ErrorIs(t, err, repository.ErrUnknown)
		require.ErrorIs(t, err, ErrUnavailable)
		m.inject.Plan(nil)
		m.failWith(nil)
		until(t, s, isOpen)
		require.NoError(t, s.Drain(t.Context()))
		o, err := s.Outcome(t.Context(), "1")
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1")})
	})
}

// A store that hangs doesn't keep the service from opening a journal that failed.
func TestFailureWhileStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		m.inject.Plan(faulty.On(faulty.Hang, "store.Create"))
		first, err := s.Add(t.Context(), file("a/a.whl", "1"))
		require.NoError(t, err)
		time.Sleep(time.Minute) // it is being written
		m.inject.Plan(nil)      // only the write that hangs already goes on doing so
		began := time.Now()
		m.loseJournal()
		second, err := s.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		_, err = second.Wait(t.Context())
		require.NoError(t, err)
		o, err := first.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		require.Less(t, time.Since(began), time.Second)
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// Wait goes on while the repository is opened again, however often.
func TestWaitGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		m.inject.Plan(faulty.On(faulty.Before, "store.Create")) // nothing is published
		done := make(chan error, 64)
		for n := range cap(done) {
			r, err := s.Add(t.Context(), file("p/"+strconv.Itoa(n), "1"))
			require.NoError(t, err)
			go func() {
				o, err := r.Wait(t.Context())
				if err == nil && o.State != repository.Published {
					err = fmt.Errorf("%v", o)
				}
				done <- err
			}()
		}
		for range 20 {
			time.Sleep(time.Minute)
			repo, _ := s.now()
			s.lose(repo, failure{errors.New("a test says so")})
			until(t, s, isOpen)
		}
		m.inject.Plan(nil)
		for range cap(done) {
			require.NoError(t, <-done)
		}
		require.NoError(t, s.Close())
	})
}

// Attempts to publish that fail are logged, by the service's logger or by one that Open gives
// the repository.
func TestFailuresAreLogged(t *testing.T) {
	for _, own := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory(t)
			var ofService, ofRepository bytes.Buffer
			cfg := m.config()
			cfg.Logger = slog.New(slog.NewTextHandler(&ofService, nil))
			cfg.Open = func(ctx context.Context) (repository.Config, error) {
				c, err := m.open(ctx)
				if own {
					c.Logger = slog.New(slog.NewTextHandler(&ofRepository, nil))
				}
				return c, err
			}
			s := started(t, cfg)
			m.inject.Plan(faulty.On(faulty.Before, "store.Create"))
			receipt, err := s.Add(t.Context(), file("a/a.whl", "1"))
			require.NoError(t, err)
			time.Sleep(time.Minute)
			m.inject.Plan(nil)
			_, err = receipt.Wait(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Close())
			require.Equal(t, !own, strings.Contains(ofService.String(), "publishing failed"))
			require.Equal(t, own, strings.Contains(ofRepository.String(), "publishing failed"))
		})
	}
}

// What only people can mend is not tried again quickly, and Status shows it.
func TestDiverged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		publish(t, s, file("a/a.whl", "1"))
		now := m.store.History("timestamp.json")
		old, newest := now[len(now)-2], now[len(now)-1]
		require.NoError(t, m.store.Swap(t.Context(), "timestamp.json", newest, old))
		r, err := s.Add(t.Context(), file("b/b.whl", "1"))
		require.NoError(t, err)
		until(t, s, because(repository.ErrDiverged))
		before := m.opened()
		time.Sleep(time.Hour)
		require.LessOrEqual(t, m.opened()-before, 61) // one a minute, and the first, which may have been about to begin
		status, err := s.Status(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, status.Err, repository.ErrDiverged)
		requireProblem(t, s, "error: nothing is accepted or published: ", repository.ErrDiverged.Error(), "then call Reload")

		require.NoError(t, m.store.Swap(t.Context(), "timestamp.json", old, newest))
		require.NoError(t, s.Reload(t.Context()))
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

// deaf is a key whose service never answers.
type deaf struct{ keys.Signer }

func (deaf) Sign(ctx context.Context, _ []byte) ([]byte, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A key that doesn't answer keeps nobody from configuring another way to it.
func TestReloadWhileKeyHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		s := started(t, m.config())
		m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = deaf{m.ceremony.Bins}, m.ceremony.Online, m.ceremony.Online
		require.NoError(t, s.Reload(t.Context()))
		r, err := s.Add(t.Context(), file("a/a.whl", "1"))
		require.NoError(t, err)
		time.Sleep(time.Minute) // it is being signed
		m.cfg.Bins = m.ceremony.Bins
		began := time.Now()
		require.NoError(t, s.Reload(t.Context()))
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, time.Since(began), patienceOfReload+time.Second)
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1")})
	})
}

// A key's service is down for good. Documents that name another key besides are accepted, and are
// published with that one.
func TestReloadWithoutOldKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		m.cfg.Bins, m.cfg.Snapshot, m.cfg.Timestamp = m.ceremony.Bins, &dying{Signer: m.ceremony.Online}, m.ceremony.Online
		s := started(t, m.config())
		publish(t, s, file("a/a.whl", "1"))
		next := m.ceremony.NewEd25519()
		both := []*keys.PublicKey{m.ceremony.Online.Public(), next.Public()}
		m.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot.Keys = both })
		m.ceremony.NextTargets(nil) // that only a snapshot can publish
		m.cfg.Snapshot.(*dying).dead.Store(true)
		m.cfg.Snapshot = next
		if err := s.Reload(t.Context()); err != nil {
			require.ErrorIs(t, err, repository.ErrAccepted)
		}
		publish(t, s, file("b/b.whl", "1"))
		time.Sleep(time.Minute)
		status, err := s.Status(t.Context())
		require.NoError(t, err)
		require.Empty(t, status.Problems)
		require.EqualValues(t, 2, status.Roles["targets"].Version)
		require.NoError(t, s.Close())
		m.check(t, []roles.Target{file("a/a.whl", "1"), file("b/b.whl", "1")})
	})
}

// dying is a key that signs until it is dead.
type dying struct {
	keys.Signer
	dead atomic.Bool
}

func (d *dying) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if d.dead.Load() {
		return nil, errors.New("the key's service is gone")
	}
	return d.Signer.Sign(ctx, message)
}
