package service

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// The variable tells the test binary to be the publisher that gets killed.
const childDir = "BINDERY_TEST_SERVICE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child publishes the files that its standard input names, and prints the path of each that it
// accepted, until it is killed.
func child(dir string) error {
	s, err := Start(context.Background(), Config{Open: newSite(repotest.Must{}, dir).open})
	if err != nil {
		return err
	}
	fmt.Println("started")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if _, err := s.Add(context.Background(), file(lines.Text(), lines.Text())); err != nil {
			return err
		}
		fmt.Println(lines.Text())
	}
	return errors.New("it was not killed")
}

// site is a repository that can be opened again and again, in a directory.
type site struct {
	dir      string
	fsys     disk.FS // of the journal
	ceremony *repotest.Ceremony

	mu     sync.Mutex
	online keys.Signer // handed out by open
	delay  time.Duration
	queue  int // MaxPending
}

// newSite has the same keys each time that it is called.
func newSite(t require.TestingT, dir string) *site {
	layout, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewSeededCeremony(t, layout, time.Now(), [32]byte{5})
	return &site{dir: dir, fsys: disk.OS(), ceremony: c, online: c.Online, delay: -1}
}

func (s *site) store() string   { return filepath.Join(s.dir, "metadata") }
func (s *site) journal() string { return filepath.Join(s.dir, "journal") }

func (s *site) use(online keys.Signer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.online = online
}

func (s *site) open(context.Context) (repository.Config, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	store, err := dirstore.OpenOrCreate(s.store())
	if err != nil {
		return repository.Config{}, err
	}
	journal, err := dirjournal.OpenOrCreateFS(s.fsys, s.journal())
	if err != nil {
		return repository.Config{}, err
	}
	return repository.Config{
		Store: store, Journal: journal, MaxDelay: s.delay, MaxPending: s.queue, CacheAge: -1, ClientRun: -1, CollectPerMinute: -1,
		Bins: s.ceremony.Bins, Snapshot: s.online, Timestamp: s.online,
	}, nil
}

func (s *site) documents(context.Context) (repository.Documents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ceremony.Documents(), nil
}

func (s *site) read(context.Context) (repository.Store, repository.Reader, error) {
	store, err := dirstore.Open(s.store())
	if err != nil {
		return nil, nil, err
	}
	journal, err := dirjournal.OpenReader(s.journal())
	return store, journal, err
}

func (s *site) config() Config { return Config{Open: s.open, Documents: s.documents, Read: s.read} }

// history is what the journal of a site has, once it is closed.
type history struct {
	published  map[string]int // how often an item was published, by ID
	timestamps [][]byte
}

func (s *site) history(t *testing.T) history {
	t.Helper()
	journal, err := dirjournal.OpenReader(s.journal())
	require.NoError(t, err)
	h := history{published: map[string]int{}}
	for step, err := range journal.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		if step.Record == nil {
			continue
		}
		if seal, ok := step.Record.Body.(*ledger.Seal); ok { // each is committed in the end
			h.timestamps = append(h.timestamps, seal.Swaps[0].New)
			for _, o := range seal.Outcomes {
				if o.State == repository.Published {
					h.published[o.ID]++
				}
			}
		}
	}
	return h
}

// check lets clients judge a site whose service is closed.
func (s *site) check(t *testing.T, want []roles.Target, gone ...string) {
	t.Helper()
	store, err := dirstore.Open(s.store())
	require.NoError(t, err)
	repotest.CheckRepository(t, repotest.Published{
		Store: store, Timestamps: s.history(t).timestamps, Want: want, Gone: gone, Now: time.Now(),
	})
}

// memory is a repository in memory whose calls can be made to fail.
type memory struct {
	store    *storetest.MemStore
	journal  *storetest.MemJournal
	inject   *faulty.Injector
	ceremony *repotest.Ceremony
	cfg      repository.Config

	mu     sync.Mutex
	opens  int                   // how often open was called
	fail   error                 // what open fails with
	handle *storetest.MemJournal // the newest
}

// failWith makes open fail from now on, or not.
func (m *memory) failWith(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}

func (m *memory) opened() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.opens
}

// loseJournal makes all that uses the newest handle fail with ErrClosed.
func (m *memory) loseJournal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handle.Close()
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	layout, err := delegation.New("bins", 8, delegation.Succinct)
	require.NoError(t, err)
	return &memory{
		store: storetest.NewStore(), journal: storetest.NewJournal(), inject: &faulty.Injector{All: true},
		ceremony: repotest.NewSeededCeremony(t, layout, time.Now(), [32]byte{6}),
		cfg:      repository.Config{MaxDelay: -1, CacheAge: -1, ClientRun: -1, CollectPerMinute: -1},
	}
}

func (m *memory) open(context.Context) (repository.Config, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opens++
	m.handle = m.journal.Handle()
	cfg := m.cfg
	cfg.Store = faulty.Store{Injector: m.inject, Inner: m.store}
	cfg.Journal = faulty.Journal{Injector: m.inject, Inner: m.handle}
	if cfg.Bins == nil {
		cfg.Bins, cfg.Snapshot, cfg.Timestamp = m.ceremony.Bins, m.ceremony.Online, m.ceremony.Online
	}
	if m.fail != nil {
		return repository.Config{}, errors.Join(m.fail, cfg.Journal.Close())
	}
	return cfg, nil
}

func (m *memory) documents(context.Context) (repository.Documents, error) {
	return m.ceremony.Documents(), nil
}

func (m *memory) config() Config { return Config{Open: m.open, Documents: m.documents} }

func (m *memory) check(t *testing.T, want []roles.Target, gone ...string) {
	t.Helper()
	repotest.CheckRepository(t, repotest.Published{
		Store: m.store, Timestamps: m.store.History("timestamp.json"), Want: want, Gone: gone, Now: time.Now(),
	})
}

// file makes a target of some content.
func file(path, content string) roles.Target {
	sum := sha256.Sum256([]byte(content))
	return roles.Target{Path: path, Length: int64(len(content)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// started fails the test if the service can't be started, and closes it at the end.
func started(t *testing.T, cfg Config) *Service {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

// publish adds a target and waits until clients can see it.
func publish(t *testing.T, s *Service, target roles.Target) {
	t.Helper()
	r, err := s.Add(t.Context(), target)
	require.NoError(t, err)
	o, err := r.Wait(t.Context())
	require.NoError(t, err)
	require.Equal(t, repository.Published, o.State)
}

// until waits until a service has a repository, or the reason why it has none fits.
func until(t *testing.T, s *Service, fits func(repo *repository.Repository, reason error) bool) {
	t.Helper()
	for {
		s.mu.Lock()
		repo, reason, changed := s.repo, s.reason, s.changed
		s.mu.Unlock()
		if fits(repo, reason) {
			return
		}
		<-changed
	}
}

func isOpen(repo *repository.Repository, _ error) bool { return repo != nil }

func because(target error) func(*repository.Repository, error) bool {
	return func(_ *repository.Repository, reason error) bool { return errors.Is(reason, target) }
}

func mustKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

// requireProblem requires that one of the problems in a service's Status begins so and has these
// texts.
func requireProblem(t *testing.T, s *Service, begins string, texts ...string) {
	t.Helper()
	status, err := s.Status(t.Context())
	require.NoError(t, err)
	for _, p := range status.Problems {
		if line := fmt.Sprintf("%s: %s: %s", p.Severity, p.What, p.Advice); strings.HasPrefix(line, begins) {
			for _, text := range texts {
				require.Contains(t, line, text)
			}
			return
		}
	}
	require.Failf(t, "no such problem", "%s in %+v", begins, status.Problems)
}
