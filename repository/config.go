package repository

import (
	"cmp"
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
	// during a rotation: the first one that the documents in force name for the role signs, or the
	// one to which the role goes since Repository.Rotate.
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
	// MinInterval is the least time between two swaps of timestamp.json, whatever they are for: uploads,
	// renewals, rotations, documents, a swap that failed and is tried again, and the first one after Open
	// or Create. It is for stores that limit how often a name is written. What is sealed waits for it, so
	// uploads may take as much longer. At most 5 seconds: MaxDelay makes generations more rare than
	// that. Zero: what the Store demands by a method MinInterval() time.Duration, or none. Less than the
	// Store demands is refused.
	MinInterval time.Duration
	// OneMachine says that all processes that share Journal run on this machine. It is needed for a Store
	// of this machine (one with a method Local() bool that returns true, as that of package dirstore) with a Journal
	// that several machines can share (one with a method Shared() bool that returns true). Other
	// machines would publish into directories of their own. A directory of a network file system is no
	// help: the lock under which a timestamp is swapped doesn't reach other machines, so a publisher that
	// was paused could put an older timestamp back. Use a Store that machines can share instead, such as
	// an object store. False: these two are refused together.
	OneMachine bool
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
	// least 2. Zero: 7 days for a bin, 1 day for the snapshot and the timestamp. Roles of targets
	// metadata that are no bins have the lifetime of a bin.
	BinLifetime, SnapshotLifetime, TimestampLifetime time.Duration

	// The age at which Run signs each online role again, in whole seconds. It must be less than the
	// role's lifetime. The rest of the lifetime is for outages: a store or a key that fails for longer
	// lets the role expire. Bins are renewed at this age at the latest, and once early, so that their
	// renewals are spread evenly. Snapshot and timestamp are always signed together, at the lesser of
	// their two ages. Zero: half of the lifetime.
	BinRenewal, SnapshotRenewal, TimestampRenewal time.Duration

	// RenewalsPerMinute is how many bins are signed again in any minute, because of their age or
	// because of Rotate. Other roles of targets metadata count as bins. Snapshot and timestamp, which
	// each generation signs, don't count. If many bins are due, those that expire first come first.
	// Bins that have expired, or would expire if they waited for their turn, are signed regardless.
	// So are bins that uploads change, and all that Create, RestoreStore, RestoreJournal,
	// InstallAfterCompromise and Rebuild sign. After a restart, the publisher counts what was signed
	// in the minute before. A number with which the bins can't be kept fresh is refused, with the
	// number that is needed: one for each bin in each BinRenewal. Zero: no limit.
	RenewalsPerMinute int

	// Caching says for how long caches may serve a timestamp.json. web.Config takes the same value, and
	// tells them so. The age at which a role is renewed, plus this time, must be less than the role's
	// lifetime. Otherwise a cache would serve metadata that has expired. Zero: caches ask each time.
	Caching Caching

	// CacheAge is the greatest age at which a cache still serves a timestamp.json. ClientRun is
	// the longest run of one client, from its timestamp to its last target. Their sum is the
	// grace period. Clients may need a superseded generation for that long. Until it ends,
	// Install refuses a root that drops that generation's key. CacheAge must not be less than
	// Caching allows. Zero: 1 hour each, and for CacheAge the time that Caching allows if that is
	// longer. Negative: none. Set CacheAge to none if Caching is zero and every cache honors that. If
	// ClientRun is none too, superseded files are deleted at once, and a client that is running then
	// may fail: see CollectPerMinute.
	CacheAge, ClientRun time.Duration

	// CollectPerMinute is how many superseded files of the store Run deletes in a minute, at most. A file
	// is deleted once the grace period has passed since the commit record of the generation that
	// superseded it, and since Open: see CacheAge. Roots are never deleted. Zero: 10,000. Negative:
	// nothing is deleted.
	CollectPerMinute int
	// DeleteTarget deletes a target file that clients find no more: the target was removed or replaced,
	// perhaps by a later item of the same generation, and the grace period has passed since. No generation that clients may need, no published role and no
	// pending item names the path with one of these hashes. The file may have a name for each hash.
	//
	// Run calls it in goroutines of its own, with at most Workers calls at a time, while publishing goes
	// on. As long as a call lasts, Submit refuses to add that file, with ErrBeingDeleted. If it returns nil,
	// the file isn't offered again. If it returns an error, the file is offered again after a pause that
	// grows from a minute to an hour. The context ends after 10 minutes, or when Run's does. Run waits for
	// the calls, and Close for 10 seconds. A call may be repeated after a success, so a file that doesn't
	// exist is no error.
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

	// WarnExpiry is called when a document that people sign (root, targets, a delegated role)
	// comes near its expiry: when 60, 30, 14, 7, 3 and 1 days are left, and when it has expired. It is
	// called once for each version of a role and each of these thresholds. After a restart it is
	// called again, for the last threshold that was passed. Run calls it, within a minute. The rules
	// are those of Observe: it must return soon, and not call what waits for the publisher. The log
	// says the same. Nil: not called.
	WarnExpiry func(Expiry)

	// EndOnClock makes Run end with an error that wraps ErrClock, instead of waiting until the clock is
	// right or AcceptClock is called. Run then also looks at the clock when it begins. It is for a publisher
	// that another one can stand in for: close the repository, and the lead is free.
	EndOnClock bool
	// Doubt is the error that wraps ErrClock with which Run of an earlier repository in this process ended. A clock that
	// was set ahead stays in doubt then: nobody saw that step but the earlier Run. AcceptClock ends the doubt. Nil, or
	// another error: the clock is judged from Open on.
	Doubt error

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
		{"RenewalsPerMinute", &c.RenewalsPerMinute, 0},
	} {
		if *f.v < 0 {
			return c, fmt.Errorf("config: %s is %d: must not be negative (zero: the default)", f.name, *f.v)
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
	if err := c.setRenewals(); err != nil {
		return c, err
	}
	if err := c.fitStore(); err != nil {
		return c, err
	}
	if c.CacheAge == 0 {
		c.CacheAge = max(time.Hour, c.Caching.age())
	}
	if c.ClientRun == 0 {
		c.ClientRun = time.Hour
	}
	c.CacheAge, c.ClientRun = max(c.CacheAge, 0), max(c.ClientRun, 0)
	if age := c.Caching.age(); c.CacheAge < age {
		return c, fmt.Errorf("config: CacheAge is %v, and caches may serve a timestamp for %v (Caching: MaxAge %v plus StaleIfError %v): "+
			"the grace period would be shorter than caches allow: make CacheAge at least that, or leave it zero",
			c.CacheAge, age, c.Caching.MaxAge, c.Caching.StaleIfError)
	}
	if c.CollectPerMinute == 0 {
		c.CollectPerMinute = 10_000
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = time.Second
	}
	if c.MaxPendingBytes < 0 {
		return c, fmt.Errorf("config: MaxPendingBytes is %d: must not be negative (zero: the default)", c.MaxPendingBytes)
	}
	if c.MaxPendingBytes == 0 {
		c.MaxPendingBytes = 256 << 20
	}
	if c.MaxBatchBytes < 0 {
		return c, fmt.Errorf("config: MaxBatchBytes is %d: must not be negative (zero: the default)", c.MaxBatchBytes)
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

// mostInterval is less than Close waits for a generation that is sealed.
const mostInterval = 5 * time.Second

// fitStore sets what the store demands, and compares it with the journal.
func (c *Config) fitStore() error {
	var demanded time.Duration
	if s, ok := c.Store.(interface{ MinInterval() time.Duration }); ok {
		demanded = s.MinInterval()
	}
	switch {
	case c.MinInterval == 0:
		c.MinInterval = max(demanded, 0)
	case c.MinInterval < demanded:
		return fmt.Errorf("config: MinInterval is %v, and the store (%T) demands %v between two swaps of a name: make it at least that, or leave it zero",
			c.MinInterval, c.Store, demanded)
	}
	if c.MinInterval < 0 || c.MinInterval > mostInterval {
		return fmt.Errorf("config: MinInterval is %v: from 0 to %v", c.MinInterval, mostInterval)
	}
	local, isLocal := c.Store.(interface{ Local() bool })
	shared, isShared := c.Journal.(interface{ Shared() bool })
	if isLocal && local.Local() && isShared && shared.Shared() && !c.OneMachine {
		return fmt.Errorf("config: the store (%T) is this machine's, and the journal (%T) can be shared by several machines: a publisher elsewhere would publish where clients don't look: "+
			"use a store that all of them reach, or set OneMachine if every process that uses the journal runs on this machine", c.Store, c.Journal)
	}
	return nil
}

// setRenewals sets the ages at which roles are renewed, and compares them with lifetimes and caches.
func (c *Config) setRenewals() error {
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"MaxAge", c.Caching.MaxAge}, {"StaleIfError", c.Caching.StaleIfError}} {
		if d.v < 0 || d.v%time.Second != 0 {
			return fmt.Errorf("config: Caching.%s is %v: want whole seconds, not negative", d.name, d.v)
		}
	}
	for _, r := range []struct {
		role     string
		age      *time.Duration
		lifetime time.Duration
	}{
		{"Bin", &c.BinRenewal, c.BinLifetime},
		{"Snapshot", &c.SnapshotRenewal, c.SnapshotLifetime},
		{"Timestamp", &c.TimestampRenewal, c.TimestampLifetime},
	} {
		if *r.age == 0 {
			*r.age = (r.lifetime / 2).Truncate(time.Second)
		}
		if *r.age < time.Second || *r.age%time.Second != 0 {
			return fmt.Errorf("config: %sRenewal is %v: want whole seconds, at least 1", r.role, *r.age)
		}
		if *r.age >= r.lifetime {
			return fmt.Errorf("config: %sRenewal is %v, and must be less than %[1]sLifetime, which is %[3]v", r.role, *r.age, r.lifetime)
		}
		if age := c.Caching.age(); age > 0 && *r.age+age >= r.lifetime {
			return fmt.Errorf("config: caches would serve metadata that has expired: %sRenewal %v plus Caching %v is %v, and must be less than %[1]sLifetime, which is %[5]v",
				r.role, *r.age, age, *r.age+age, r.lifetime)
		}
	}
	return nil
}

// checkBudget makes sure that RenewalsPerMinute suffices to renew so many roles in time.
func (c Config) checkBudget(roles int) error {
	period := int64(c.BinRenewal / time.Second)
	need := (int64(roles)*60 + period - 1) / period
	if n := int64(c.RenewalsPerMinute); n > 0 && n < need {
		return fmt.Errorf("config: RenewalsPerMinute is %d, and at least %d are needed: %d bins and other roles are each signed again every %v (BinRenewal)",
			n, need, roles, c.BinRenewal)
	}
	return nil
}

// Caching is for how long caches between clients and the index may serve a timestamp.json, in whole
// seconds. All other files never change, and may be kept for ever.
type Caching struct {
	// MaxAge is how old it may be. Until then a cache doesn't ask whether there is a newer one.
	MaxAge time.Duration
	// StaleIfError is for how much longer a cache may serve it if the index can't be reached
	// (RFC 5861).
	StaleIfError time.Duration
}

// MediaType is the Content-Type of every published file of metadata.
const MediaType = "application/json"

// CacheControl is the Cache-Control header with which a published file is served, under its name in
// the store. Only timestamp.json ever changes, and caches must ask for it again as c says. All others
// may be kept for ever. What isn't there must not be kept at all: the 404 of a name would hide the
// file from clients when it comes. web.Handler and the stores in object storage send this header.
func (c Caching) CacheControl(name string) string {
	if name != ledger.Timestamp {
		return "public, max-age=31536000, immutable"
	}
	maxAge, stale := int64(c.MaxAge/time.Second), int64(c.StaleIfError/time.Second)
	switch {
	case maxAge <= 0 && stale <= 0:
		return "no-cache"
	case stale <= 0: // never an older one, not even if the index can't be reached
		return fmt.Sprintf("public, max-age=%d, must-revalidate", maxAge)
	default:
		return fmt.Sprintf("public, max-age=%d, stale-if-error=%d", max(maxAge, 0), stale)
	}
}

// age is the greatest age at which a cache still serves a timestamp.json.
func (c Caching) age() time.Duration { return c.MaxAge + c.StaleIfError }

// grace is how long clients may need a generation after it was superseded.
func (c Config) grace() time.Duration { return c.CacheAge + c.ClientRun }

// usualReaders is how many files are read at a time where there is no Config.
const usualReaders = 32

// readers is how many files are read at a time.
func (c Config) readers() int { return cmp.Or(c.Workers, usualReaders) }

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
