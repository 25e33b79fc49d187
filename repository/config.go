package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Config says what a Repository is made of. Store, Journal and the online signers are
// required. The zero value of every other field is a good default.
type Config struct {
	Store   Store
	Journal Journal

	// The online keys. They may be one and the same. Root names the keys of snapshot and
	// timestamp, and the role that delegates to the bins names theirs. Each of these roles
	// has threshold 1 (PEP 458). Bins signs all sets of hashed bins.
	Bins, Snapshot, Timestamp keys.Signer

	// Signers are online keys by role: "snapshot", "timestamp", "bins-*" for the hashed bins
	// of that prefix, "targets" or any delegated role. They come before Bins, Snapshot and
	// Timestamp. Hashed bins are always signed online. Any other role of targets metadata is
	// signed online if it is named here; otherwise people sign its document. Give several keys
	// during a rotation: the first one that the documents in force name for the role signs.
	Signers map[string][]keys.Signer

	// UncheckedKeys lets Open succeed with online keys that the documents in force don't name.
	// It is for keys that were replaced and no longer exist. Install documents that name the new
	// keys before you call Run: Run checks the keys in any case. If the old key still exists,
	// configure both in Signers instead. False: Open refuses such keys with ErrWrongKey.
	UncheckedKeys bool

	// MaxBatch is how many items one generation takes at most, and MaxBatchBytes how many
	// bytes of encoded items. A single item may have more. Zero: 1,000 items and 16 MiB.
	MaxBatch      int
	MaxBatchBytes int64
	// MaxDelay is the least time between the beginnings of two generations that publish
	// items. If the last one began longer ago, an item begins the next one at once. Otherwise
	// the next one waits for the rest of MaxDelay, unless a whole batch is pending: MaxBatch
	// items, MaxBatchBytes, or as many items as filled the cache last time. So a lone item
	// is published without delay, and a busy index makes one generation in each MaxDelay, or
	// more if batches are full. Zero: 1 second. Negative: generations follow one another
	// without a pause.
	MaxDelay time.Duration
	// MaxPending is how many items may wait in the queue, and MaxPendingBytes how many
	// bytes of their JSON. Beyond either, Submit fails with ErrBusy. A journal may hold
	// the whole queue in memory, and a generation holds a second copy of what it publishes. (A
	// dirjournal can't write a checkpoint of more than 1 GiB.) Zero: 100,000 items and
	// 256 MiB.
	MaxPending      int
	MaxPendingBytes int64
	// MaxCustomBytes is how many bytes of custom data a target may have, as JSON. Submit
	// refuses a target with more. It keeps one uploader from filling a bin that others need
	// too. Zero: 8 KiB. At most 64 KiB.
	MaxCustomBytes int
	// MaxRenew is how many bins one generation renews at most. Those that expire first come
	// first. Zero: 1,024.
	MaxRenew int

	// How long a signature of each online role is valid, in whole seconds, at
	// least 2. Each is renewed at about half of it. Zero: 7 days for a bin, 1
	// day for the snapshot and the timestamp.
	BinLifetime, SnapshotLifetime, TimestampLifetime time.Duration

	// CacheAge is the greatest age at which a cache still serves a timestamp.json. ClientRun is
	// the longest run of one client, from its timestamp to its last target. Their sum is the
	// grace period. Clients may need a superseded generation for that long. Until it ends,
	// Install refuses a root that drops that generation's key. Zero: 1 hour each. Negative:
	// none. Set CacheAge to none if every cache asks for timestamp.json each time. web.Handler
	// tells caches to do so. If ClientRun is none too, superseded files are deleted at once, and a client
	// that is running then may fail: see CollectPerMinute.
	CacheAge, ClientRun time.Duration

	// CollectPerMinute is how many superseded files of the store Run deletes in a minute, at most. A file
	// is deleted once the grace period has passed since the commit record of the generation that
	// superseded it, and since Open: see CacheAge. Roots are never deleted. Zero: 10,000. Negative:
	// nothing is deleted.
	CollectPerMinute int
	// DeleteTarget deletes a target file that clients find no more: the target was removed or replaced, and
	// the grace period has passed since. No generation that clients may need, no published role and no
	// pending item names the path with one of these hashes. The file may have a name for each hash.
	//
	// Run calls it in goroutines of its own, with at most Workers calls at a time, while publishing goes
	// on. As long as a call lasts, Submit refuses to add that file, with ErrBeingDeleted. If it returns nil,
	// the file isn't offered again. If it returns an error, the file is offered again after a pause that
	// grows from a minute to an hour. The context ends after 10 minutes, or when Run ends. A call may be
	// repeated after a success, so a file that doesn't exist is no error.
	//
	// An index stores a file first and submits the target after that. DeleteTarget must return an error
	// for a file that was stored again and is not submitted yet. dirstore's Targets.Delete does so. Nil:
	// target files are not offered, and those removed meanwhile never will be.
	DeleteTarget func(ctx context.Context, t ledger.RemovedTarget) error

	// CheckpointBytes is about how many bytes go into the journal between two checkpoints,
	// items included. It is never less than four times the table of bins (about 110 bytes for
	// each bin), nor less than the queue has bytes. A checkpoint holds the table, the queue, and
	// what the journal remembers of decided items (in a dirjournal up to 23 MB, for the newest
	// 125,000). Open reads the newest checkpoint and what follows it. While a dirjournal writes
	// a checkpoint, calls of Submit wait: for a tenth of a second, or longer if the queue is
	// long. Zero: 16 MiB.
	CheckpointBytes int
	// CacheBytes is how many bytes of bins are kept in memory. A batch takes no more items than
	// their bins fit into it, so that each bin is read once. Zero: 128 MiB. Negative: none are
	// kept, and the bins that a batch changes are read twice.
	CacheBytes int64
	// Workers is how many bins are read, signed and written at a time. It should be more than
	// there are processors, because most workers wait for the store. In addition to the cache, a
	// generation holds at most this many bins in memory, each twice. Zero: 32, or 4 for each
	// processor if that is more.
	Workers int

	// Witness is a timestamp.json that clients have seen, fetched from a mirror or
	// kept where no backup reaches it. Open refuses to go on if store and journal are older
	// than it, or have another timestamp of its version. Nothing else shows that both were
	// restored from one backup. It must be signed as the repository's timestamps are. Nil: not
	// compared.
	Witness []byte

	// Approve is asked about each item before anything is signed, and before the item's conditions
	// are checked. If it returns an error, the item is set aside, with the error as the reason, of
	// which 1,000 bytes are kept. If the error wraps ErrNotNow, this attempt decides nothing. It
	// is repeated after a pause that grows to a minute, and what is due for renewal is signed
	// meanwhile. Nil: all items are approved.
	//
	// An attempt that fails decides nothing, so the next one asks again. Approve isn't asked again
	// about an item that was decided, or that was sealed before a crash. The calls come one after
	// the other, in the order in which the items are decided, and publishing waits meanwhile.
	// Approve must not change the item. It must not call what waits for the publisher: Install,
	// InstallAfterCompromise, WithdrawRoot, Rebuild, AcceptClock, Drain, Close, Receipt.Wait.
	Approve func(ctx context.Context, e ledger.Entry, it Item) error

	// Observe is called after each stage of publishing: what it was about, how long it took, and
	// why it failed. It is for metrics and traces. It must return soon, because publishing waits
	// for it. Calls for signatures and files come from several goroutines at the same time. It may
	// call Status, View, Submit and Outcome. Like Approve it must not call what waits for the
	// publisher. Nil: not called.
	Observe func(Event)

	// Now tells the time. Nil: time.Now.
	Now func() time.Time
	// Logger receives what an operator should see. Nil: nothing is logged.
	Logger *slog.Logger
}

