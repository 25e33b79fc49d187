package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// site is a repository on disk.
type site struct {
	*benchmark.Site
	dir          string
	bins, online key
}

// newSite makes keys and offline documents; nothing is on disk.
func newSite(dir string, bins int) (*site, error) {
	s := &site{dir: dir}
	var err error
	if s.bins, err = ed25519Key(); err != nil {
		return nil, err
	}
	if s.online, err = p256Key(); err != nil {
		return nil, err
	}
	s.Site, err = benchmark.NewSite(bins, s.bins.signer, s.online.signer)
	return s, err
}

func (s *site) metadata() string { return filepath.Join(s.dir, "metadata") }
func (s *site) journal() string  { return filepath.Join(s.dir, "journal") }

// create makes the repository with empty bins.
func (s *site) create(ctx context.Context) (*repository.Repository, error) {
	return s.begin(ctx, dirstore.Create, dirjournal.Create, func(c repository.Config) (*repository.Repository, error) {
		return repository.Create(ctx, c, s.Docs)
	})
}

// open opens it, with another configuration if change isn't nil.
func (s *site) open(ctx context.Context, change func(*repository.Config)) (*repository.Repository, error) {
	return s.begin(ctx, dirstore.Open, dirjournal.Open, func(c repository.Config) (*repository.Repository, error) {
		if change != nil {
			change(&c)
		}
		return repository.Open(ctx, c)
	})
}

func (s *site) begin(ctx context.Context, store func(string) (*dirstore.Store, error), journal func(string) (*dirjournal.Journal, error),
	begin func(repository.Config) (*repository.Repository, error)) (*repository.Repository, error) {
	st, err := store(s.metadata())
	if err != nil {
		return nil, err
	}
	j, err := journal(s.journal())
	if err != nil {
		return nil, err
	}
	r, err := begin(s.Config(st, j))
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return r, nil
}

// site returns the repository of this name, whose bins hold n targets each, and makes
// it at first.
func (e *env) site(ctx context.Context, name string, n int) (s *site, made bool, err error) {
	if s := e.sites[name]; s != nil {
		return s, false, nil
	}
	fmt.Fprintf(e.log, "making a repository of %d bins of %d targets\n", e.bins, n)
	if s, err = newSite(filepath.Join(e.dir, "site-"+name), e.bins); err == nil {
		err = os.Mkdir(s.dir, 0o700)
	}
	if err == nil {
		err = s.fill(ctx, n, e.remembered)
	}
	if err != nil {
		return nil, false, err
	}
	if e.sites == nil {
		e.sites = map[string]*site{}
	}
	e.sites[name] = s
	return s, true, nil
}

// fill makes the repository: see benchmark.Site.Fill.
func (s *site) fill(ctx context.Context, n, remembered int) error {
	store, err := dirstore.Create(s.metadata())
	if err != nil {
		return err
	}
	journal, err := dirjournal.Create(s.journal())
	if err != nil {
		return err
	}
	err = s.Fill(ctx, benchmark.Filling{
		Store: store, Journal: journal, Targets: n, Remembered: remembered,
		Write: func(ctx context.Context, n int, name func(i int) string, content []byte) error {
			return writeFiles(ctx, s.metadata(), n, func(i int) (string, []byte, error) { return name(i), content, nil })
		},
	})
	return errors.Join(err, journal.Close())
}

// queued returns roughly how many bytes a queued upload takes in the journal.
func queued(t roles.Target, at time.Time) (int, error) {
	e, err := ledger.Item{ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Add: []roles.Target{t}, Accepted: at}.Entry()
	if err != nil {
		return 0, err
	}
	head, err := json.Marshal(e)
	return len("e ") + len(head) + len(`,"size":300`) + len("\n") + len(e.Body) + len("\n"), err
}

// newest returns the newest file of each bin, and removes all older ones.
func (s *site) newest() ([]string, error) {
	entries, err := os.ReadDir(s.metadata())
	if err != nil {
		return nil, err
	}
	versions := make([]int, s.Layout.Len())
	remove := func(version, bin int) error {
		return os.Remove(filepath.Join(s.metadata(), fmt.Sprintf("%d.%s.json", version, s.Layout.Name(bin))))
	}
	for _, e := range entries {
		version, rest, _ := strings.Cut(e.Name(), ".")
		bin, ok := s.Layout.Index(strings.TrimSuffix(rest, ".json"))
		if !ok {
			continue
		}
		v, err := strconv.Atoi(version)
		if err != nil {
			return nil, err
		}
		if older := min(v, versions[bin]); older > 0 {
			if err := remove(older, bin); err != nil {
				return nil, err
			}
		}
		versions[bin] = max(v, versions[bin])
	}
	files := make([]string, len(versions))
	for i, v := range versions {
		files[i] = filepath.Join(s.metadata(), fmt.Sprintf("%d.%s.json", v, s.Layout.Name(i)))
	}
	return files, nil
}
