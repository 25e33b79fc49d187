package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// site is a repository on disk.
type site struct {
	dir          string
	layout       delegation.Bins
	bins, online key
	docs         repository.Documents
	now          time.Time // stands still: no bin is due by chance
	serial       uint32    // of the targets added so far
}

// newSite makes keys and offline documents; nothing is on disk.
func newSite(dir string, bins int) (*site, error) {
	s := &site{dir: dir, now: time.Now().UTC().Truncate(time.Second)}
	var err error
	if s.layout, err = delegation.New("bins", bins, delegation.Succinct); err != nil {
		return nil, err
	}
	if s.bins, err = ed25519Key(); err != nil {
		return nil, err
	}
	if s.online, err = p256Key(); err != nil {
		return nil, err
	}
	c := repotest.NewCeremony(repotest.Must{}, s.layout, s.now)
	c.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, s.online.signer), repotest.Of(1, s.online.signer)
	})
	c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, s.bins.signer) })
	s.docs = c.Documents()
	return s, nil
}

func (s *site) metadata() string { return filepath.Join(s.dir, "metadata") }
func (s *site) journal() string  { return filepath.Join(s.dir, "journal") }

// config has the defaults of repository.Config.
func (s *site) config(store repository.Store, journal repository.Journal) repository.Config {
	now := s.now
	return repository.Config{
		Store: store, Journal: journal,
		Bins: s.bins.signer, Snapshot: s.online.signer, Timestamp: s.online.signer,
		Now: func() time.Time { return now },
	}
}

// create makes the repository with empty bins.
func (s *site) create(ctx context.Context) (*repository.Repository, error) {
	return s.begin(ctx, dirstore.Create, dirjournal.Create, func(c repository.Config) (*repository.Repository, error) {
		return repository.Create(ctx, c, s.docs)
	})
}

// open opens it, with another configuration if change isn't nil.
func (s *site) open(ctx context.Context, change func(*repository.Config)) (*repository.Repository, error) {
	return s.begin(ctx, dirstore.Open, dirjournal.Open, func(c repository.Config) (*repository.Repository, error) {
		if change != nil {
			change(&c)
		}
		return repository.Open(ctx, c)
	})
}

func (s *site) begin(ctx context.Context, store func(string) (*dirstore.Store, error), journal func(string) (*dirjournal.Journal, error),
	begin func(repository.Config) (*repository.Repository, error)) (*repository.Repository, error) {
	st, err := store(s.metadata())
	if err != nil {
		return nil, err
	}
	j, err := journal(s.journal())
	if err != nil {
		return nil, err
	}
	r, err := begin(s.config(st, j))
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return r, nil
}

// site returns the repository of this name, whose bins hold n targets each, and makes
// it at first.
func (e *env) site(ctx context.Context, name string, n int) (s *site, made bool, err error) {
	if s := e.sites[name]; s != nil {
		return s, false, nil
	}
	fmt.Fprintf(e.log, "making a repository of %d bins of %d targets\n", e.bins, n)
	if s, err = newSite(filepath.Join(e.dir, "site-"+name), e.bins); err == nil {
		err = os.Mkdir(s.dir, 0o700)
	}
	if err == nil {
		err = s.fill(ctx, n, e.remembered)
	}
	if err != nil {
		return nil, false, err
	}
	if e.sites == nil {
		e.sites = map[string]*site{}
	}
	e.sites[name] = s
	return s, true, nil
}

// fill writes store and journal as they are after a year of uploads and a checkpoint. It takes seconds,
// because all bins are the same file, signed once. (Their targets belong to other bins by their hashes; a
// publisher doesn't look at that.) The journal remembers the given number of uploads. The checkpoint
// must be like the engine's own, or Open refuses it.
func (s *site) fill(ctx context.Context, n, remembered int) error {
	store, err := dirstore.Create(s.metadata())
	if err != nil {
		return err
	}
	bin, _, err := makeBin(n, 1)
	if err == nil {
		bin, err = bin.Edit(1, s.now.Add(7*24*time.Hour), nil)
	}
	if err != nil {
		return err
	}
	file, err := bin.Sign(ctx, s.bins.signer)
	if err != nil {
		return err
	}
	snapshot := roles.NewSnapshot()
	edits := []roles.MetaEdit{{Role: metadata.TARGETS, Version: 1}, {Role: delegation.BinsRole, Version: 2}}
	for i := range s.layout.Len() {
		edits = append(edits, roles.MetaEdit{Role: s.layout.Name(i), Version: 1})
	}
	if snapshot, err = snapshot.Edit(1, s.now.Add(24*time.Hour), edits); err != nil {
		return err
	}
	snapshotFile, err := snapshot.Sign(ctx, s.online.signer)
	if err != nil {
		return err
	}
	timestamp, err := roles.NewTimestamp(1, s.now.Add(24*time.Hour), 1, snapshotFile)
	if err == nil {
		timestamp, err = timestamp.Sign(ctx, s.online.signer)
	}
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"1.root.json": s.docs.Roots[0], "2.root.json": s.docs.Roots[1], "1.targets.json": s.docs.Roles["targets"],
		"2.bins.json": s.docs.Roles["bins"], "1.snapshot.json": snapshotFile, "timestamp.json": timestamp.Bytes(),
	} {
		if err := store.Create(ctx, name, data); err != nil {
			return err
		}
	}
	if err := writeFiles(ctx, s.metadata(), s.layout.Len(), func(i int) (string, []byte, error) {
		return "1." + s.layout.Name(i) + ".json", file, nil
	}); err != nil {
		return err
	}
	return s.fillJournal(ctx, file, snapshotFile, timestamp.Bytes(), remembered)
}

