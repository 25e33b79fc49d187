package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	_ "github.com/bindery-tuf/bindery/repository/dirjournal" // for ondisk
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

const day = 24 * time.Hour

// The caches and clients of this year.
const (
	cacheAge  = time.Hour
	clientRun = 2 * time.Hour
)

// world is the repository, with all that happens to it. Its methods are the driver's, but for fail.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	began    time.Time
	ceremony *repotest.Ceremony
	shop     *shop
	disk     *crashfs.Disk // of the journal
	book     *book
	root     []byte // the first one
	signers  map[string][]keys.Signer
	incoming map[string]keys.Signer // during a rotation, the new ones
	rotating bool

	repo    *repository.Repository
	ended   chan struct{} // closed when Run has returned
	stop    context.CancelFunc
	items   int
	uploads int

	signatures atomic.Int64
	updates    atomic.Int64
	deceived   atomic.Bool // an attacker publishes
	quit       atomic.Bool // clients end

	mu       sync.Mutex
	failures []error
}

// fail notes a failure.
func (w *world) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failures = append(w.failures, fmt.Errorf("day %d: %w", int(time.Since(w.began)/day), err))
}

// counted is a signer whose signatures are counted.
type counted struct {
	keys.Signer
	n *atomic.Int64
}

func (s counted) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.n.Add(1)
	return s.Signer.Sign(ctx, message)
}

func (w *world) config(journal repository.Journal) repository.Config {
	signers := map[string][]keys.Signer{}
	for role, all := range w.signers {
		for _, s := range all {
			signers[role] = append(signers[role], counted{s, &w.signatures})
		}
	}
	return repository.Config{
		Store: w.shop.process(), Journal: journal, Signers: signers,
		BinLifetime: 28 * day, RenewalsPerMinute: max(*bins/16, 8),
		CacheAge: cacheAge, ClientRun: clientRun, MaxDelay: -1,
		DeleteTarget: func(_ context.Context, t ledger.RemovedTarget) error {
			w.book.remove(t.Path, t.Hashes)
			return nil
		},
	}
}

// open returns a repository as a new process does.
func (w *world) open(open func(context.Context, repository.Config) (*repository.Repository, error)) error {
	journal, err := ondisk.Journal.OpenOrCreate(w.disk.Start(), "/journal")
	if err != nil {
		return err
	}
	w.repo, err = open(w.t.Context(), w.config(journal))
	if err != nil {
		return errors.Join(err, journal.Close())
	}
	return nil
}

// run lets the repository publish.
func (w *world) run() {
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.ended = stop, make(chan struct{})
	repo, ended := w.repo, w.ended
	go func() {
		defer close(ended)
		_ = repo.Run(ctx) // after a loss of power it fails, as it must
	}()
}

func (w *world) start() {
	require.NoError(w.t, w.open(repository.Open))
	w.run()
}

// end ends the process, unless its power went.
func (w *world) end() {
	w.stop()
	<-w.ended
	if err := w.repo.Close(); err != nil && !lostPower(err) {
		w.fail(err)
	}
	w.shop.end()
	w.disk.End()
}

func (w *world) restart() {
	w.end()
	w.start()
}

// cutPower lets the power go in the middle of something.
func (w *world) cutPower() {
	repo, stop := w.repo, w.stop
	w.shop.cutAfter(1+w.rng.IntN(300), func() {
		w.disk.PowerCut(w.disk.AnyCut())
		stop()
		go repo.Close() // what waits for the process must notice
	})
}

// recover starts the publisher again if its power went.
func (w *world) recover() {
	w.end()
	w.start()
}

// lostPower reports whether an error is that of a process whose power went.
func lostPower(err error) bool {
	return errors.Is(err, repository.ErrClosed) || errors.Is(err, errNoPower) || errors.Is(err, crashfs.ErrKilled)
}

// insist repeats what may fail because the power goes, with a new process each time.
func (w *world) insist(f func(repo *repository.Repository) error) {
	for range 5 {
		err := f(w.repo)
		if err == nil {
			return
		}
		if !lostPower(err) {
			w.fail(err)
			return
		}
		w.recover()
	}
	w.fail(errors.New("it doesn't succeed"))
}

