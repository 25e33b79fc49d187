package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// index is an index process. It knows what the package comment of pgjournal says, and no code of that package.
type index struct {
	process
	log     *os.File
	tell    *teller
	settle  atomic.Bool
	newest  chan logged
	visible func(context.Context) (int64, error)
}

// logged is a line of an index process's log: what became of a transaction.
type logged struct {
	What string // see the constants
	Lane int
	Era  int
	N    int
	ID   string
	// LSN is the end of the database's log after a commit: no earlier than the commit's record. "" if it is not
	// known.
	LSN string `json:",omitempty"`
}

const (
	committed  = "committed"
	rolledBack = "rolled back"
	unknown    = "unknown" // the connection failed during COMMIT
	// An unknown one is resolved by reading, unless a replica was promoted meanwhile.
	foundCommitted = "found committed"
	foundMissing   = "found missing"
)

func logName(number int) string { return fmt.Sprintf("index-%d.log", number) }

// runIndex inserts items until it is told on its standard input to settle, or until that ends. It prints
//
//	c                      when a transaction was committed
//	r                      when one was rolled back
//	p LANE ERA N GENERATION    when the outcomes say that an item is published, and it was checked that clients see it
//	u TEXT                 when something is untrue
func runIndex(ctx context.Context, p process, in io.Reader, out io.Writer) error {
	log, err := os.OpenFile(filepath.Join(p.Dir, logName(p.Number)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	x := &index{process: p, log: log, tell: &teller{out: out}, newest: make(chan logged), visible: visibleAt(p.Public + "timestamp.json")}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		if line, err := bufio.NewReader(in).ReadString('\n'); err != nil || line != "settle\n" {
			os.Exit(3) // the parent is gone
		}
		x.settle.Store(true)
	}()
	g, gctx := errgroup.WithContext(ctx)
	asking, stopAsking := context.WithCancel(gctx)
	var working sync.WaitGroup
	for lane := p.Number * lanesOfEach; lane < (p.Number+1)*lanesOfEach; lane++ {
		working.Add(1)
		g.Go(func() error {
			defer working.Done()
			return x.work(gctx, lane)
		})
	}
	g.Go(func() error { return x.ask(asking) })
	g.Go(func() error {
		working.Wait()
		stopAsking()
		return nil
	})
	return g.Wait()
}

// A connection that fails is made again.
type connection struct {
	url  string
	conn *pgx.Conn
}

func (c *connection) get(ctx context.Context) (*pgx.Conn, error) {
	for c.conn == nil || c.conn.IsClosed() {
		limited, cancel := context.WithTimeout(ctx, callLimit)
		conn, err := pgx.Connect(limited, c.url)
		cancel()
		if err == nil {
			c.conn = conn
			break
		}
		if wrong := mistake(err); wrong != nil {
			return nil, wrong
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c.conn, nil
}

func (c *connection) drop() {
	if c.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.conn.Close(ctx)
		c.conn = nil
	}
}

// callLimit is how long a statement is waited for before the connection is given up.
const callLimit = 15 * time.Second

// mistake returns the error if it is none that a fault explains: connections fail, servers end, and replicas are
// read-only.
func mistake(err error) error {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return nil // of a connection
	}
	switch e.Code[:2] {
	case "57", "08", "53", "25", "55": // operator intervention, connection, resources, transaction state, lock
		return nil
	}
	if e.Severity == "FATAL" {
		return nil
	}
	return fmt.Errorf("the database refuses what the contract allows: %w", err)
}

// work runs one lane.
func (x *index) work(ctx context.Context, lane int) error {
	rng := rand.New(rand.NewPCG(x.Seed, uint64(100+lane)))
	c := &connection{url: databaseURL(indexRole, x.Database)}
	defer c.drop()
	for ctx.Err() == nil {
		last := x.settle.Load()
		done, err := x.one(ctx, rng, c, lane, last)
		if err != nil {
			return fmt.Errorf("lane %d: %w", lane, err)
		}
		if done && last {
			return nil
		}
		if !last {
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		}
	}
	return nil
}

var isolations = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}