func (s *site) fillJournal(ctx context.Context, bin, snapshot, timestamp []byte, remembered int) error {
	document := func(version int64, data []byte) ledger.Doc {
		return ledger.Doc{Version: version, Blob: ledger.BlobOf(data)}
	}
	docs := map[string]ledger.Doc{
		"root": document(2, s.docs.Roots[1]), "targets": document(1, s.docs.Roles["targets"]), "bins": document(2, s.docs.Roles["bins"]),
	}
	row := ledger.Row{
		Version: 1, Length: int32(len(bin)), SHA256: sha256.Sum256(bin), Signed: s.now.Unix(), Expires: s.now.Add(7 * 24 * time.Hour).Unix(),
	}
	day := s.now.Add(24 * time.Hour).Unix()
	checkpoint := &ledger.Checkpoint{
		Planned: 1, Signed: s.now.Unix(), Expires: ledger.Expires{Snapshot: day, Timestamp: day},
		Swapped: map[string][]byte{ledger.Timestamp: timestamp}, Snapshot: ledger.BlobOf(snapshot), Documents: docs, Published: docs,
		Table: ledger.Table{
			Keys: []string{keyName(s.bins.signer)},
			Sets: []ledger.Set{{Prefix: "bins", Rows: slices.Repeat([]ledger.Row{row}, s.layout.Len())}},
		},
	}
	j, err := dirjournal.Create(s.journal())
	if err != nil {
		return err
	}
	l, epoch, err := j.Lead(ctx)
	if err == nil {
		for _, err = range l.Read(ctx, ledger.FromCheckpoint) { // it is empty, and must be read
		}
	}
	if err == nil {
		err = s.remember(ctx, j, l, epoch, remembered)
	}
	if err == nil {
		err = s.appendRecords(ctx, l, epoch, checkpoint)
	}
	return errors.Join(err, j.Close())
}

// appendRecords appends records of generation 1. They form no chain, because records before a checkpoint
// aren't read.
func (s *site) appendRecords(ctx context.Context, l repository.Lead, epoch int64, bodies ...ledger.Body) error {
	var records []ledger.Record
	for _, body := range bodies {
		r, err := ledger.NewRecord(epoch, 1, "", s.now, body)
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	return l.Append(ctx, records...)
}

// remember makes the journal believe that uploads were published.
func (s *site) remember(ctx context.Context, j *dirjournal.Journal, l repository.Lead, epoch int64, n int) error {
	const batch = 1000
	for targets := range slices.Chunk(s.uploads(n), batch) {
		entries := make([]ledger.Entry, len(targets))
		seal := &ledger.Seal{}
		for i, t := range targets {
			var err error
			if entries[i], err = (ledger.Item{ID: rand.Text(), Add: []roles.Target{t}, Accepted: s.now}).Entry(); err != nil {
				return err
			}
			seal.Outcomes = append(seal.Outcomes, ledger.OutcomeOf(entries[i], ledger.Outcome{State: ledger.Published, Generation: 1}))
		}
		if _, err := j.Enqueue(ctx, entries...); err != nil {
			return err
		}
		if err := s.appendRecords(ctx, l, epoch, seal, &ledger.Commit{}); err != nil {
			return err
		}
	}
	return nil
}

// queued returns roughly how many bytes a queued upload takes in the journal.
func queued(t roles.Target, at time.Time) (int, error) {
	e, err := ledger.Item{ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Add: []roles.Target{t}, Accepted: at}.Entry()
	if err != nil {
		return 0, err
	}
	head, err := json.Marshal(e)
	return len("e ") + len(head) + len(`,"size":300`) + len("\n") + len(e.Body) + len("\n"), err
}

// keyName returns the journal's name of a key.
func keyName(s keys.Signer) string { return s.Public().ID() + " " + s.Public().Fingerprint() }

// newest returns the newest file of each bin, and removes all older ones.
func (s *site) newest() ([]string, error) {
	entries, err := os.ReadDir(s.metadata())
	if err != nil {
		return nil, err
	}
	versions := make([]int, s.layout.Len())
	remove := func(version, bin int) error {
		return os.Remove(filepath.Join(s.metadata(), fmt.Sprintf("%d.%s.json", version, s.layout.Name(bin))))
	}
	for _, e := range entries {
		version, rest, _ := strings.Cut(e.Name(), ".")
		bin, ok := s.layout.Index(strings.TrimSuffix(rest, ".json"))
		if !ok {
			continue
		}
		v, err := strconv.Atoi(version)
		if err != nil {
			return nil, err
		}
		if older := min(v, versions[bin]); older > 0 {
			if err := remove(older, bin); err != nil {
				return nil, err
			}
		}
		versions[bin] = max(v, versions[bin])
	}
	files := make([]string, len(versions))
	for i, v := range versions {
		files[i] = filepath.Join(s.metadata(), fmt.Sprintf("%d.%s.json", v, s.layout.Name(i)))
	}
	return files, nil
}
