package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/repository/service"
)

// asPublisher is the environment's variable that tells this program to be a publisher, as its standard input says.
const asPublisher = "BINDERY_SHAREDBENCH_PUBLISHER"

// place is where a publisher works. It is JSON on the standard input of its process.
type place struct {
	Database string        `json:"database"` // URL, of the publisher
	Endpoint string        `json:"endpoint"` // of the bucket
	Prefix   string        `json:"prefix"`
	Key      string        `json:"key"` // file with the key that signs all
	Lease    time.Duration `json:"lease"`
}

// passphrase is that of a key which is thrown away.
const passphrase = "a benchmark's"

// start starts a publisher that waits if another one leads.
func (p place) start(ctx context.Context, documents func(context.Context) (repository.Documents, error)) (*service.Service, error) {
	key, err := keys.ReadFile(p.Key, []byte(passphrase))
	if err != nil {
		return nil, err
	}
	store, err := s3store.Open(ctx, storeConfig(p.Endpoint, p.Prefix, nil))
	if err != nil {
		return nil, err
	}
	return service.Start(ctx, service.Config{
		Standby: true, Logger: discard, Documents: documents,
		Open: func(ctx context.Context) (repository.Config, error) {
			journal, err := openJournal(ctx, p.Database, p.Lease)
			return repository.Config{Store: store, Journal: journal, Bins: key, Snapshot: key, Timestamp: key}, err
		},
	})
}

// publisher publishes until its input ends. It writes a line once it leads.
func publisher(in io.Reader, out io.Writer) error {
	ctx := context.Background()
	decoder := json.NewDecoder(in)
	var p place
	if err := decoder.Decode(&p); err != nil {
		return err
	}
	s, err := p.start(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := s.Status(ctx); err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Fprintln(out, "leads")
	_, err = io.Copy(io.Discard, io.MultiReader(decoder.Buffered(), in))
	return errors.Join(err, s.Close())
}

// failoverSides kill a publisher.
func failoverSides(ctx context.Context, e *env) (*sides, error) {
	if err := e.startServer(ctx); err != nil {
		return nil, err
	}
	database, err := e.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	key, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	site, err := benchmark.NewSite(min(e.bins, 256), key, key)
	if err != nil {
		return nil, err
	}
	p := place{Database: e.cluster.URL(publisherRole, database), Endpoint: e.server.URL, Prefix: "fail-over/", Key: filepath.Join(e.dir, "key.pem"), Lease: e.lease}
	if err := keys.WriteFile(p.Key, key, []byte(passphrase)); err != nil {
		return nil, err
	}
	first, err := p.start(ctx, func(context.Context) (repository.Documents, error) { return site.Docs, nil })
	if err == nil {
		err = first.Close()
	}
	if err != nil {
		return nil, err
	}
	journal, err := openJournal(ctx, p.Database, e.lease)
	if err != nil {
		return nil, err
	}
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) { return p.failover(ctx, site, journal) },
		limit:   func(context.Context) (time.Duration, error) { return e.lease, nil },
		end:     journal.Close,
	}, nil
}

// failover starts two publishers, kills the one that leads, and waits for the other. The journal is another
// process's, that only queues.
func (p place) failover(ctx context.Context, site *benchmark.Site, journal *pgjournal.Journal) (took time.Duration, err error) {
	kill, err := p.spawn(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, kill()) }()
	standby, err := p.start(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, standby.Close()) }()
	if err := standby.Drain(ctx); !errors.Is(err, repository.ErrLocked) {
		return 0, fmt.Errorf("the standby leads: %v", err)
	}
	if err := publishOne(ctx, site, journal); err != nil {
		return 0, err
	}
	// At a random time between two signs of life.
	if err := sleep(ctx, mathrand.N(p.Lease/3)); err != nil {
		return 0, err
	}
	if err := kill(); err != nil {
		return 0, err
	}
	start := time.Now()
	err = publishOne(ctx, site, journal)
	return time.Since(start), err
}

// publishOne queues an upload and waits until it is published.
func publishOne(ctx context.Context, site *benchmark.Site, journal *pgjournal.Journal) error {
	entries, err := benchmark.Entries(site.Uploads(1), time.Time{})
	if err != nil {
		return err
	}
	if _, err := journal.Enqueue(ctx, entries...); err != nil {
		return err
	}
	return published(ctx, journal, ids(entries))
}

// spawn starts a publisher as a process of its own and returns once it leads. kill ends it without a warning, and
// does nothing if it was called before.
func (p place) spawn(ctx context.Context) (kill func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), asPublisher+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // it ends with this process, and so does the publisher then
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	killed := false
	kill = func() error {
		if killed {
			return nil
		}
		killed = true
		err := cmd.Process.Kill()
		cmd.Wait() // its error says that it was killed
		return err
	}
	if err = json.NewEncoder(in).Encode(p); err == nil {
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the publisher's process: %w", err), kill())
	}
	return kill, nil
}
