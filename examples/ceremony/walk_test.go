package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// The years of a repository: a ceremony of 3 out of 5 holders, one of whom has lost
// the key; a new holder; new one-time and online keys; an emergency. After each, the
// finished documents are published, while clients refresh between every two writes.
func TestWalk(t *testing.T) {
	s := newStage(t)
	s.keygen("Ada", "Bob", "Cleo", "Dora", "Emil", "web", "bins")
	s.init("3", "Ada", "Bob", "Cleo", "Dora", "Emil")

	// Emil's key is lost before the first signature. Three of the others do.
	require.NoError(t, os.Remove(s.path("Emil.key")))
	screen, _ := s.run(incomplete, "", "status", "-dir", s.path("repo"))
	require.Contains(t, screen, "for root 1  0 of 3    3 more needed")
	p := s.merge("Dora", "Ada", "Bob")
	require.Equal(t, [][]string{{s.document("1.root"), s.document("1.targets"), s.document("1.bins")}}, p.Publish)
	s.verify(1)
	w := s.publishFirst("web", "bins")

	// A new holder in the place of the one whose key is lost.
	s.keygen("Fay")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "Emil's key is lost", "-replace", "Emil="+s.card("Fay"))
	_, screen = s.sign("Cleo", "-trust-root", s.document("1.root"), "-no-notebook")
	t.Logf("the screen of a holder who signs for the first time:\n%s", screen)
	s.showsKey(screen, "root", "key added", "Fay")
	s.showsKey(screen, "root", "key removed", "Emil")
	p = s.merge("Cleo", "Ada", "Bob")
	require.Equal(t, [][]string{{s.document("2.root")}}, p.Publish)
	s.verify(2)
	w.install(p)

	// New one-time keys, and a new online key, in one ceremony of two roots.
	s.keygen("web2", "bins2")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "The yearly renewal", "-new-one-time", "2",
		"-add-online", s.card("web2"), "-drop-online", "web", "-add-online-bins", s.card("bins2"), "-drop-online-bins", "bins")
	_, screen = s.sign("Fay", "-trust-root", s.document("2.root"), "-no-notebook")
	require.Contains(t, screen, "BEWARE: role timestamp: before this root is published")
	p = s.merge("Fay", "Dora", "Ada")
	require.Equal(t, [][]string{{s.document("3.root")}, {s.document("2.targets"), s.document("2.bins")}, {s.document("4.root")}}, p.Publish)
	s.verify(4)
	steps := p.Publish
	p.Publish = steps[:1]
	w.install(p)
	w.reopen("web2", "bins2")
	require.ErrorContains(t, w.repo.Install(t.Context(), w.read(steps[2])), `root version 4: role "targets": 0 of 2 signatures`, "too early")
	p.Publish = steps[1:]
	w.install(p)

	// The emergency: Ada's key and the online keys are in wrong hands.
	s.keygen("Gus", "web3", "bins3")
	_, refusal := s.run(refused, "", "request", "-dir", s.path("repo"), "-reason", "Break-in of Tuesday",
		"-replace", "Ada="+s.card("Gus"), "-drop-online", "web2", "-add-online", s.card("web3"),
		"-new-one-time", "2", "-drop-online-bins", "bins2", "-add-online-bins", s.card("bins3"), "-threshold", "6")
	require.Contains(t, refusal, "a threshold of 6 with 5 keys")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "Break-in of Tuesday", "-compromise",
		"-replace", "Ada="+s.card("Gus"), "-drop-online", "web2", "-add-online", s.card("web3"),
		"-new-one-time", "2", "-drop-online-bins", "bins2", "-add-online-bins", s.card("bins3"))
	_, screen = s.sign("Bob")
	require.Contains(t, screen, "A COMPROMISE IS DECLARED")
	p = s.merge("Bob", "Cleo", "Fay")
	require.Equal(t, [][]string{{s.document("5.root"), s.document("3.targets"), s.document("3.bins")}}, p.Publish)
	s.verify(5)
	w.reopen("web3", "bins3")
	w.mayFail = 1
	require.NoError(t, w.repo.InstallAfterCompromise(t.Context(), w.read(p.Publish[0])))
	require.Equal(t, 0, w.mayFail, "between root and timestamp clients fail, once")
	w.check()
	t.Logf("%d times two clients refreshed, one of which knew root 1 only", w.visits)
}

func (s *stage) document(name string) string { return s.path("repo/documents/" + name + ".json") }

// verify has the program verify from each root, by Bindery's code and go-tuf's.
func (s *stage) verify(roots int) {
	s.t.Helper()
	screen, _ := s.run(done, "", "verify", "-dir", s.path("repo"))
	who := fmt.Sprintf("any of the %d roots", roots)
	if roots == 1 {
		who = "the root"
	}
	require.Contains(s.t, screen, "\nVERIFIED\n\n  A client that trusts "+who+" comes")
}

// watched is a repository whose clients refresh before and after every write.
type watched struct {
	*stage
	store      *storetest.MemStore
	journal    *storetest.MemJournal
	repo       *repository.Repository
	cfg        repository.Config
	timestamps [][]byte
	want       []roles.Target
	dir        string // of a client that comes back
	mu         sync.Mutex
	visits     int
	mayFail    int // how often clients may fail from now on
}

