package repository_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// counted is how often calls were made since the last Plan, by operation and, of appends, kind.
func (e *env) counted() map[string]int {
	n := map[string]int{}
	for _, c := range e.inject.Calls() {
		n[site(c)]++
	}
	return n
}

// counting is a signer that counts, and fails when a test says so. Its calls never overlap
// with fail.
type counting struct {
	keys.Signer
	calls atomic.Int64
	fail  func(n int64, message []byte) error
}

func (s *counting) Sign(ctx context.Context, message []byte) ([]byte, error) {
	n := s.calls.Add(1)
	if s.fail != nil {
		if err := s.fail(n, message); err != nil {
			return nil, err
		}
	}
	return s.Signer.Sign(ctx, message)
}

// While nothing can be read, an attempt costs no intent and no signature, but for what is due;
// attempts become rare, and Status says so all the time. Then all is published at once.
func TestReadOutage(t *testing.T) {
	for name, c := range map[string]struct {
		fails    string // names of which the reads fail
		cache    int64
		lifetime time.Duration // of the timestamp
		renewals int
	}{
		"all":                   {"", 0, 24 * time.Hour, 0},
		"bins":                  {"bins-", 0, 24 * time.Hour, 0},
		"nothing cached":        {"", -1, 24 * time.Hour, 0},
		"bins, nothing cached":  {"bins-", -1, 24 * time.Hour, 0},
		"a timestamp is due":    {"", 0, 40 * time.Minute, 1},
		"bins and timestamp":    {"bins-", 0, 40 * time.Minute, 1},
		"due ones, not cached":  {"", -1, 40 * time.Minute, 1},
		"several are due again": {"", 0, 16 * time.Minute, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 16, delegation.Succinct)
				top, bins := &counting{Signer: e.ceremony.Online}, &counting{Signer: e.ceremony.Bins}
				e.cfg.Snapshot, e.cfg.Timestamp, e.cfg.Bins = top, top, bins
				e.cfg.TimestampLifetime, e.cfg.CacheBytes = c.lifetime, c.cache
				e.create()
				e.publish(onePerBin(t, 16)...)
				e.close()
				e.open()
				before := e.store.History("timestamp.json")
				top.calls.Store(0)
				bins.calls.Store(0)
				e.inject.Plan(func(call faulty.Call) faulty.Fault {
					if call.Op == "store.Get" && strings.Contains(call.Name, c.fails) {
						return faulty.Before
					}
					return faulty.None
				})
				var receipts []*repository.Receipt
				e.run(func() {
					for n, target := range onePerBin(t, 16) {
						target.Length++
						receipts = append(receipts, e.add(target))
						if n%4 == 3 {
							time.Sleep(time.Minute)
							s, err := e.repo.Status(t.Context())
							require.NoError(t, err)
							require.ErrorIs(t, s.Err, faulty.ErrInjected)
							require.Empty(t, s.Quarantined)
						}
					}
					for range 26 {
						time.Sleep(time.Minute)
						s, err := e.repo.Status(t.Context())
						require.NoError(t, err)
						require.ErrorIs(t, s.Err, faulty.ErrInjected)
						require.Empty(t, s.Quarantined)
					}
					n := e.counted()
					require.LessOrEqual(t, n["leader.Pending"], 40+c.renewals)
					require.Equal(t, c.renewals, n["leader.Append intent"])
					require.EqualValues(t, 2*c.renewals, top.calls.Load())
					require.Zero(t, bins.calls.Load())
					require.Len(t, e.store.History("timestamp.json"), len(before)+c.renewals)
					e.inject.Plan(nil)
					for _, r := range receipts {
						e.wait(r, repository.Published)
					}
					synctest.Wait()
					require.Equal(t, 1, e.counted()["leader.Append intent"])
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.NoError(t, s.Err)
				})
				if c.renewals > 0 {
					e.altered = "timestamp.json" // an audit finds that it is valid for very short
				}
				e.check()
				e.close()
			})
		})
	}
}

// A key service that fails now and then costs the signatures that failed, and no others: also
// in the first generation.
func TestSignatureThatFailsOnce(t *testing.T) {
	for name, failure := range map[string]error{
		"unavailable":          fmt.Errorf("key service: %w: throttled", keys.ErrUnavailable),
		"of which nobody knew": errors.New("key service: 500"),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 256, delegation.Succinct)
				every := &counting{Signer: e.ceremony.Bins, fail: func(n int64, _ []byte) error {
					if n%20 == 0 {
						return failure
					}
					return nil
				}}
				e.cfg.Bins = every
				e.create()
				require.EqualValues(t, 1+256+13, every.calls.Load(), "a probe, the bins, and those that failed")
				require.EqualValues(t, 1, len(e.store.History("timestamp.json")))
				e.check()
				e.close()
			})
		})
	}
}

