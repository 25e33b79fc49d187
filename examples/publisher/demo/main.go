// Demo shows two publishers that share nothing but a database and a bucket. An index inserts its uploads
// into the database; one publisher is killed, and the other goes on.
//
//	go run -C examples/publisher ./demo
//
// It needs Go and an installed PostgreSQL. It starts a PostgreSQL server of its own, an S3 service and
// the publishers, all in a temporary folder and on this machine only, and ends them again.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	uploads := flags.Int("uploads", 60, "how many uploads before and after the first publisher is killed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bindery-publisher-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := &scene{dir: dir, out: out}
	defer s.end()

	s.title("Setting the scene")
	if err := s.open(ctx); err != nil {
		return err
	}

	s.title("Two publishers")
	first, err := s.publisher(ctx, "first")
	if err != nil {
		return err
	}
	if err := first.until(ctx, "/lead"); err != nil {
		return err
	}
	s.say("The first one has the lead: GET /lead answers 200.")
	second, err := s.publisher(ctx, "second")
	if err != nil {
		return err
	}
	if err := second.until(ctx, "/standby"); err != nil {
		return err
	}
	s.say("The second one stands by: GET /standby answers 200.")

	s.title("Uploads")
	index := &index{url: s.index}
	s.say("The index stores each upload in a table of its own, and queues it in the same")
	s.say("transaction. Every third transaction is rolled back:")
	s.say("")
	s.say("    INSERT INTO uploads (name) VALUES ('demo-1.whl');")
	s.say(`    INSERT INTO bindery.queue (id, "by", item) VALUES (…, 'demo', '{…}');`)
	s.say("    COMMIT;")
	s.say("")
	if err := index.upload(ctx, *uploads); err != nil {
		return err
	}
	generation, took, err := index.decided(ctx)
	if err != nil {
		return err
	}
	s.say("%d uploads were committed and %d rolled back. Generation %d has the last of", len(index.committed), len(index.rolledBack), generation)
	s.say("them, %v after its commit.", took.Round(time.Millisecond))

	s.title("The first publisher dies")
	if err := first.kill(); err != nil {
		return err
	}
	killed := time.Now()
	s.say("kill -9. The index goes on inserting.")
	if err := index.upload(ctx, *uploads); err != nil {
		return err
	}
	if err := second.until(ctx, "/lead"); err != nil {
		return err
	}
	s.say("The second publisher has the lead %v after that. (The lease is %v.)", time.Since(killed).Round(100*time.Millisecond), lease)
	if generation, _, err = index.decided(ctx); err != nil {
		return err
	}
	s.say("Generation %d has all %d uploads that were committed.", generation, len(index.committed))

	s.title("A client")
	found, err := s.verify(index)
	if err != nil {
		return err
	}
	s.say("A TUF client read the bucket at")
	s.say("    %s", s.bucket)
	s.say("It began with the first root, verified all signatures, and found the %d files", found)
	s.say("that were committed and none of the %d that were rolled back.", len(index.rolledBack))
	return nil
}

// index is a package index: a program that knows its database and nothing of publishers.
type index struct {
	url                   string
	committed, rolledBack []string
	lastID                string
	lastAt                time.Time
}

// upload makes n uploads, each in a transaction.
func (x *index) upload(ctx context.Context, n int) error {
	conn, err := pgx.Connect(ctx, x.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for range n {
		number := len(x.committed) + len(x.rolledBack) + 1
		name := fmt.Sprintf("demo-%d.whl", number)
		item, err := repository.Item{ID: fmt.Sprintf("upload-%d", number), By: "demo", Add: []roles.Target{file(name)}, Accepted: time.Now()}.Entry()
		if err != nil {
			return err
		}
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO uploads (name) VALUES ($1)", name)
		if err == nil {
			_, err = tx.Exec(ctx, `INSERT INTO bindery.queue (id, "by", item) VALUES ($1, $2, $3)`, item.ID, item.By, item.Body)
		}
		switch {
		case err != nil:
			return errors.Join(err, tx.Rollback(ctx))
		case number%3 == 0:
			err = tx.Rollback(ctx)
			x.rolledBack = append(x.rolledBack, name)
		default:
			err = tx.Commit(ctx)
			x.committed = append(x.committed, name)
			x.lastID, x.lastAt = item.ID, time.Now()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// file is what an index says of a file that has its name as its content.
func file(name string) roles.Target {
	sum := sha256.Sum256([]byte(name))
	return roles.Target{Path: "packages/" + name, Length: int64(len(name)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// decided asks the database until all uploads are published, and returns the generation of the last
// one, and how long ago it was committed.
func (x *index) decided(ctx context.Context) (generation int64, took time.Duration, err error) {
	conn, err := pgx.Connect(ctx, x.url)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for {
		var published, others int
		err := conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE state = 'published'), count(*) FILTER (WHERE state NOT IN ('accepted', 'published')) FROM bindery.outcomes`).
			Scan(&published, &others)
		switch {
		case err != nil:
			return 0, 0, err
		case others > 0:
			return 0, 0, fmt.Errorf("%d uploads were not published", others)
		case published == len(x.committed):
			took = time.Since(x.lastAt)
			return generation, took, conn.QueryRow(ctx, "SELECT generation FROM bindery.outcomes WHERE id = $1", x.lastID).Scan(&generation)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, 0, fmt.Errorf("%d of %d uploads are published: %w", published, len(x.committed), err)
		}
	}
}

// verify lets a client that knows the first root look every upload up.
func (s *scene) verify(x *index) (found int, err error) {
	root, err := os.ReadFile(filepath.Join(s.dir, "documents", "1.root.json"))
	if err != nil {
		return 0, err
	}
	cfg, err := config.New(s.bucket, root)
	if err != nil {
		return 0, err
	}
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(s.dir, "client"), filepath.Join(s.dir, "client", "targets")
	client, err := updater.New(cfg)
	if err != nil {
		return 0, err
	}
	if err := client.Refresh(); err != nil {
		return 0, err
	}
	for _, name := range x.committed {
		info, err := client.GetTargetInfo("packages/" + name)
		if err != nil {
			return found, err
		}
		if want := file(name); info.Length != want.Length || info.Hashes["sha256"].String() != want.Hashes["sha256"] {
			return found, fmt.Errorf("%s has other contents", name)
		}
		found++
	}
	for _, name := range x.rolledBack {
		if _, err := client.GetTargetInfo("packages/" + name); err == nil {
			return found, fmt.Errorf("%s is published, and was rolled back", name)
		}
	}
	return found, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