// target makes a target with a new content.
func (w *world) target(path string) roles.Target {
	w.uploads++
	sum := sha256.Sum256([]byte(strconv.Itoa(w.uploads)))
	return roles.Target{Path: path, Length: 1 + int64(w.rng.IntN(1<<20)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// submit publishes items, and notes in the book what they did.
func (w *world) submit(items ...repository.Item) {
	for i := range items {
		w.items++
		items[i].ID = "item-" + strconv.Itoa(w.items)
		for _, t := range items[i].Add {
			w.book.begin(t.Path)
			w.book.upload(t)
		}
		w.book.begin(items[i].Remove...)
	}
	w.insist(func(repo *repository.Repository) error {
		ctx := w.t.Context()
		var receipts []*repository.Receipt
		for _, it := range items {
			r, err := repo.Submit(ctx, it)
			if err != nil {
				return err
			}
			receipts = append(receipts, r)
		}
		var outcomes []repository.Outcome
		for _, r := range receipts {
			o, err := r.Wait(ctx)
			if err != nil {
				return err
			}
			outcomes = append(outcomes, o)
		}
		for i, it := range items {
			if o := outcomes[i]; o.State != repository.Published {
				w.fail(fmt.Errorf("item %s: %v", it.ID, o))
			}
			for _, t := range it.Add {
				w.book.published(outcomes[i].Generation, t)
			}
			for _, p := range it.Remove {
				w.book.published(outcomes[i].Generation, roles.Target{Path: p})
			}
		}
		return nil
	})
}

func (w *world) newPath() string {
	return fmt.Sprintf("packages/%x/%d-%d.whl", w.rng.Uint32()&0xff, len(w.book.lives), w.rng.Uint32())
}

// fill publishes the targets of the first day.
func (w *world) fill(targets int) {
	for targets > 0 {
		var items []repository.Item
		for len(items) < 20 && targets > 0 {
			var it repository.Item
			for len(it.Add) < 1000 && targets > 0 {
				it.Add = append(it.Add, w.target(w.newPath()))
				targets--
			}
			items = append(items, it)
		}
		w.submit(items...)
	}
}

// upload is what one visit of an uploader does: it adds files, and replaces and removes a few.
func (w *world) upload() {
	var items []repository.Item
	seen := map[string]bool{"": true}
	for range 1 + w.rng.IntN(6) {
		var it repository.Item
		for range 1 + w.rng.IntN(3) {
			it.Add = append(it.Add, w.target(w.newPath()))
		}
		if p := w.book.pick(w.rng); w.rng.IntN(3) == 0 && !seen[p] {
			seen[p] = true
			it.Add = append(it.Add, w.target(p))
		}
		if p := w.book.pick(w.rng); w.rng.IntN(2) == 0 && !seen[p] {
			seen[p] = true
			it.Remove = append(it.Remove, p)
		}
		items = append(items, it)
	}
	w.submit(items...)
}

// install installs what a ceremony made.
func (w *world) install(change func(c *repotest.Ceremony)) {
	w.ceremony.Now = time.Now()
	change(w.ceremony)
	documents := w.ceremony.Documents()
	w.insist(func(repo *repository.Repository) error { return repo.Install(w.t.Context(), documents) })
}

// introduce installs documents that name a new online key beside each old one.
func (w *world) introduce() {
	c := w.ceremony
	w.incoming = map[string]keys.Signer{"bins-*": c.NewEd25519(), metadata.SNAPSHOT: c.NewEd25519(), metadata.TIMESTAMP: c.NewEd25519()}
	w.install(func(c *repotest.Ceremony) {
		c.NextRoot(func(r *roles.RootSpec) {
			r.Snapshot = repotest.Of(1, w.incoming[metadata.SNAPSHOT], w.signers[metadata.SNAPSHOT][0])
			r.Timestamp = repotest.Of(1, w.incoming[metadata.TIMESTAMP], w.signers[metadata.TIMESTAMP][0])
		})
		c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, w.incoming["bins-*"], w.signers["bins-*"][0]) })
	})
}

// rotate configures the new keys beside the old ones, and begins the rotations.
func (w *world) rotate() {
	for role, s := range w.incoming {
		w.signers[role] = []keys.Signer{s, w.signers[role][0]}
	}
	w.restart()
	for role := range w.signers {
		w.insist(func(repo *repository.Repository) error { return repo.Rotate(w.t.Context(), role) })
	}
	w.rotating = true
}

// dropOldKeys ends the rotations once the publisher says that it may be done.
func (w *world) dropOldKeys() {
	if !w.rotating {
		return
	}
	var status repository.Status
	w.insist(func(repo *repository.Repository) (err error) {
		status, err = repo.Status(w.t.Context())
		return err
	})
	for _, r := range status.Rotations {
		if r.State != repository.RotationReady {
			return
		}
	}
	w.say("people drop the old keys")
	w.trustOnly(w.incoming)
	documents := w.ceremony.Documents()
	w.insist(func(repo *repository.Repository) error {
		err := repo.Install(w.t.Context(), documents)
		for n := 0; errors.Is(err, repository.ErrLocksOut) && n < 24*60; n++ { // a new process waits again
			time.Sleep(time.Minute)
			err = repo.Install(w.t.Context(), documents)
		}
		return err
	})
	w.restart()
	w.rotating = false
}