// one runs one transaction, and reports whether it was committed.
func (x *index) one(ctx context.Context, rng *rand.Rand, c *connection, lane int, last bool) (bool, error) {
	isolation := isolations[rng.IntN(len(isolations))]
	rollback := rng.IntN(rolledBackIn) == 0 && !last
	pause := time.Duration(0)
	switch rng.IntN(20) {
	case 0: // commits long after others that came later
		pause = time.Duration(rng.IntN(3000)) * time.Millisecond
	case 1, 2, 3, 4:
		pause = time.Duration(rng.IntN(200)) * time.Millisecond
	}
	if last {
		pause = 0
	}
	suffix := fmt.Sprintf("%08x", rng.Uint32())
	conn, err := c.get(ctx)
	if err != nil {
		return false, err
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	l := logged{Lane: lane}
	committing := false
	err = func() error {
		tx, err := conn.BeginTx(limited, pgx.TxOptions{IsoLevel: isolation})
		if err != nil {
			return err
		}
		defer tx.Rollback(limited)
		var era int
		var before state
		if err := tx.QueryRow(limited, `SELECT era FROM shop.era`).Scan(&era); err != nil {
			return err
		}
		// The index's own lock on what its items name.
		if err := tx.QueryRow(limited, `SELECT state FROM shop.lane WHERE lane = $1 FOR UPDATE`, lane).Scan(&before); err != nil {
			return err
		}
		it, after := next(lane, era, before, suffix, rollback)
		l.Era, l.N, l.ID = after.Era, after.N, after.ID
		if _, err := tx.Exec(limited, `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)`, it.ID, it.By, body(it)); err != nil {
			return err
		}
		time.Sleep(pause)
		if _, err := tx.Exec(limited, `UPDATE shop.lane SET state = $1 WHERE lane = $2`, after, lane); err != nil {
			return err
		}
		if rollback {
			return tx.Rollback(limited)
		}
		committing = true
		return tx.Commit(limited)
	}()
	var refused *pgconn.PgError
	switch {
	case ctx.Err() != nil:
		return false, nil
	case err == nil && rollback:
		l.What = rolledBack
		x.tell.tell("r")
		return false, x.note(l)
	case err == nil:
		l.What = committed
		// What comes before this in the database's log has the commit.
		if err := conn.QueryRow(limited, `SELECT pg_current_wal_insert_lsn()::text`).Scan(&l.LSN); err != nil {
			c.drop()
		}
		return true, x.accepted(l)
	case isolation == pgx.Serializable && errors.As(err, &refused) && refused.Code == "40001": // of the index's own reads
		return false, nil
	case committing && errors.As(err, &refused) && refused.Severity == "ERROR":
		return false, mistake(err)
	case committing:
		l.What = unknown
		c.drop()
		if err := x.note(l); err != nil {
			return false, err
		}
		return x.resolve(ctx, c, l)
	}
	c.drop()
	return false, mistake(err)
}

// resolve reads what became of a commit. The lock waits until the transaction has ended.
func (x *index) resolve(ctx context.Context, c *connection, l logged) (bool, error) {
	for {
		conn, err := c.get(ctx)
		if err != nil {
			return false, err
		}
		limited, cancel := context.WithTimeout(ctx, callLimit)
		var now state
		var era int
		err = pgx.BeginFunc(limited, conn, func(tx pgx.Tx) error {
			if err := tx.QueryRow(limited, `SELECT state FROM shop.lane WHERE lane = $1 FOR UPDATE`, l.Lane).Scan(&now); err != nil {
				return err
			}
			return tx.QueryRow(limited, `SELECT era FROM shop.era`).Scan(&era)
		})
		cancel()
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			c.drop()
			if wrong := mistake(err); wrong != nil {
				return false, wrong
			}
			continue
		case era != l.Era: // the parent reads it in the database that failed
			return false, nil
		case now.ID == l.ID:
			l.What = foundCommitted
			return true, x.accepted(l)
		default:
			l.What = foundMissing
			return false, x.note(l)
		}
	}
}

func (x *index) accepted(l logged) error {
	if err := x.note(l); err != nil {
		return err
	}
	x.tell.tell("c")
	select {
	case x.newest <- l:
	default:
	}
	return nil
}

func (x *index) note(l logged) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	_, err = x.log.Write(append(data, '\n'))
	return err
}

// ask asks for the outcome of the newest item again and again. As soon as it is said to be published, it checks that
// clients see it.
func (x *index) ask(ctx context.Context) error {
	c := &connection{url: databaseURL(indexRole, x.Database)}
	defer c.drop()
	for {
		var l logged
		select {
		case l = <-x.newest:
		case <-ctx.Done():
			return nil
		}
		if err := x.follow(ctx, c, l); err != nil {
			return err
		}
	}
}

func (x *index) follow(ctx context.Context, c *connection, l logged) error {
	for ctx.Err() == nil {
		conn, err := c.get(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		var era int
		var s *string
		var generation *int64
		limited, cancel := context.WithTimeout(ctx, callLimit)
		err = conn.QueryRow(limited, `SELECT era, state, generation FROM shop.era LEFT JOIN bindery.outcomes ON id = $1`, l.ID).Scan(&era, &s, &generation)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.drop()
			if wrong := mistake(err); wrong != nil {
				return wrong
			}
		case era != l.Era:
			return nil
		case s == nil:
			return fmt.Errorf("item %s was committed, and the view of outcomes doesn't have it", l.ID)
		case *s == string(repository.Accepted):
		case *s == string(repository.Published), *s == string(repository.Superseded), *s == string(repository.Unchanged):
			visible, err := x.visible(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if visible < *generation {
				return fmt.Errorf("item %s is said to be %s in generation %d, and clients see %d", l.ID, *s, *generation, visible)
			}
			x.tell.tell("p %d %d %d %d", l.Lane, l.Era, l.N, *generation)
			return nil
		default:
			return fmt.Errorf("item %s is said to be %s in generation %d", l.ID, *s, *generation)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// visibleAt returns a function that tells which generation clients see now. It waits while the bucket can't be
// reached.
func visibleAt(url string) func(context.Context) (int64, error) {
	client := &http.Client{Timeout: 5 * time.Second}
	return func(ctx context.Context) (int64, error) {
		for {
			data, status, err := get(ctx, client, url)
			switch {
			case ctx.Err() != nil:
				return 0, ctx.Err()
			case err != nil || status >= 500:
				time.Sleep(50 * time.Millisecond)
				continue
			case status != http.StatusOK:
				return 0, fmt.Errorf("%s: status %d", url, status)
			}
			version, err := timestampVersion(data)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", url, err)
			}
			return version, nil
		}
	}
}

func timestampVersion(data []byte) (int64, error) {
	t, err := roles.Parse[metadata.TimestampType](data)
	if err != nil {
		return 0, err
	}
	return t.Version(), nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return data, response.StatusCode, err
}
