package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/repository/pgjournal"
)

const clockFormat = "15:04:05.000"

// faultLog has the newest faults, for a person who looks for the cause of a failure.
type faultLog struct {
	mu    sync.Mutex
	lines []string
}

func (f *faultLog) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, time.Now().Format(clockFormat)+" "+fmt.Sprintf(format, args...))
	f.lines = f.lines[max(0, len(f.lines)-60):]
}

func (f *faultLog) newest() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.lines...)
}

// fault is one kind of fault. It returns once it is over.
type fault struct {
	name string
	do   func(*hammer, context.Context) error
}

var allFaults = []fault{
	{"the leader is killed", (*hammer).killLeader},
	{"the standby is killed", (*hammer).killStandby},
	{"the leader is stopped until another leads", (*hammer).stopLeader},
	{"the leader is stopped for a moment", (*hammer).stopBriefly},
	{"the lease is taken from the leader", (*hammer).breakLease},
	{"the lead is taken in the middle of an append", (*hammer).interruptAppend},
	{"PostgreSQL is restarted", (*hammer).restartDatabase},
	{"the S3 service is killed", (*hammer).killStore},
	{"the S3 service is frozen", (*hammer).freezeStore},
	{"a replica that lags is promoted", (*hammer).promote},
}

// disturb makes one fault after the other, in an order of its own in each round, while another goroutine disturbs the
// connections. Each kind comes once at least.
func (h *hammer) disturb(ctx context.Context, deadline time.Time) error {
	g, ctx := errgroup.WithContext(ctx)
	calm, cancel := context.WithCancel(ctx)
	g.Go(func() error { return h.poison(calm) })
	g.Go(func() error {
		defer cancel()
		if err := h.awaitLeader(ctx, -1); err != nil {
			return err
		}
		for first := true; first || time.Now().Before(deadline); first = false {
			for _, i := range h.rng.Perm(len(allFaults)) {
				if !first && time.Now().After(deadline) {
					return nil
				}
				f := allFaults[i]
				h.faults.add("%s", f.name)
				if err := f.do(h, ctx); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
				h.faults.add("%s: over", f.name)
				if err := h.rotate(true); err != nil {
					return err
				}
				if !sleep(ctx, h.upTo(time.Second)) {
					return ctx.Err()
				}
			}
		}
		return nil
	})
	return g.Wait()
}

func (h *hammer) upTo(d time.Duration) time.Duration { return time.Duration(h.rng.Int64N(int64(d))) }

// poison disturbs connections.
func (h *hammer) poison(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(h.seed, 70))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	for sleep(ctx, upTo(2*time.Second)) {
		all := h.proxies()
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:1+rng.IntN(len(all))]
		var t toxics
		name := ""
		switch rng.IntN(5) {
		case 0:
			name = "cut"
		case 1:
			name, t.Delay = "delayed", time.Millisecond+upTo(40*time.Millisecond)
		case 2:
			name, t.Stall, t.StallFor = "stalled", 0.03, 100*time.Millisecond+upTo(1500*time.Millisecond)
		case 3:
			name, t.PerSecond = "throttled", 50_000+rng.IntN(500_000)
		case 4:
			name, t.LoseReply = "cut in place of answers", 0.02+0.1*rng.Float64()
		}
		h.faults.add("%d of %d proxies: connections are %s: %+v", len(all), len(h.proxies()), name, t)
		for _, p := range all {
			p.Set(t)
		}
		for end := time.Now().Add(500*time.Millisecond + upTo(1500*time.Millisecond)); time.Now().Before(end) && sleep(ctx, 20*time.Millisecond+upTo(200*time.Millisecond)); {
			if name == "cut" {
				all[rng.IntN(len(all))].Cut()
			}
		}
		for _, p := range all {
			p.Set(toxics{})
		}
	}
	return nil
}

// leader returns the number of the publisher that leads by the lease's row, -1 if none does.
func (h *hammer) leader(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, h.primary().URL("postgres", database))
	if err != nil {
		return -1, err
	}
	defer conn.Close(ctx)
	var holder string
	var leased bool
	if err := conn.QueryRow(ctx, `SELECT holder, clock_timestamp() < renewed + length FROM bindery.lease`).Scan(&holder, &leased); err != nil {
		return -1, err
	}
	for n := range h.publishers.all {
		if leased && holder == holderName(n) {
			return n, nil
		}
	}
	return -1, nil
}

// leadLimit is how long it may take until a publisher leads. It is far longer than that takes.
const leadLimit = 2 * time.Minute