// trustOnly makes documents that name only these online keys, with which the next process signs.
func (w *world) trustOnly(signers map[string]keys.Signer) {
	w.ceremony.Now = time.Now()
	w.ceremony.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, signers[metadata.SNAPSHOT]), repotest.Of(1, signers[metadata.TIMESTAMP])
	})
	w.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, signers["bins-*"]) })
	for role, s := range signers {
		w.signers[role] = []keys.Signer{s}
	}
}

// attack lets an attacker publish for some hours, and recovers as package repository's comment says:
// see "After a compromise".
func (w *world) attack() {
	w.deceived.Store(true)
	w.end()
	attacker := repotest.Attacker{
		Bins: w.signers["bins-*"][0], Online: w.signers[metadata.SNAPSHOT][0], Timestamp: w.signers[metadata.TIMESTAMP][0],
		Store: w.shop.process(), Expires: time.Now().Add(7 * day),
	}
	data, _ := w.shop.read("timestamp.json")
	timestamp, err := metadata.Timestamp().FromBytes(data)
	require.NoError(w.t, err)
	attacker.Publish(w.t, timestamp.Signed.Version+7, func(bin string) []roles.TargetEdit {
		evil := w.target("packages/evil.whl")
		return []roles.TargetEdit{{Path: evil.Path, Target: &evil}}
	})
	time.Sleep(5 * time.Hour)

	w.rotating = false // both keys go
	w.say("it is noticed: people name new keys, and the publisher restores what the ledger says")
	c := w.ceremony
	w.trustOnly(map[string]keys.Signer{"bins-*": c.NewEd25519(), metadata.SNAPSHOT: c.NewEd25519(), metadata.TIMESTAMP: c.NewEd25519()})
	documents := c.Documents()
	require.NoError(w.t, w.open(func(ctx context.Context, cfg repository.Config) (*repository.Repository, error) {
		return repository.RestoreStore(ctx, cfg, repository.Restoration{Documents: documents})
	}))
	w.run()
	time.Sleep(cacheAge + clientRun + time.Minute) // caches serve what the attacker published, or names that are gone
	w.deceived.Store(false)
	w.insist(func(repo *repository.Repository) error {
		for _, err := range repo.Sweep(w.t.Context(), false) {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// archive lets the journal's history begin now.
func (w *world) archive() {
	w.insist(func(repo *repository.Repository) error {
		_, err := repo.Archive(w.t.Context(), repository.Archive{Delete: true})
		return err
	})
}

// visit lets a client update until the year is over.
func (w *world) visit(c *client, wg *sync.WaitGroup) {
	c.dir = filepath.Join(w.t.TempDir(), c.name)
	c.shop, c.book, c.root, c.updates, c.deceived = w.shop, w.book, w.root, &w.updates, &w.deceived
	c.rng = rand.New(rand.NewPCG(w.rng.Uint64(), 0))
	wg.Go(func() {
		time.Sleep(time.Duration(c.rng.Int64N(int64(min(c.every, day)))))
		for !w.quit.Load() {
			before := w.deceived.Load()
			if err := c.update(); err != nil && !before && !w.deceived.Load() {
				w.fail(fmt.Errorf("client %s: %w", c.name, err))
			}
			next := time.Now().Add(c.every - c.run)
			for !w.quit.Load() && time.Now().Before(next) {
				time.Sleep(min(time.Until(next), day))
			}
		}
	})
}

// needed returns how many bytes the newest generation takes, and how many more those that clients may
// still use. All these files must be there.
func (w *world) needed() (live, grace int64) {
	now := time.Now()
	w.shop.mu.Lock()
	swaps := slices.Clone(w.shop.swaps)
	w.shop.mu.Unlock()
	counted := map[string]bool{}
	count := func(name string) (size int64) {
		data, ok := w.shop.read(name)
		if !ok {
			w.fail(fmt.Errorf("%s is gone, and clients may need it", name))
		}
		if !counted[name] {
			counted[name] = true
			size = int64(len(data))
		}
		return size
	}
	slices.Reverse(swaps)
	for i, swap := range swaps {
		if i > 0 && now.Sub(swap.superseded) > cacheAge+clientRun-time.Second {
			break
		}
		var sum int64
		for _, name := range namesOf(w.t, w.shop, swap.file) {
			sum += count(name)
		}
		if i > 0 {
			grace += sum
			continue
		}
		live = sum + count("timestamp.json")
		for n := 1; ; n++ {
			name := fmt.Sprintf("%d.root.json", n)
			if _, ok := w.shop.read(name); !ok {
				break
			}
			live += count(name)
		}
	}
	return live, grace
}
