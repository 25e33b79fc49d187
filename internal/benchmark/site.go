package benchmark

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Expires is in bins that MakeBin makes.
var Expires = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// Site is a repository for measurements: its keys, its offline documents, and a clock that stands still, so that
// no bin is due by chance.
type Site struct {
	Layout       delegation.Bins
	Bins, Online keys.Signer // Online signs snapshot and timestamp
	Docs         repository.Documents
	Now          time.Time
	serial       uint32 // of the targets made so far
}

// NewSite makes the documents. Nothing is in a store.
func NewSite(bins int, signer, online keys.Signer) (*Site, error) {
	s := &Site{Bins: signer, Online: online, Now: time.Now().UTC().Truncate(time.Second)}
	var err error
	if s.Layout, err = delegation.New("bins", bins, delegation.Succinct); err != nil {
		return nil, err
	}
	c := repotest.NewCeremony(repotest.Must{}, s.Layout, s.Now)
	c.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, online), repotest.Of(1, online)
	})
	c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, signer) })
	s.Docs = c.Documents()
	return s, nil
}

// Config has the defaults of repository.Config.
func (s *Site) Config(store repository.Store, journal repository.Journal) repository.Config {
	now := s.Now
	return repository.Config{
		Store: store, Journal: journal,
		Bins: s.Bins, Snapshot: s.Online, Timestamp: s.Online,
		Now: func() time.Time { return now },
	}
}

// Uploads returns n targets that it never returned before. Each call makes the same as in every other run.
func (s *Site) Uploads(n int) []roles.Target {
	s.serial++
	seed := [32]byte{'u'}
	binary.BigEndian.PutUint32(seed[1:], s.serial)
	rng := mathrand.NewChaCha8(seed)
	targets := make([]roles.Target, n)
	for i := range targets {
		targets[i] = makeTarget(rng)
	}
	return targets
}

// makeTarget returns a target that looks as on PyPI: some 215 bytes in a bin.
func makeTarget(rng *mathrand.ChaCha8) roles.Target {
	var random [64]byte
	rng.Read(random[:])
	digest := hex.EncodeToString(random[:32])
	path := hex.EncodeToString(random[32:])
	return roles.Target{
		Path: fmt.Sprintf("packages/%s/%s/%s/project_%s-1.2.3-py3-none-any.whl",
			path[:2], path[2:4], path[4:], digest[:4]),
		Length: 1_000_000 + int64(random[0])<<12,
		Hashes: map[string]string{"sha256": digest},
	}
}

// MakeBin returns a bin of n targets, unsigned, and its targets.
func MakeBin(n int, version int64) (*roles.Bin, []roles.Target, error) {
	rng := mathrand.NewChaCha8([32]byte{byte(n)})
	targets := make([]roles.Target, n)
	edits := make([]roles.TargetEdit, n)
	for i := range targets {
		targets[i] = makeTarget(rng)
		edits[i] = roles.TargetEdit{Path: targets[i].Path, Target: &targets[i]}
	}
	bin, err := roles.NewBin().Edit(version, Expires, edits)
	return bin, targets, err
}

// Filling says what Fill writes.
type Filling struct {
	Store   repository.Store
	Journal repository.Journal

	// Write durably writes the files of the n bins, which have the same content.
	Write func(ctx context.Context, n int, name func(i int) string, content []byte) error

	Targets    int // in each bin
	Remembered int // outcomes of uploads in the journal
}