// withDefaults returns a complete copy, or an error that names the field.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Store == nil:
		return c, errors.New("config: Store is missing")
	case c.Journal == nil:
		return c, errors.New("config: Journal is missing")
	case len(c.signersOf(metadata.SNAPSHOT)) == 0:
		return c, errors.New("config: the signer Snapshot is missing")
	case len(c.signersOf(metadata.TIMESTAMP)) == 0:
		return c, errors.New("config: the signer Timestamp is missing")
	}
	if c.Bins == nil && !slices.ContainsFunc(slices.Collect(maps.Keys(c.Signers)), func(role string) bool { return role != metadata.SNAPSHOT && role != metadata.TIMESTAMP }) {
		return c, errors.New("config: the signer Bins is missing")
	}
	for role, configured := range c.Signers {
		if role == metadata.ROOT {
			return c, errors.New("config: Signers: root is signed offline")
		}
		if len(configured) == 0 || slices.Contains(configured, nil) {
			return c, fmt.Errorf("config: Signers: %s: a signer is missing", role)
		}
	}
	for _, f := range []struct {
		name string
		v    *int
		def  int
	}{
		{"MaxBatch", &c.MaxBatch, 1000},
		{"MaxPending", &c.MaxPending, 100_000},
		{"MaxCustomBytes", &c.MaxCustomBytes, 8 << 10},
		{"MaxRenew", &c.MaxRenew, 1024},
		{"CheckpointBytes", &c.CheckpointBytes, 16 << 20},
		{"Workers", &c.Workers, max(32, 4*runtime.GOMAXPROCS(0))},
	} {
		if *f.v < 0 {
			return c, fmt.Errorf("config: %s is %d", f.name, *f.v)
		}
		if *f.v == 0 {
			*f.v = f.def
		}
	}
	if c.MaxCustomBytes > 64<<10 {
		return c, fmt.Errorf("config: MaxCustomBytes is %d: at most 65,536", c.MaxCustomBytes)
	}
	for _, f := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"BinLifetime", &c.BinLifetime, 7 * 24 * time.Hour},
		{"SnapshotLifetime", &c.SnapshotLifetime, 24 * time.Hour},
		{"TimestampLifetime", &c.TimestampLifetime, 24 * time.Hour},
	} {
		if *f.v == 0 {
			*f.v = f.def
		}
		if *f.v < 2*time.Second || *f.v%time.Second != 0 {
			return c, fmt.Errorf("config: %s is %v: want whole seconds, at least 2", f.name, *f.v)
		}
	}
	for _, d := range []*time.Duration{&c.CacheAge, &c.ClientRun} {
		if *d == 0 {
			*d = time.Hour
		}
		*d = max(*d, 0)
	}
	if c.CollectPerMinute == 0 {
		c.CollectPerMinute = 10_000
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = time.Second
	}
	if c.MaxPendingBytes < 0 {
		return c, fmt.Errorf("config: MaxPendingBytes is %d", c.MaxPendingBytes)
	}
	if c.MaxPendingBytes == 0 {
		c.MaxPendingBytes = 256 << 20
	}
	if c.MaxBatchBytes < 0 {
		return c, fmt.Errorf("config: MaxBatchBytes is %d", c.MaxBatchBytes)
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 16 << 20
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 128 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// grace is how long clients may need a generation after it was superseded.
func (c Config) grace() time.Duration { return c.CacheAge + c.ClientRun }

// signersOf returns the signers configured for a role, or for a set of bins ("bins-*").
func (c Config) signersOf(role string) []keys.Signer {
	out := slices.Clone(c.Signers[role])
	var short keys.Signer
	switch {
	case role == metadata.SNAPSHOT:
		short = c.Snapshot
	case role == metadata.TIMESTAMP:
		short = c.Timestamp
	case strings.HasSuffix(role, "-*"):
		short = c.Bins
	}
	if short != nil {
		out = append(out, short)
	}
	return out
}

// isOnline reports whether a role of targets metadata that is no hashed bin is signed online.
func (c Config) isOnline(role string) bool { return len(c.Signers[role]) > 0 }
