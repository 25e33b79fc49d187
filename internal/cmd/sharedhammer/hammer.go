package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/internal/tufclient"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/roles"
)

const (
	clients  = 3
	maxRoots = 40 // each client walks all of them, each time
)

var quiet = slog.New(slog.DiscardHandler)

// hammer is one run.
type hammer struct {
	dir      string
	seed     uint64
	rng      *rand.Rand // of the goroutine that makes the faults
	out      io.Writer
	book     *book
	contents tufclient.Contents
	faults   faultLog

	began    time.Time
	s3       *s3test.Server
	store    *s3store.Store // without a proxy
	ceremony *repotest.Ceremony
	root     []byte
	public   string // URL of the metadata for clients, through the cache
	cache    *cache

	mu       sync.Mutex
	database *pgtest.Cluster // the primary
	spare    *pgtest.Cluster // a replica, or the primary before, or nil
	failure  error           // the first
	cancel   context.CancelFunc

	indexDB     [indexes]*proxy
	publisherDB [2]*proxy
	publisherS3 [2]*proxy
	cacheS3     *proxy
	ownDB       *proxy // is never disturbed
	publishers  publishers
	index       [indexes]*child

	site      site
	allKeys   []seed       // online keys there ever were, the newest first
	rotating  bool         // documents with two keys were given
	inUse     atomic.Int64 // version of the site that a leader uses, and whose rotations are over
	ready     atomic.Int64 // version of the site whose rotations are ready
	rotations atomic.Int64 // that ended

	accepted     atomic.Int64
	rolledBack   atomic.Int64
	lost         atomic.Int64
	published    atomic.Int64
	collected    atomic.Int64
	kills        atomic.Int64
	failovers    atomic.Int64
	promotions   atomic.Int64
	adoptions    atomic.Int64 // how many of those left the journal behind the public timestamp
	storeOutages atomic.Int64
	dbRestarts   atomic.Int64
	refreshes    atomic.Int64
	slow         atomic.Int64 // updates that took longer than the grace, and failed

	unlisted int64               // the store may have files of versions up to it that the journal doesn't list
	missing  map[string]lostItem // items that a promoted replica didn't have, by ID
}

func newHammer(dir string, seed uint64, out io.Writer) *hammer {
	return &hammer{dir: dir, seed: seed, rng: rand.New(rand.NewPCG(seed, 0)), out: out, book: &book{era: 1}, missing: map[string]lostItem{}}
}

// fail ends the run with its first untruth.
func (h *hammer) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failure == nil {
		h.failure = err
	}
	if h.cancel != nil {
		h.cancel()
	}
}

func (h *hammer) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failure
}

func (h *hammer) primary() *pgtest.Cluster {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.database
}