// What is known to be permanent is not tried again.
func TestSignatureThatIsDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		top := &counting{Signer: e.ceremony.Online, fail: func(int64, []byte) error { return keys.ErrDenied }}
		e.cfg.Snapshot = top
		_, err := repository.Create(t.Context(), e.config(), e.ceremony.Documents())
		require.ErrorIs(t, err, keys.ErrDenied)
		require.EqualValues(t, 1, top.calls.Load())
	})
}

// A bin that can't be signed or written is left out with its items, and tried again ever more
// rarely. All others are published, by the signatures that were made for them.
func TestBinThatFails(t *testing.T) {
	for _, site := range []string{"sign", "write", "write and say it failed"} {
		t.Run(site, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 16, delegation.Succinct)
				targets := onePerBin(t, 16)
				failing := mustBins(t, 16).Name(3)
				var broken atomic.Bool
				bins := &counting{Signer: e.ceremony.Bins, fail: func(_ int64, message []byte) error {
					if broken.Load() && site == "sign" && bytes.Contains(message, []byte(`"`+targets[3].Path+`"`)) {
						return errors.New("the key service doesn't like it")
					}
					return nil
				}}
				e.cfg.Bins = bins
				e.create()
				e.publish(targets...)
				broken.Store(true)
				bins.calls.Store(0)
				e.inject.Plan(func(c faulty.Call) faulty.Fault {
					if broken.Load() && c.Op == "store.Create" && strings.Contains(c.Name, "."+failing+".") {
						switch site {
						case "write":
							return faulty.Before
						case "write and say it failed":
							return faulty.After
						}
					}
					return faulty.None
				})
				var stuck *repository.Receipt
				var goes []*repository.Receipt
				for n, target := range targets {
					target.Length++
					r := e.add(target)
					if n == 3 {
						stuck = r
					} else {
						goes = append(goes, r)
					}
				}
				e.run(func() {
					for _, r := range goes {
						require.EqualValues(t, 3, e.wait(r, repository.Published))
					}
					signed := bins.calls.Load()
					require.LessOrEqual(t, signed, int64(15+4), "nothing was signed twice")
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					require.ErrorContains(t, s.Err, failing)
					require.Empty(t, s.Quarantined)
					time.Sleep(30 * time.Minute)
					require.LessOrEqual(t, e.counted()["leader.Append intent"], 40)
					s, err = e.repo.Status(t.Context())
					require.NoError(t, err)
					require.ErrorContains(t, s.Err, failing)
					require.EqualValues(t, 3, s.Generation)
					broken.Store(false)
					e.wait(stuck, repository.Published)
				})
				require.Empty(t, e.leftover(), "files of no generation")
				e.check()
				e.close()
			})
		})
	}
}

// leftover are the names of bins and snapshots in the store that no generation has.
func (e *env) leftover() (names []string) {
	committed := map[string]bool{}
	for _, timestamp := range e.store.History("timestamp.json") {
		var version int
		_, rest, _ := strings.Cut(string(timestamp), `"version":`)
		// The last one is the timestamp's own.
		for ok := true; ok; {
			var next string
			if _, next, ok = strings.Cut(rest, `"version":`); ok {
				rest = next
			}
		}
		_, err := fmt.Sscanf(rest, "%d", &version)
		require.NoError(e.t, err)
		committed[fmt.Sprint(version)] = true
	}
	for _, name := range e.store.Names() {
		version, role, _ := strings.Cut(name, ".")
		if _, err := e.store.Get(e.t.Context(), name); err != nil {
			continue // deleted
		}
		if (strings.HasPrefix(role, "bins-") || role == "snapshot.json") && !committed[version] {
			names = append(names, name)
		}
	}
	return names
}