// Fill writes store and journal as they are after a year of uploads and a checkpoint. It signs once, because all
// bins have the same content. (Their targets belong to other bins by their hashes. A publisher doesn't look at
// that.) The checkpoint must be like the engine's own, or Open refuses it.
func (s *Site) Fill(ctx context.Context, f Filling) error {
	bin, _, err := MakeBin(f.Targets, 1)
	if err == nil {
		bin, err = bin.Edit(1, s.Now.Add(7*24*time.Hour), nil)
	}
	if err != nil {
		return err
	}
	file, err := bin.Sign(ctx, s.Bins)
	if err != nil {
		return err
	}
	snapshot := roles.NewSnapshot()
	edits := []roles.MetaEdit{{Role: metadata.TARGETS, Version: 1}, {Role: delegation.BinsRole, Version: 2}}
	for i := range s.Layout.Len() {
		edits = append(edits, roles.MetaEdit{Role: s.Layout.Name(i), Version: 1})
	}
	if snapshot, err = snapshot.Edit(1, s.Now.Add(24*time.Hour), edits); err != nil {
		return err
	}
	snapshotFile, err := snapshot.Sign(ctx, s.Online)
	if err != nil {
		return err
	}
	timestamp, err := roles.NewTimestamp(1, s.Now.Add(24*time.Hour), 1, snapshotFile)
	if err == nil {
		timestamp, err = timestamp.Sign(ctx, s.Online)
	}
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"1.root.json": s.Docs.Roots[0], "2.root.json": s.Docs.Roots[1], "1.targets.json": s.Docs.Roles["targets"],
		"2.bins.json": s.Docs.Roles["bins"], "1.snapshot.json": snapshotFile, "timestamp.json": timestamp.Bytes(),
	} {
		if err := f.Store.Create(ctx, name, data); err != nil {
			return err
		}
	}
	err = f.Write(ctx, s.Layout.Len(), func(i int) string { return "1." + s.Layout.Name(i) + ".json" }, file)
	if err != nil {
		return err
	}
	return s.fillJournal(ctx, f.Journal, file, snapshotFile, timestamp.Bytes(), f.Remembered)
}

func (s *Site) fillJournal(ctx context.Context, j repository.Journal, bin, snapshot, timestamp []byte, remembered int) error {
	document := func(version int64, data []byte) ledger.Doc {
		return ledger.Doc{Version: version, Blob: ledger.BlobOf(data)}
	}
	docs := map[string]ledger.Doc{
		"root": document(2, s.Docs.Roots[1]), "targets": document(1, s.Docs.Roles["targets"]), "bins": document(2, s.Docs.Roles["bins"]),
	}
	row := ledger.Row{
		Version: 1, Length: int32(len(bin)), SHA256: sha256.Sum256(bin), Signed: s.Now.Unix(), Expires: s.Now.Add(7 * 24 * time.Hour).Unix(),
	}
	day := s.Now.Add(24 * time.Hour).Unix()
	checkpoint := &ledger.Checkpoint{
		Planned: 1, Signed: s.Now.Unix(), Expires: ledger.Expires{Snapshot: day, Timestamp: day},
		Swapped: map[string][]byte{ledger.Timestamp: timestamp}, Snapshot: ledger.BlobOf(snapshot), Documents: docs, Published: docs,
		Table: ledger.Table{
			Keys: []string{keyName(s.Bins)},
			Sets: []ledger.Set{{Prefix: "bins", Rows: slices.Repeat([]ledger.Row{row}, s.Layout.Len())}},
		},
	}
	l, epoch, err := j.Lead(ctx)
	if err != nil {
		return err
	}
	for _, err := range l.Read(ctx, ledger.FromCheckpoint) { // it is empty, and must be read
		if err != nil {
			return err
		}
	}
	if err := s.remember(ctx, j, l, epoch, remembered); err != nil {
		return err
	}
	if err := s.appendRecords(ctx, l, epoch, checkpoint); err != nil {
		return err
	}
	return l.Release(ctx)
}

// appendRecords appends records of generation 1. They form no chain, because records before a checkpoint
// aren't read.
func (s *Site) appendRecords(ctx context.Context, l repository.Lead, epoch int64, bodies ...ledger.Body) error {
	var records []ledger.Record
	for _, body := range bodies {
		r, err := ledger.NewRecord(epoch, 1, "", s.Now, body)
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	return l.Append(ctx, records...)
}

// remember makes the journal believe that uploads were published.
func (s *Site) remember(ctx context.Context, j repository.Journal, l repository.Lead, epoch int64, n int) error {
	const batch = 1000
	for targets := range slices.Chunk(s.Uploads(n), batch) {
		entries, err := Entries(targets, s.Now)
		if err != nil {
			return err
		}
		seal := &ledger.Seal{}
		for _, e := range entries {
			seal.Outcomes = append(seal.Outcomes, ledger.OutcomeOf(e, ledger.Outcome{State: ledger.Published, Generation: 1}))
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

// Entries makes an item of each target, with an ID of its own.
func Entries(targets []roles.Target, accepted time.Time) ([]ledger.Entry, error) {
	entries := make([]ledger.Entry, len(targets))
	for i, t := range targets {
		var err error
		if entries[i], err = (ledger.Item{ID: rand.Text(), Add: []roles.Target{t}, Accepted: accepted}).Entry(); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// keyName returns the journal's name of a key.
func keyName(s keys.Signer) string { return s.Public().ID() + " " + s.Public().Fingerprint() }
