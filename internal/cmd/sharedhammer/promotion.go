package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
)

// lostItem is one that a promoted replica didn't have.
type lostItem struct {
	published bool   // in a generation that was adopted
	replica   string // end of the database's log that the replica had
}

// after reports whether a position in the database's log comes after all that the replica had.
func (l lostItem) after(lsn string) bool { return position(lsn) > position(l.replica) }

// position returns a position in the database's log, as PostgreSQL prints it, as a number.
func position(lsn string) uint64 {
	var high, low uint64
	if _, err := fmt.Sscanf(lsn, "%x/%x", &high, &low); err != nil {
		return 0
	}
	return high<<32 | low
}

// promote lets an asynchronous replica lag, stops the primary as a crash does, and promotes the replica. Then it does
// what the documentation says: no publisher uses the old database, and if the public timestamp is ahead of the
// journal, Adopt goes on from there.
func (h *hammer) promote(ctx context.Context) error {
	old := h.primary()
	replica, err := old.Replica(ctx)
	if err != nil {
		return err
	}
	h.setSpare(replica)
	if !sleep(ctx, h.upTo(500*time.Millisecond)) {
		return ctx.Err()
	}
	if err := cutOff(ctx, replica); err != nil {
		return err
	}
	h.faults.add("the replica gets nothing more")

	// Some generations are published that the replica doesn't know, most times.
	public := visibleAt(h.s3.Object(bucketName, prefix+"timestamp.json"))
	before, err := public(ctx)
	if err != nil {
		return err
	}
	for end := time.Now().Add(h.upTo(5 * time.Second)); time.Now().Before(end) && sleep(ctx, 20*time.Millisecond); {
		if now, err := public(ctx); err != nil || now > before+int64(h.rng.IntN(4)) {
			break
		}
	}
	paused := -1
	if h.rng.IntN(2) == 0 {
		paused = h.pick(ctx)
		if err := h.publishers.get(paused).signal(stopProcess); err != nil {
			return err
		}
	}
	for n := range h.publishers.all {
		if n != paused {
			h.publishers.get(n).kill()
			h.kills.Add(1)
		}
	}
	// And some items are accepted that nobody publishes.
	for accepted, end := h.accepted.Load(), time.Now().Add(leadLimit); h.accepted.Load() < accepted+3 && time.Now().Before(end) && sleep(ctx, 10*time.Millisecond); {
	}
	if err := old.Stop("immediate"); err != nil {
		return err
	}
	if err := replica.Promote(ctx); err != nil {
		return err
	}
	// From here on this is the end of what the replica got from the primary.
	last, err := replica.SQL(ctx, "postgres", `SELECT pg_last_wal_replay_lsn()`)
	if err != nil {
		return err
	}
	var era int
	text, err := replica.SQL(ctx, database, `UPDATE shop.era SET era = era + 1 RETURNING era`)
	if err != nil {
		return err
	}
	if _, err := fmt.Sscan(text, &era); err != nil {
		return err
	}
	h.book.newEra(era)
	h.mu.Lock()
	h.database, h.spare = replica, old
	h.mu.Unlock()
	h.promotions.Add(1)
	h.inUse.Store(0) // what was installed or rotated may be lost
	h.ready.Store(0)

	published, err := public(ctx) // by publishers of the old primary: Adopt publishes too
	if err != nil {
		return err
	}
	adopted, err := h.adopt(ctx)
	if err != nil {
		return err
	}
	if err := h.compareDatabases(ctx, old, replica, last, max(published, adopted)); err != nil {
		return err
	}
	h.setSpare(nil)
	if err := old.Close(); err != nil {
		return err
	}
	for n := range h.publishers.all {
		if n != paused {
			if err := h.startPublisher(n); err != nil {
				return err
			}
		}
	}
	if paused < 0 {
		return nil
	}
	// The one that is paused may have sealed a generation in the database that was left. It may go on once another
	// timestamp is in the place of the one that it would replace: Adopt made one, if it was needed.
	if adopted > 0 {
		return h.publishers.get(paused).signal(continueProcess)
	}
	opened, err := public(ctx)
	if err != nil {
		return err
	}
	for begun := time.Now(); ; {
		now, err := public(ctx)
		if err != nil {
			return err
		}
		if now > opened {
			break
		}
		if time.Since(begun) > leadLimit {
			return fmt.Errorf("nothing was published for %v after generation %d", leadLimit, opened)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	return h.publishers.get(paused).signal(continueProcess)
}

func (h *hammer) setSpare(c *pgtest.Cluster) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spare = c
}

// cutOff ends the replication.
func cutOff(ctx context.Context, replica *pgtest.Cluster) error {
	for _, statement := range []string{`ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`} {
		if _, err := replica.SQL(ctx, "postgres", statement); err != nil {
			return err
		}
	}
	for {
		text, err := replica.SQL(ctx, "postgres", `SELECT count(*) FROM pg_stat_wal_receiver`)
		if err != nil || text == "0" {
			return err
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// adopt opens the repository, or adopts what is published if Open says that the journal is behind. It returns the generation
// that was adopted, or 0.
func (h *hammer) adopt(ctx context.Context) (adopted int64, err error) {
	open := func() (cfg repository.Config, err error) {
		cfg = siteConfig()
		signers, err := online(h.allKeys)
		if err != nil {
			return cfg, err
		}
		cfg.Signers = map[string][]keys.Signer{}
		for _, role := range rotated {
			cfg.Signers[role] = signers
		}
		cfg.Store = h.store
		cfg.Journal, err = openJournal(ctx, pgjournal.Config{Holder: "hammer", Logger: quiet}, publisherRole, h.ownDB.Address)
		return cfg, err
	}
	for begun := time.Now(); ; {
		cfg, err := open()
		if err != nil {
			return 0, err
		}
		repo, err := repository.Open(ctx, cfg)
		if errors.Is(err, repository.ErrDiverged) {
			h.faults.add("Open says: %v", err)
			var a repository.Adopted
			if repo, a, err = repository.Adopt(ctx, cfg); err == nil {
				h.adoptions.Add(1)
				adopted = a.To
				if err := h.noteUnlisted(ctx); err != nil {
					return 0, errors.Join(err, repo.Close())
				}
				h.faults.add("adopted: from %d to %d, %d roles, %d targets, documents %v", a.From, a.To, a.Roles, len(a.Targets), a.Documents)
			}
		}
		if err == nil {
			return adopted, repo.Close()
		}
		err = errors.Join(err, cfg.Journal.Close())
		if !errors.Is(err, repository.ErrLocked) || time.Since(begun) > leadLimit { // the lease of the last leader
			return 0, err
		}
		if !sleep(ctx, 200*time.Millisecond) {
			return 0, ctx.Err()
		}
	}
}

// noteUnlisted notes the versions of which the journal doesn't know all files: only Sweep deletes those. See
// CollectionStatus.Unlisted.
func (h *hammer) noteUnlisted(ctx context.Context) error {
	for info, err := range h.store.List(ctx) {
		if err != nil {
			return err
		}
		if version, role, ok := ledger.ParseName(info.Name); ok && role != metadata.ROOT {
			h.unlisted = max(h.unlisted, version+1) // a publisher that is paused may write some of the next
		}
	}
	return nil
}

// compareDatabases finds what the old primary had, and the replica that was promoted hasn't. Public is the newest generation
// that a publisher of the old primary published.
func (h *hammer) compareDatabases(ctx context.Context, old, replica *pgtest.Cluster, last string, public int64) error {
	if err := old.Start(ctx); err != nil {
		return err
	}
	const all = `SELECT id, coalesce(generation, 0) FROM bindery.queue LEFT JOIN bindery.decided ON place BETWEEN first AND last`
	had, err := old.SQL(ctx, database, all)
	if err != nil {
		return err
	}
	has, err := replica.SQL(ctx, database, all)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for line := range strings.Lines(has) {
		id, _, _ := strings.Cut(strings.TrimSpace(line), "|")
		kept[id] = true
	}
	for line := range strings.Lines(had) {
		id, number, _ := strings.Cut(strings.TrimSpace(line), "|")
		if kept[id] {
			continue
		}
		var generation int64
		if _, err := fmt.Sscan(number, &generation); err != nil {
			return err
		}
		h.missing[id] = lostItem{published: generation > 0 && generation <= public, replica: last}
	}
	h.faults.add("the replica lacks %d items", len(h.missing))
	return nil
}