func (h *hammer) run(ctx context.Context, duration time.Duration) (err error) {
	h.began = time.Now()
	ctx, h.cancel = context.WithCancel(ctx)
	defer h.cancel()
	defer func() {
		if err != nil {
			h.fail(err)
		}
		h.end()
	}()
	if err := h.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	server := httptest.NewServer(h.cache)
	defer server.Close()
	h.public = server.URL + "/" + bucketName + "/" + prefix

	over, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(over)
	for n := range h.publishers.all {
		if err := h.startPublisher(n); err != nil {
			return err
		}
	}
	for n := range h.index {
		if err := h.startIndex(n); err != nil {
			return err
		}
	}
	for i := range clients {
		g.Go(func() error { return h.updateUntil(gctx, i) })
	}
	g.Go(func() error { return h.askAhead(gctx) })
	g.Go(func() error { return h.watchDatabase(gctx) })
	g.Go(func() error { return h.report(gctx) })
	g.Go(func() error {
		defer stop() // the clients go on until all is settled
		if err := h.disturb(gctx, time.Now().Add(duration)); err != nil {
			return err
		}
		return h.settle(gctx)
	})
	err = g.Wait()
	if failure := h.failed(); failure != nil {
		return failure
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	defer h.progress()
	return h.finalCheck(ctx)
}

// end ends all processes.
func (h *hammer) end() {
	for n := range h.publishers.all {
		if c := h.publishers.get(n); c != nil {
			c.kill()
		}
	}
	for _, c := range h.index {
		if c != nil {
			c.kill()
		}
	}
	for _, p := range h.proxies() {
		p.Close()
	}
	if h.s3 != nil {
		h.s3.Close()
	}
	if db := h.primary(); db != nil {
		if h.failed() != nil {
			h.keepDatabase(db)
		}
		db.Close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spare != nil {
		h.spare.Close()
	}
	if h.ownDB != nil {
		h.ownDB.Close()
	}
}

// keepDatabase keeps what a colleague may want to see of the database.
func (h *hammer) keepDatabase(db *pgtest.Cluster) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for name, query := range map[string]string{
		"records":  `SELECT seq, kind, generation, epoch, time, left(hash, 12) FROM bindery.record ORDER BY seq`,
		"outcomes": `SELECT place, id, accepted, state, generation, reason FROM bindery.outcomes ORDER BY place`,
		"lead":     `SELECT epoch, left(head, 12), sealed, moment, holder, renewed, length FROM bindery.lead, bindery.lease`,
	} {
		text, err := db.SQL(ctx, database, query)
		if err != nil {
			text += err.Error()
		}
		_ = os.WriteFile(filepath.Join(h.dir, "database-"+name+".txt"), []byte(text+"\n"), 0o600)
	}
}

func (h *hammer) proxies() (all []*proxy) {
	for _, p := range []*proxy{h.publisherDB[0], h.publisherDB[1], h.publisherS3[0], h.publisherS3[1], h.cacheS3, h.indexDB[0], h.indexDB[1], h.indexDB[2]} {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// dialDatabase connects to the primary of that moment.
func (h *hammer) dialDatabase() (net.Conn, error) {
	return dialTo("unix", filepath.Join(h.primary().Socket(), ".s.PGSQL."+pgtest.Port))()
}

func (h *hammer) prepare(ctx context.Context) error {
	folder := filepath.Join(h.dir, "s3")
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	var err error
	if h.s3, err = s3test.Start(ctx, folder); err != nil {
		return err
	}
	if err := h.s3.CreateBucket(ctx, bucketName, true); err != nil {
		return err
	}
	db, err := pgtest.New(ctx)
	if err != nil {
		return err
	}
	h.database = db
	if _, err := db.SQL(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := makeDatabase(ctx, db.URL("postgres", database)); err != nil {
		return err
	}
	address := strings.TrimPrefix(h.s3.URL, "http://")
	numbered := uint64(1000)
	proxied := func(p **proxy, dial func() (net.Conn, error)) {
		if err == nil {
			*p, err = newProxy(rand.New(rand.NewPCG(h.seed, numbered)), dial)
			numbered++
		}
	}
	for n := range h.publishers.all {
		proxied(&h.publisherDB[n], h.dialDatabase)
		proxied(&h.publisherS3[n], dialTo("tcp", address))
	}
	for n := range h.indexDB {
		proxied(&h.indexDB[n], h.dialDatabase)
	}
	proxied(&h.cacheS3, dialTo("tcp", address))
	proxied(&h.ownDB, h.dialDatabase)
	if err != nil {
		return err
	}
	h.cache = newCache("http://" + h.cacheS3.Address)

	if h.store, err = openStore(ctx, address, ""); err != nil {
		return err
	}
	journal, err := openJournal(ctx, pgjournal.Config{Holder: "hammer", Logger: quiet}, publisherRole, h.ownDB.Address)
	if err != nil {
		return err
	}
	first := newSeed(h.rng)
	if h.ceremony, err = makeRepository(ctx, first, h.store, journal); err != nil {
		return err
	}
	h.allKeys = []seed{first}
	h.site = site{Version: 1, Keys: []seed{first}, Documents: h.ceremony.Documents()}
	if err := h.site.write(h.dir); err != nil {
		return err
	}
	h.root, err = h.store.Get(ctx, "1.root.json")
	return err
}

func (h *hammer) startPublisher(n int) error {
	p := process{
		Kind: "publisher", Number: n, Dir: h.dir, Database: h.publisherDB[n].Address, Store: h.publisherS3[n].Address, Public: h.public,
		Clock: time.Duration(1-2*n) * 10 * time.Second, // within what is taken for a clock that is right
	}
	c, err := start(p, h.publisherSays, h.childEnded, h.fail)
	if err == nil {
		h.publishers.set(n, c)
	}
	return err
}

func (h *hammer) startIndex(n int) (err error) {
	p := process{
		Kind: "index", Number: n, Dir: h.dir, Database: h.indexDB[n].Address, Public: h.s3.Object(bucketName, prefix), Seed: h.seed,
	}
	h.index[n], err = start(p, h.indexSays, h.childEnded, h.fail)
	return err
}

func (h *hammer) publisherSays(line string) error {
	var version int64
	switch {
	case line == "d":
		h.collected.Add(1)
		return nil
	case sscan(line, "i %d", &version):
		h.inUse.Store(max(version, h.inUse.Load()))
		return nil
	case sscan(line, "r %d", &version):
		h.ready.Store(max(version, h.ready.Load()))
		return nil
	}
	return fmt.Errorf("it printed %q", line)
}

func (h *hammer) indexSays(line string) error {
	var lane, era, n int
	var generation int64
	switch {
	case line == "c":
		h.accepted.Add(1)
		return nil
	case line == "r":
		h.rolledBack.Add(1)
		return nil
	case sscan(line, "p %d %d %d %d", &lane, &era, &n, &generation):
		return h.book.promise(lane, era, n, generation)
	}
	return fmt.Errorf("it printed %q", line)
}

func sscan(line, format string, args ...any) bool {
	n, err := fmt.Sscanf(line, format, args...)
	return err == nil && n == len(args)
}

// childEnded finds processes that end by themselves.
func (h *hammer) childEnded(c *child) error {
	if c.dies.Load() || c.waitErr == nil {
		return nil
	}
	return fmt.Errorf("%s %d ended by itself: %v: %s", c.Kind, c.Number, c.waitErr, c.stderr.String())
}

// updateUntil runs one client. Now and then it starts anew, with nothing but root 1.
func (h *hammer) updateUntil(ctx context.Context, number int) error {
	rng := rand.New(rand.NewPCG(h.seed, uint64(number)+1))
	var c *client
	for n := 0; ctx.Err() == nil; n++ {
		if n%30 == 0 {
			if c != nil {
				if err := os.RemoveAll(c.dir); err != nil {
					return err
				}
			}
			c = h.newClient(fmt.Sprintf("client-%d-%d", number, n), h.public)
		}
		began := time.Now()
		err := c.update(rng, rng.IntN(lanes))
		if tufclient.IsMissing(err) && time.Since(began) > clientRun {
			h.slow.Add(1)
			continue
		}
		if err != nil {
			return fmt.Errorf("client %d, which began at %s and took %v: %w", number, began.Format(clockFormat), time.Since(began).Round(time.Millisecond), err)
		}
		h.refreshes.Add(1)
	}
	return nil
}

func (h *hammer) newClient(name, url string) *client {
	return &client{book: h.book, contents: &h.contents, url: strings.TrimSuffix(url, "/"), root: h.root, dir: filepath.Join(h.dir, name)}
}

// askAhead asks the cache for names that come next, as anybody may: a 404 that was kept would hide them.
func (h *hammer) askAhead(ctx context.Context) error {
	visible := visibleAt(h.s3.Object(bucketName, prefix+"timestamp.json"))
	rng := rand.New(rand.NewPCG(h.seed, 50))
	for ctx.Err() == nil {
		now, err := visible(ctx)
		if err != nil {
			return err
		}
		for ahead := int64(1); ahead <= 10; ahead++ {
			name := fmt.Sprintf("%d.snapshot.json", now+ahead)
			if rng.IntN(2) == 0 {
				name = fmt.Sprintf("%d.bins-%02x.json", now+ahead, rng.IntN(bins))
			}
			if _, _, err := get(ctx, h.cache.client, h.public+name); err != nil && ctx.Err() == nil {
				break // busy
			}
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return nil
}

// watchDatabase counts fail-overs, and finds what the database noted.
func (h *hammer) watchDatabase(ctx context.Context) error {
	last := ""
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.Background())
		}
	}()
	url := ""
	for sleep(ctx, 100*time.Millisecond) {
		if now := h.primary().URL("postgres", database); now != url || conn == nil || conn.IsClosed() {
			if conn != nil {
				conn.Close(ctx)
			}
			var err error
			if conn, err = pgx.Connect(ctx, now); err != nil {
				conn = nil
				continue
			}
			url = now
		}
		var holder string
		var untruth *string
		if err := conn.QueryRow(ctx, `SELECT holder, (SELECT what FROM watch.untruth LIMIT 1) FROM bindery.lease`).Scan(&holder, &untruth); err != nil {
			conn.Close(ctx)
			continue
		}
		if untruth != nil {
			return errors.New(*untruth)
		}
		if last != "" && holder != last {
			h.failovers.Add(1)
		}
		last = holder
	}
	return nil
}

func (h *hammer) report(ctx context.Context) error {
	for sleep(ctx, 5*time.Second) {
		h.progress()
	}
	return nil
}

func (h *hammer) progress() {
	fmt.Fprintf(h.out, "%v generation=%d roots=%d rotations=%d adoptions=%d cache_hits=%d slow=%d %s\n", time.Since(h.began).Round(time.Second), h.book.newest(),
		len(h.site.Documents.Roots), h.rotations.Load(), h.adoptions.Load(), h.cache.hits.Load(), h.slow.Load(), h.line())
}

func (h *hammer) line() string {
	return fmt.Sprintf("accepted=%d rolled_back=%d lost_with_replica=%d published=%d collected=%d kills=%d failovers=%d promotions=%d store_outages=%d db_restarts=%d refreshes=%d",
		h.accepted.Load(), h.rolledBack.Load(), h.lost.Load(), h.published.Load(), h.collected.Load(), h.kills.Load(), h.failovers.Load(),
		h.promotions.Load(), h.storeOutages.Load(), h.dbRestarts.Load(), h.refreshes.Load())
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settleLimit is how long the publishers may take until all that was accepted is published, with no fault any more.
// It is far longer than that takes, and finds what is never published.
const settleLimit = 2 * time.Minute

// settle ends the faults, has each index process commit one last item for each lane, and waits until the queue is
// empty.
func (h *hammer) settle(ctx context.Context) error {
	h.faults.add("none any more")
	for _, p := range h.proxies() {
		p.Set(toxics{})
	}
	for _, c := range h.index {
		if _, err := io.WriteString(c.in, "settle\n"); err != nil {
			return err
		}
	}
	for _, c := range h.index {
		select {
		case <-c.ended:
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleLimit):
			return fmt.Errorf("index %d can't commit its last items: nothing disturbs it any more", c.Number)
		}
	}
	for begun := time.Now(); ; {
		var waiting int64
		text, err := h.primary().SQL(ctx, database, `SELECT count(*) FROM bindery.outcomes WHERE state = 'accepted'`)
		if err != nil {
			return err
		}
		if _, err := fmt.Sscan(text, &waiting); err != nil {
			return err
		}
		rotating := h.rotating || int64(h.site.Version) > h.inUse.Load()
		if waiting == 0 && !rotating {
			return nil
		}
		if time.Since(begun) > settleLimit {
			return fmt.Errorf("%d items are accepted and not published, rotation under way: %v: nothing disturbs the publishers any more", waiting, rotating)
		}
		if err := h.rotate(false); err != nil {
			return err
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// rotate ends the rotation of the online key that is ready, and begins another if that may be.
func (h *hammer) rotate(another bool) error {
	version := int64(h.site.Version)
	switch {
	case h.rotating && h.ready.Load() >= version:
		h.rotating = false
		h.site.Keys = h.site.Keys[:1]
	case !h.rotating && another && h.inUse.Load() >= version && len(h.site.Documents.Roots) < maxRoots:
		h.rotating = true
		h.site.Keys = []seed{newSeed(h.rng), h.site.Keys[0]}
		h.allKeys = append([]seed{h.site.Keys[0]}, h.allKeys...)
	default:
		return nil
	}
	if !h.rotating {
		h.rotations.Add(1)
	}
	signers, err := online(h.site.Keys)
	if err != nil {
		return err
	}
	named := repotest.Of(1, signers...)
	h.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = named, named })
	h.ceremony.NextBins(func(a *roles.Authority) { *a = named })
	h.site.Version++
	h.site.Begin = h.rotating
	h.site.Documents = h.ceremony.Documents()
	return h.site.write(h.dir)
}

// finalCheck lets a new client check everything, reads the whole history, and balances the account.
func (h *hammer) finalCheck(ctx context.Context) error {
	c := h.newClient("client-last", h.s3.Object(bucketName, prefix))
	all := make([]int, lanes)
	for i := range all {
		all[i] = i
	}
	if err := c.update(h.rng, all...); err != nil {
		return fmt.Errorf("the last client: %w", err)
	}
	h.refreshes.Add(1)
	journal, err := openJournal(ctx, pgjournal.Config{Logger: quiet}, publisherRole, h.ownDB.Address)
	if err != nil {
		return err
	}
	defer journal.Close()
	for _, err := range repository.ReadGenerations(ctx, journal) {
		if err != nil {
			return err
		}
	}
	if err := h.balance(ctx, c); err != nil {
		return err
	}
	if err := h.awaitCollection(ctx, journal); err != nil {
		return err
	}
	return h.counted()
}

// awaitCollection waits until nothing is left that was superseded long before the last generation.
func (h *hammer) awaitCollection(ctx context.Context, journal repository.Reader) error {
	for begun := time.Now(); ; {
		left := repository.SweptFile{}
		for f, err := range repository.ReadSweep(ctx, h.store, journal, 4*(cacheAge+clientRun)) {
			if err != nil {
				return err
			}
			if version, _, _ := ledger.ParseName(f.Name); f.Delete && version > h.unlisted {
				left = f
			}
		}
		if left.Name == "" {
			return nil
		}
		if time.Since(begun) > settleLimit {
			return fmt.Errorf("%s was never deleted: %s", left.Name, left.Why)
		}
		if !sleep(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// counted makes sure that each kind of event came.
func (h *hammer) counted() error {
	for name, n := range map[string]*atomic.Int64{
		"rolled_back": &h.rolledBack, "published": &h.published, "collected": &h.collected, "kills": &h.kills, "failovers": &h.failovers,
		"store_outages": &h.storeOutages, "db_restarts": &h.dbRestarts, "refreshes": &h.refreshes, "rotations": &h.rotations,
		"promotions": &h.promotions, "lost_with_replica": &h.lost,
	} {
		if n.Load() == 0 {
			return fmt.Errorf("%s is 0: this run shows nothing", name)
		}
	}
	return nil
}

// balance compares what was committed with what is published.
func (h *hammer) balance(ctx context.Context, c *client) error {
	conn, err := pgx.Connect(ctx, h.primary().URL("postgres", database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	outcomes := map[string]string{}
	rows, err := conn.Query(ctx, `SELECT id, state FROM bindery.outcomes`)
	if err != nil {
		return err
	}
	var id, s string
	if _, err := pgx.ForEachRow(rows, []any{&id, &s}, func() error {
		outcomes[id] = s
		return nil
	}); err != nil {
		return err
	}
	var accepted, undone, published, lost int64
	newest := [lanes]state{}
	log, err := h.readLogs()
	if err != nil {
		return err
	}
	for _, l := range log {
		_, known := outcomes[l.ID]
		gone, wasThere := h.missing[l.ID]
		switch {
		case l.What == rolledBack:
			if known || wasThere {
				return fmt.Errorf("item %s is in the database, and its transaction was rolled back", l.ID)
			}
			undone++
			continue
		case l.What == foundMissing:
			if known || wasThere {
				return fmt.Errorf("item %s is in the database, and its transaction was found to be missing", l.ID)
			}
			continue
		case l.What == unknown && !known && !wasThere:
			continue
		}
		accepted++
		switch {
		case known && (outcomes[l.ID] == string(repository.Published) || outcomes[l.ID] == string(repository.Superseded) || outcomes[l.ID] == string(repository.Unchanged)):
			published++
		case known:
			return fmt.Errorf("item %s is %s in the end", l.ID, outcomes[l.ID])
		case !wasThere:
			return fmt.Errorf("item %s was committed, and the database doesn't have it", l.ID)
		case gone.published:
			published++
		case l.LSN != "" && !gone.after(l.LSN):
			return fmt.Errorf("item %s is lost with a replica that had all up to %s, and was committed before %s", l.ID, gone.replica, l.LSN)
		default:
			lost++
		}
		if now := (state{Era: l.Era, N: l.N}); known && newest[l.Lane].before(now) {
			newest[l.Lane] = now
		}
	}
	h.accepted.Store(accepted)
	h.rolledBack.Store(undone)
	h.published.Store(published)
	h.lost.Store(lost)
	for lane, want := range newest {
		if got := c.lanes[lane]; got.before(want) || want.before(got) {
			return fmt.Errorf("lane %d: the newest item is %s, and clients see %s", lane, stamp(want.Era, want.N), stamp(got.Era, got.N))
		}
	}
	if accepted != published+lost {
		return fmt.Errorf("%d items were accepted, %d are published and %d lost", accepted, published, lost)
	}
	return nil
}

// readLogs returns what became of each transaction, by the item's ID. The last line about an ID counts.
func (h *hammer) readLogs() (map[string]logged, error) {
	all := map[string]logged{}
	for n := range indexes {
		f, err := os.Open(filepath.Join(h.dir, logName(n)))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var l logged
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Name(), err)
			}
			all[l.ID] = l
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return all, nil
}