// Items that touch a bin that fails wait, and with them what other bins would say of them:
// those bins follow in the next generation, with all other items.
func TestBinThatFailsWithItsItems(t *testing.T) {
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		targets := onePerBin(t, 16)
		failing := mustBins(t, 16).Name(3)
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.Contains(c.Name, "."+failing+".") {
				return faulty.Before
			}
			return faulty.None
		})
		stuck := e.add(targets[3], targets[4])         // bins 3 and 4
		other := file(targets[4].Path+"-other", "1")   // any bin
		follows := e.add(targets[5], other)            // 5, and that one
		later := e.add(file(targets[4].Path, "newer")) // 4: after the one that waits
		var goes []*repository.Receipt
		for _, target := range targets[6:] {
			goes = append(goes, e.add(target))
		}
		e.run(func() {
			for _, r := range goes {
				e.wait(r, repository.Published)
			}
			e.wait(follows, repository.Published)
			time.Sleep(time.Minute)
			for _, r := range []*repository.Receipt{stuck, later} {
				o, err := e.repo.Outcome(t.Context(), r.ID())
				require.NoError(t, err)
				require.Equal(t, repository.Accepted, o.State)
			}
			e.inject.Plan(nil)
			gen := e.wait(stuck, repository.Published)
			require.Equal(t, gen, e.wait(later, repository.Published))
		})
		require.Empty(t, e.leftover())
		e.check()
	})
}

// A file that somebody planted under a coming name costs a number, and not the publisher.
func TestPlantedNames(t *testing.T) {
	for name, planted := range map[string]func(n int) string{
		"snapshots": func(n int) string { return fmt.Sprintf("%d.snapshot.json", n) },
		"bins":      func(n int) string { return fmt.Sprintf("%d.bins-0.json", n) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
				foreign := map[string]bool{}
				for n := 2; n < 300; n++ {
					foreign[planted(n)] = true
					require.NoError(t, e.store.Create(t.Context(), planted(n), []byte("planted")))
				}
				e.inject.Plan(nil)
				r := e.add(onePerBin(t, 2)...)
				e.run(func() { require.Less(t, e.wait(r, repository.Published), int64(700)) })
				require.LessOrEqual(t, e.counted()["leader.Append intent"], 11, "the step doubles")
				for name := range foreign {
					data, err := e.store.Get(t.Context(), name)
					require.NoError(t, err, "what others wrote stays")
					require.Equal(t, "planted", string(data))
				}
				for _, name := range e.leftover() {
					require.True(t, foreign[name], name)
				}
				r = e.add(file("a", "2"))
				gen := e.store.History("timestamp.json")
				e.run(func() { e.wait(r, repository.Published) })
				require.Len(t, e.store.History("timestamp.json"), len(gen)+1)
				for name := range foreign { // an audit would find them
					require.NoError(t, e.store.Delete(t.Context(), name))
				}
				e.check()
			})
		})
	}
}

// fullStore has room for so many bytes.
type fullStore struct {
	repository.Store
	mu      sync.Mutex
	free    int
	sizes   map[string]int
	creates int
	fails   int // of creates
}

func (s *fullStore) Create(ctx context.Context, name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.creates++
	if s.free < len(data) {
		s.fails++
		return fmt.Errorf("create %s: %w", name, errNoSpace)
	}
	if err := s.Store.Create(ctx, name, data); err != nil {
		return err
	}
	s.free -= len(data)
	s.sizes[name] = len(data)
	return nil
}

func (s *fullStore) Delete(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += s.sizes[name]
	delete(s.sizes, name)
	return s.Store.Delete(ctx, name)
}

var errNoSpace error = syscall.ENOSPC

// A store that fills up at any moment of a generation: each attempt gives back what it took,
// and the generation is published as soon as there is room for it.
func TestStoreThatFillsUp(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(5)
	for room := first; room < 26; room += step {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 16, delegation.Succinct)
				bins := &counting{Signer: e.ceremony.Bins}
				store := &fullStore{Store: e.store, free: 1 << 30, sizes: map[string]int{}}
				e.cfg.Bins, e.cfg.Store, e.cfg.Workers = bins, store, 4
				e.create()
				e.publish(files("x", 500)...)
				need := 0
				for name, size := range store.sizes {
					if strings.HasPrefix(name, "2.") {
						need += size
					}
				}
				part := need / 24
				store.free, store.creates = room*part, 0
				bins.calls.Store(0)
				receipt := e.add(onePerBin(t, 16)...)
				e.run(func() {
					time.Sleep(10 * time.Minute)
					full := room*part < need+16*200
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					if full {
						require.ErrorIs(t, s.Err, errNoSpace)
						require.Equal(t, room*part, store.free, "all was given back")
						attempts := s.Generation // unchanged
						require.EqualValues(t, 2, attempts)
						require.LessOrEqual(t, bins.calls.Load(), int64(20*16), "signatures of some 17 attempts")
						require.LessOrEqual(t, store.creates, 20*17)
					}
					store.mu.Lock()
					store.free += need + 16*400 - min(room*part, need)
					store.mu.Unlock()
					bins.calls.Store(0)
					e.wait(receipt, repository.Published)
					if full {
						require.EqualValues(t, 16, bins.calls.Load())
					}
				})
				require.Empty(t, e.leftover())
				e.check()
				e.close()
			})
		})
	}
}