// awaitLeader waits until another publisher than that one leads.
func (h *hammer) awaitLeader(ctx context.Context, other int) error {
	for begun := time.Now(); ; {
		n, err := h.leader(ctx)
		if err == nil && n >= 0 && n != other {
			return nil
		}
		if time.Since(begun) > leadLimit {
			return fmt.Errorf("nobody but publisher %d has taken the lead for %v: %w", other, leadLimit, err)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// pick returns the leader, or anybody while there is none.
func (h *hammer) pick(ctx context.Context) int {
	n, err := h.leader(ctx)
	if err != nil || n < 0 {
		return h.rng.IntN(2)
	}
	return n
}

func (h *hammer) killLeader(ctx context.Context) error  { return h.kill(ctx, h.pick(ctx)) }
func (h *hammer) killStandby(ctx context.Context) error { return h.kill(ctx, 1-h.pick(ctx)) }

func (h *hammer) kill(ctx context.Context, n int) error {
	h.publishers.get(n).kill()
	h.kills.Add(1)
	if h.rng.IntN(2) == 0 { // at least until the other one leads
		if err := h.awaitLeader(ctx, n); err != nil {
			return err
		}
	}
	if !sleep(ctx, h.upTo(time.Second)) {
		return ctx.Err()
	}
	return h.startPublisher(n)
}

func (h *hammer) stopLeader(ctx context.Context) error {
	n := h.pick(ctx)
	c := h.publishers.get(n)
	if err := c.signal(stopProcess); err != nil {
		return err
	}
	if err := h.awaitLeader(ctx, n); err != nil {
		return err
	}
	sleep(ctx, h.upTo(time.Second))
	return c.signal(continueProcess)
}

func (h *hammer) stopBriefly(ctx context.Context) error {
	c := h.publishers.get(h.pick(ctx))
	for range 1 + h.rng.IntN(4) {
		if err := c.signal(stopProcess); err != nil {
			return err
		}
		sleep(ctx, h.upTo(lease))
		if err := c.signal(continueProcess); err != nil {
			return err
		}
		sleep(ctx, h.upTo(300*time.Millisecond))
	}
	return nil
}

// breakLease ends the lease of a leader that is alive, as a wrong clock of the database would: the lease may decide
// nothing but who tries.
func (h *hammer) breakLease(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, h.primary().URL("postgres", database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && sleep(ctx, 10*time.Millisecond); {
		if _, err := conn.Exec(ctx, `UPDATE bindery.lease SET renewed = '-infinity'`); err != nil {
			return err
		}
	}
	return nil
}

// interruptAppend stops appends of a leader that is alive, ends its lease, and takes the lead. The append must be rolled
// back, or the lead be taken only once it is over. The database ends a transaction that is stopped for long.
func (h *hammer) interruptAppend(ctx context.Context) error {
	journal, err := openJournal(ctx, pgjournal.Config{Holder: "hammer", Logger: quiet}, publisherRole, h.ownDB.Address)
	if err != nil {
		return err
	}
	defer journal.Close()
	conn, err := pgx.Connect(ctx, h.primary().URL("postgres", database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for range 4 {
		if err := h.awaitLeader(ctx, -1); err != nil {
			return err
		}
		n, err := h.leader(ctx)
		if err != nil || n < 0 {
			continue
		}
		held, end := h.publisherDB[n].Hold(2 + h.rng.IntN(4)) // the fence is one or two
		err = h.intrude(ctx, conn, journal, held)
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// intrude takes the lead for a moment, once a transaction is held.
func (h *hammer) intrude(ctx context.Context, conn *pgx.Conn, journal *pgjournal.Journal, held <-chan struct{}) error {
	select {
	case <-held:
	case <-time.After(2 * time.Second): // the standby's, or nothing is to be done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, err := conn.Exec(ctx, `UPDATE bindery.lease SET renewed = '-infinity'`); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	lead, _, err := journal.Lead(limited)
	if err == nil {
		err = lead.Release(limited)
	}
	if err != nil { // a publisher wants the lead too, and may end the session of one that holds its lock
		h.faults.add("the lead was taken for a moment: %v", err)
	}
	return ctx.Err()
}

func (h *hammer) restartDatabase(ctx context.Context) error {
	if err := h.primary().Stop("immediate"); err != nil {
		return err
	}
	sleep(ctx, h.upTo(time.Second))
	h.dbRestarts.Add(1)
	return h.primary().Start(ctx)
}

func (h *hammer) killStore(ctx context.Context) error {
	h.s3.Stop()
	sleep(ctx, h.upTo(3*time.Second))
	h.storeOutages.Add(1)
	return h.s3.Restart(ctx)
}

func (h *hammer) freezeStore(ctx context.Context) error {
	p := h.s3.Process()
	if err := p.Signal(stopProcess); err != nil {
		return err
	}
	sleep(ctx, h.upTo(3*time.Second))
	h.storeOutages.Add(1)
	return p.Signal(continueProcess)
}
