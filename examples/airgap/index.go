package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
)

// index is the publisher, the server of its metadata, and clients that watch it.
type index struct {
	dir    string
	online keys.Signer
	now    func() time.Time
	store  *dirstore.Store
	repo   *repository.Repository
	server *http.Server
	listen net.Listener
	watch  *watch
	ended  chan error // of Run
}

// createIndex publishes the first documents, with the online key in dir.
func createIndex(ctx context.Context, dir, passphrase string, d repository.Documents) (*index, error) {
	x := &index{dir: dir, now: time.Now}
	var err error
	if x.online, err = keys.ReadFile(filepath.Join(dir, "web.key"), []byte(passphrase)); err != nil {
		return nil, err
	}
	if x.store, err = dirstore.Create(filepath.Join(dir, "metadata")); err != nil {
		return nil, err
	}
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	if err != nil {
		return nil, err
	}
	if x.repo, err = repository.Create(ctx, x.config(journal), d); err != nil {
		return nil, errors.Join(err, journal.Close())
	}
	if x.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, x.repo.Close())
	}
	x.server = &http.Server{Handler: web.Handler(web.Config{Store: x.store}), ReadHeaderTimeout: time.Minute}
	go x.server.Serve(x.listen)
	x.run(ctx)
	x.watch = &watch{url: x.address() + "/metadata", root: d.Roots[0], dir: filepath.Join(dir, "clients"), now: x.now}
	return x, nil
}

// config has clients refresh after every write, once there is something to see.
func (x *index) config(journal repository.Journal) repository.Config {
	return repository.Config{
		Store: watchedStore{x.store, x}, Journal: journal,
		Bins: x.online, Snapshot: x.online, Timestamp: x.online,
		MaxDelay: -1, Now: x.now,
		// No caches, and no client runs while anything is published.
		CacheAge: -1, ClientRun: -1,
		CollectPerMinute: -1, // clients of every generation are checked in the end
	}
}

func (x *index) run(ctx context.Context) {
	x.ended = make(chan error, 1)
	go func() { x.ended <- x.repo.Run(ctx) }()
}

// address is the URL, or "" as long as nothing is served.
func (x *index) address() string {
	if x == nil {
		return ""
	}
	return "http://" + x.listen.Addr().String()
}

// reopen stops the publisher and starts it at another time. Nobody was renewing anything
// in between, so clients sleep until something was published again.
func (x *index) reopen(ctx context.Context, now func() time.Time) error {
	if err := errors.Join(x.repo.Close(), <-x.ended); err != nil {
		return err
	}
	journal, err := dirjournal.Open(filepath.Join(x.dir, "journal"))
	if err != nil {
		return err
	}
	x.watch.sleep(true)
	x.now, x.watch.now = now, now
	if x.repo, err = repository.Open(ctx, x.config(journal)); err != nil {
		return errors.Join(err, journal.Close())
	}
	x.run(ctx)
	return nil
}

// upload publishes an entry for a file, and returns once clients see it.
func (x *index) upload(ctx context.Context, name string) error {
	hash := strings.Repeat("ab", 32)
	receipt, err := x.repo.Add(ctx, roles.Target{Path: name, Length: 1, Hashes: map[string]string{"sha256": hash}})
	if err == nil {
		_, err = receipt.Wait(ctx)
	}
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	x.watch.sleep(false)
	x.watch.want = append(x.watch.want, name)
	return x.watch.visit("after the upload of " + name)
}

func (x *index) close() error {
	err := errors.Join(x.repo.Close(), <-x.ended, x.server.Close())
	if x.watch != nil {
		err = errors.Join(err, x.watch.failed)
	}
	return err
}

// watchedStore has clients refresh before and after each write.
type watchedStore struct {
	*dirstore.Store
	index *index
}

func (s watchedStore) Create(ctx context.Context, name string, data []byte) error {
	s.index.watch.note("before the write of " + name)
	err := s.Store.Create(ctx, name, data)
	s.index.watch.note("after the write of " + name)
	return err
}

func (s watchedStore) Swap(ctx context.Context, name string, old, new []byte) error {
	s.index.watch.note("before the swap of " + name)
	err := s.Store.Swap(ctx, name, old, new)
	s.index.watch.note("after the swap of " + name)
	return err
}

// readDocuments reads finished documents of a ceremony.
func readDocuments(dir string, names ...string) (d repository.Documents, err error) {
	d.Roles = map[string][]byte{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return d, err
		}
		switch {
		case strings.HasSuffix(name, ".root.json"):
			d.Roots = append(d.Roots, data)
		case strings.HasSuffix(name, ".targets.json"):
			d.Roles["targets"] = data
		default:
			d.Roles["bins"] = data
		}
	}
	return d, nil
}