// refusing is a journal that can't take a seal, and says so before it wrote anything, as on a
// full disk.
type refusing struct {
	repository.Journal
	seals *atomic.Int64 // that it refuses
}

type refusingLead struct {
	repository.Lead
	seals *atomic.Int64
}

func (j refusing) Lead(ctx context.Context) (repository.Lead, int64, error) {
	lead, epoch, err := j.Journal.Lead(ctx)
	return refusingLead{lead, j.seals}, epoch, err
}

func (l refusingLead) Append(ctx context.Context, records ...ledger.Record) error {
	if records[0].Kind() == ledger.KindSeal && l.seals.Add(-1) >= 0 {
		return errNoSpace
	}
	return l.Lead.Append(ctx, records...)
}

// A seal that the journal refused is nowhere: the files of its generation go as well. One of
// which that isn't known stays, with its files.
func TestSealThatIsRefused(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.close()
		cfg := e.config()
		var seals atomic.Int64
		cfg.Journal = refusing{cfg.Journal, &seals}
		var err error
		e.repo, err = repository.Open(t.Context(), cfg)
		require.NoError(t, err)
		seals.Store(5)
		e.publish(file("a", "1"))
		require.Len(t, e.store.History("timestamp.json"), 2)
		require.Empty(t, e.leftover())
		e.close()

		e.open()
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Name == "seal" {
				return faulty.After
			}
			return faulty.None
		})
		r := e.add(file("a", "2"))
		require.ErrorIs(t, e.repo.Run(t.Context()), repository.ErrUnknown)
		require.NoError(t, e.repo.Close())
		require.Zero(t, e.counted()["store.Delete"])
		e.inject.Plan(nil)
		e.open()
		o, err := e.repo.Outcome(t.Context(), r.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		e.check()
	})
}

// Reads that fail now and then make no storm: a bin that was left out doesn't begin a generation
// of its own each time, and in the end all is published.
func TestFlappingReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		e.cfg.CacheBytes = -1
		e.create()
		all := onePerBin(t, 16)
		e.publish(all...)
		n := 0
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Get" && strings.Contains(c.Name, "bins-") {
				if n++; n%3 != 0 {
					return faulty.Before
				}
			}
			return faulty.None
		})
		e.run(func() {
			var receipts []*repository.Receipt
			for k := range 20 {
				for _, target := range all {
					receipts = append(receipts, e.add(changed(target, k+1)))
				}
				time.Sleep(time.Minute)
			}
			require.LessOrEqual(t, e.counted()["leader.Append intent"], 20*8)
			e.inject.Plan(nil)
			for _, r := range receipts {
				_, err := r.Wait(t.Context())
				require.NoError(t, err)
			}
			synctest.Wait()
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Err)
			require.Empty(t, s.Quarantined)
		})
		require.Empty(t, e.leftover())
		e.check()
		e.close()
	})
}

// Attempts that fail leave what is published in the cache: no bin is read again for the next one.
func TestFailedAttemptKeepsTheCache(t *testing.T) {
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		targets := onePerBin(t, 16)
		e.publish(targets...)
		var failing atomic.Value
		failing.Store("snapshot")
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.Contains(c.Name, failing.Load().(string)) {
				return faulty.Before
			}
			return faulty.None
		})
		var receipts []*repository.Receipt
		for _, target := range targets {
			target.Length++
			receipts = append(receipts, e.add(target))
		}
		e.run(func() {
			time.Sleep(time.Minute)
			require.Greater(t, e.counted()["leader.Append intent"], 4)
			failing.Store("." + mustBins(t, 16).Name(3) + ".")
			time.Sleep(5 * time.Minute)
			failing.Store("nothing")
			for _, r := range receipts {
				e.wait(r, repository.Published)
			}
		})
		for _, c := range e.inject.Calls() {
			require.False(t, c.Op == "store.Get" && strings.HasPrefix(c.Name, "2.bins-"), c.Name)
		}
		e.check()
	})
}
