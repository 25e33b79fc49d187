package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// index is a package index: files, and metadata about them. Its folder has
//
//	metadata/  what clients fetch first (repository.Store)
//	targets/   the files, under HASH.name
//	journal/   the queue of uploads and the log of what was published
//	keys/      the demonstration's keys, unless the folder is temporary
type index struct {
	dir      string
	layout   delegation.Bins
	metadata *dirstore.Store
	targets  *dirstore.Targets
	repo     *repository.Repository
	signed   signatures

	ctx   context.Context // ends when publishing does, with the reason
	url   string          // where it is served
	close func() error
}

// openIndex opens the index in the folder that opts names, or makes a new one
// there, or in scratch if opts name none. It publishes until it is closed.
func openIndex(ctx context.Context, p *printer, opts options, scratch string, stderr io.Writer) (_ *index, err error) {
	layout, err := delegation.New("bins", opts.bins, opts.form)
	if err != nil {
		return nil, err
	}
	x := &index{dir: scratch, layout: layout}
	if opts.dir != "" {
		x.dir = opts.dir
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	there, err := x.exists()
	switch {
	case err != nil:
	case there:
		err = x.reopen(ctx, p, opts, log)
	default:
		err = x.create(ctx, p, opts.dir != "", log)
	}
	if err != nil && x.repo != nil {
		err = errors.Join(err, x.repo.Close())
	}
	if err != nil {
		return nil, err
	}
	x.run(ctx)
	return x, nil
}

// exists tells an index from a folder that is new or empty. Anything else in the
// folder is an error.
func (x *index) exists() (bool, error) {
	entries, err := os.ReadDir(x.dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(x.at("journal")); errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("%s holds other things, or what an interrupted first run left: give another -dir or remove it", x.dir)
	} else if err != nil {
		return false, err
	}
	return true, nil
}

func (x *index) at(name string) string { return filepath.Join(x.dir, name) }

func (x *index) create(ctx context.Context, p *printer, keep bool, log *slog.Logger) error {
	p.title("The ceremony: who may sign what")
	c, err := holdCeremony(ctx, x.layout, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return err
	}
	if keep {
		if err := writeKeys(x.at("keys"), c); err != nil {
			return err
		}
	}
	if x.targets, err = dirstore.CreateTargets(x.at("targets")); err != nil {
		return err
	}
	if x.metadata, err = dirstore.Create(x.at("metadata")); err != nil {
		return err
	}
	journal, err := dirjournal.Create(x.at("journal"))
	if err != nil {
		return err
	}
	start := time.Now()
	if x.repo, err = repository.Create(ctx, x.config(journal, c.online, log), c.documents); err != nil {
		return errors.Join(err, journal.Close())
	}
	took := time.Since(start)
	if err := x.printRoles(ctx, p); err != nil {
		return err
	}
	p.blank()
	p.line("Offline keys never touch the index. Each root key is with another person; those of targets and")
	p.line("bins sign once and are destroyed: whoever breaks into the index finds none of them. The online")
	p.line("keys are in this process (a KMS in earnest): Ed25519 for bins, P-256 for snapshot, timestamp.")
	if keep {
		p.line("For this demonstration the root and online keys are in %s.", x.at("keys"))
	}
	p.title("Publishing")
	p.line("Create signed %s empty bins and published generation 1 in %s.", number(int64(x.layout.Len())), seconds(took))
	return nil
}

func (x *index) reopen(ctx context.Context, p *printer, opts options, log *slog.Logger) error {
	online, err := readKeys(x.at("keys"))
	if err != nil {
		return err
	}
	if x.targets, err = dirstore.OpenTargets(x.at("targets")); err != nil {
		return err
	}
	if x.metadata, err = dirstore.Open(x.at("metadata")); err != nil {
		return err
	}
	journal, err := dirjournal.Open(x.at("journal"))
	if err != nil {
		return err
	}
	if x.repo, err = repository.Open(ctx, x.config(journal, online, log)); err != nil {
		err = errors.Join(err, journal.Close())
		_, statErr := os.Stat(x.at("metadata/timestamp.json"))
		if errors.Is(err, repository.ErrNotRepository) && errors.Is(statErr, fs.ErrNotExist) {
			err = fmt.Errorf("%s: the first run was interrupted before anything was published: remove the directory and run again (%w)", x.dir, err)
		}
		return err
	}
	if err := x.adoptLayout(ctx, opts); err != nil {
		return err
	}
	p.title("The index: who may sign what")
	if err := x.printRoles(ctx, p); err != nil {
		return err
	}
	status, err := x.repo.Status(ctx)
	if err != nil {
		return err
	}
	p.title("Publishing")
	p.line("Opened %s at generation %d; the offline keys are not needed.", x.dir, status.Generation)
	return nil
}

// adoptLayout reads from the role "bins" how many bins there are and in what
// form, and refuses flags that ask for something else.
func (x *index) adoptLayout(ctx context.Context, opts options) error {
	bins, err := published[metadata.TargetsType](ctx, x, delegation.BinsRole)
	if err != nil {
		return err
	}
	if x.layout, err = delegation.Parse(bins); err != nil {
		return err
	}
	if opts.given["bins"] && opts.bins != x.layout.Len() {
		return fmt.Errorf("-bins %d: the index in %s has %d bins, and keeps them", opts.bins, x.dir, x.layout.Len())
	}
	if opts.given["form"] && opts.form != x.layout.Form() {
		return fmt.Errorf("-form %v: the index in %s has bins of the %v form, and keeps them", opts.form, x.dir, x.layout.Form())
	}
	return nil
}

// published returns an offline document in force.
func published[T roles.Type](ctx context.Context, x *index, role string) (*roles.Document[T], error) {
	status, err := x.repo.Status(ctx)
	if err != nil {
		return nil, err
	}
	version := map[string]int64{
		metadata.ROOT: status.Roles[metadata.ROOT].Version, metadata.TARGETS: status.Roles[metadata.TARGETS].Version, delegation.BinsRole: status.Roles[delegation.BinsRole].Version,
	}[role]
	file, err := x.metadata.Get(ctx, fmt.Sprintf("%d.%s.json", version, role))
	if err != nil {
		return nil, err
	}
	return roles.Parse[T](file)
}

func (x *index) config(journal repository.Journal, online onlineKeys, log *slog.Logger) repository.Config {
	return repository.Config{
		Store: x.metadata, Journal: journal, Logger: log,
		Bins:      counted{online.bins, &x.signed.bins},
		Snapshot:  counted{online.fresh, &x.signed.snapshot},
		Timestamp: counted{online.fresh, &x.signed.timestamp},
		MaxDelay:  maxDelay,
	}
}

// signatures counts how often each role was signed.
type signatures struct{ bins, snapshot, timestamp atomic.Int64 }

type counted struct {
	keys.Signer
	n *atomic.Int64
}

func (c counted) Sign(ctx context.Context, message []byte) ([]byte, error) {
	c.n.Add(1)
	return c.Signer.Sign(ctx, message)
}

// run starts the one publisher. It ends x.ctx if it can't go on, so that nobody
// waits for it in vain.
func (x *index) run(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	x.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := x.repo.Run(ctx); err != nil {
			cancel(err)
		}
	}()
	x.close = func() error {
		err := x.repo.Close()
		<-done
		cancel(nil)
		return err
	}
}