func (s *stage) publishFirst(online, bins string) *watched {
	s.t.Helper()
	w := &watched{stage: s, store: storetest.NewStore(), journal: storetest.NewJournal(), dir: s.t.TempDir()}
	w.configure(online, bins)
	all := []string{s.document("1.root"), s.document("1.targets"), s.document("1.bins")}
	var err error
	w.repo, err = repository.Create(s.t.Context(), w.cfg, w.read(all))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = w.cfg.Journal.Close() })
	w.add("first")
	w.check()
	return w
}

func (w *watched) configure(online, bins string) {
	w.t.Helper()
	key := func(name string) keys.Signer {
		data, err := os.ReadFile(w.path(name + ".key"))
		require.NoError(w.t, err)
		require.Contains(w.t, readKeys, string(data)+"\x00"+name)
		return readKeys[string(data)+"\x00"+name]
	}
	w.cfg = repository.Config{
		Store: watchedStore{w.store, w}, Journal: w.journal.Handle(), Bins: key(bins), MaxDelay: -1,
		Now:              func() time.Time { return w.now },
		CollectPerMinute: -1,
		CacheAge:         -1, ClientRun: -1, // every client asks the store itself, after each write
	}
	w.cfg.Snapshot = key(online)
	w.cfg.Timestamp = w.cfg.Snapshot
}

// reopen has the publisher go on with other keys.
func (w *watched) reopen(online, bins string) {
	w.t.Helper()
	require.NoError(w.t, w.repo.Close())
	w.configure(online, bins)
	w.cfg.UncheckedKeys = true // the documents that name them are installed next
	var err error
	w.repo, err = repository.Open(w.t.Context(), w.cfg)
	require.NoError(w.t, err)
}

// read reads the files of documents that belong together.
func (w *watched) read(names []string) repository.Documents {
	w.t.Helper()
	d := repository.Documents{Roles: map[string][]byte{}}
	for _, name := range names {
		data, err := os.ReadFile(name)
		require.NoError(w.t, err)
		switch {
		case strings.HasSuffix(name, ".root.json"):
			d.Roots = append(d.Roots, data)
		case strings.HasSuffix(name, ".targets.json"):
			d.Roles["targets"] = data
		default:
			d.Roles["bins"] = data
		}
	}
	return d
}

// install publishes what a ceremony made, step by step, and uploads after each.
func (w *watched) install(p merged) {
	w.t.Helper()
	for _, step := range p.Publish {
		require.NoErrorf(w.t, w.repo.Install(w.t.Context(), w.read(step)), "%v", step)
		w.add(path.Base(step[0]))
	}
	w.check()
}

// add uploads a file and publishes it.
func (w *watched) add(name string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- w.repo.Run(ctx) }()
	target := roles.Target{Path: name, Length: 1, Hashes: map[string]string{"sha256": strings.Repeat("ab", 32)}}
	receipt, err := w.repo.Add(w.t.Context(), target)
	require.NoError(w.t, err)
	_, err = receipt.Wait(w.t.Context())
	require.NoError(w.t, err)
	cancel()
	require.NoError(w.t, <-stopped)
	w.want = append(w.want, target)
}

func (w *watched) check() {
	w.t.Helper()
	require.Positive(w.t, w.visits)
	repotest.CheckRepository(w.t, repotest.Published{Store: w.store, Timestamps: w.timestamps, Want: w.want, Now: w.now})
}

// watchedStore has clients refresh before and after each write.
type watchedStore struct {
	*storetest.MemStore
	w *watched
}

func (s watchedStore) Create(ctx context.Context, name string, data []byte) error {
	err := s.MemStore.Create(ctx, name, data)
	s.w.visit("after Create " + name)
	return err
}

func (s watchedStore) Swap(ctx context.Context, name string, old, new []byte) error {
	err := s.MemStore.Swap(ctx, name, old, new)
	if err == nil {
		s.w.timestamps = append(s.w.timestamps, new)
	}
	s.w.visit("after Swap " + name)
	return err
}

// visit has a client that knows only root 1 refresh, and one that was here before.
func (w *watched) visit(when string) {
	w.mu.Lock() // bins are written several at a time
	defer w.mu.Unlock()
	if len(w.timestamps) == 0 {
		return // nothing is public yet
	}
	err := errors.Join(w.refresh(w.t.TempDir()), w.refresh(w.dir))
	w.visits++
	if err != nil && w.mayFail > 0 {
		w.mayFail--
		return
	}
	if err != nil {
		w.t.Errorf("a client %s: %v", when, err)
	}
}

func (w *watched) refresh(dir string) error {
	root, err := w.store.Get(context.Background(), "1.root.json")
	if err != nil {
		return err
	}
	cfg, err := config.New("https://repository.invalid/metadata", root)
	if err != nil {
		return err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir, cfg.Fetcher = dir, dir, fromStore{w.store}
	client, err := updater.New(cfg)
	if err != nil {
		return err
	}
	client.UnsafeSetRefTime(w.now)
	if err := client.Refresh(); err != nil {
		return err
	}
	for _, t := range w.want {
		if _, err := client.GetTargetInfo(t.Path); err != nil {
			return err
		}
	}
	return nil
}

// fromStore gives clients what is in a store.
type fromStore struct{ *storetest.MemStore }

func (f fromStore) DownloadFile(url string, _ int64, _ time.Duration) ([]byte, error) {
	data, err := f.Get(context.Background(), path.Base(url))
	if errors.Is(err, repository.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: url}
	}
	return data, err
}
