package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
)

// daemon is a publisher that runs: a service, and the servers in front of it.
type daemon struct {
	file  string // of the configuration
	log   *slog.Logger
	keys  *keyring
	repo  *service.Service
	store repository.Store

	ceremony *ceremonies // or nil
	metrics  *metrics    // or nil

	mu  sync.Mutex
	cfg config // of the last load

	opening sync.Mutex
	journal *pgjournal.Journal // see shared

	draining context.Context // requests that wait for an outcome are answered when it ends
	answer   context.CancelFunc
	servers  []*http.Server
	served   chan error
}

// start opens everything and listens. The log names the addresses.
func start(ctx context.Context, file string, log *slog.Logger) (_ *daemon, err error) {
	cfg, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	d := &daemon{file: file, log: log, keys: newKeyring(log), cfg: cfg, served: make(chan error, len(cfg.addresses()))}
	tokens, err := readTokens(cfg)
	if err != nil {
		return nil, err
	}
	if err = cfg.Archive.ready(); err != nil {
		return nil, err
	}
	// All that can be wrong with an address shows before the repository is touched.
	var listeners []net.Listener // in the order of cfg.addresses
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			d.keys.close()
		}
	}()
	for _, a := range cfg.addresses() {
		l, err := net.Listen("tcp", a.listen)
		if err != nil {
			return nil, fmt.Errorf("listen for %s: %w", a.who, err)
		}
		listeners = append(listeners, l)
	}
	if _, err = d.keys.load(ctx, cfg); err != nil {
		return nil, err
	}
	if d.store, err = cfg.Store.open(ctx, cfg.Publish.caching(), log); err != nil {
		return nil, err
	}
	if cfg.Metrics != nil {
		if d.metrics, err = newMetrics(); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			d.closeShared()
		}
	}()
	sc := service.Config{Open: d.open, Documents: d.documents, Standby: cfg.Standby, Caching: cfg.Publish.caching(), Logger: log}
	if cfg.Journal.Postgres != nil { // a standby accepts items, and costs the database little
		sc.Queue = func(ctx context.Context) (repository.Queue, error) { return d.shared(ctx) }
		sc.Vacant = func(ctx context.Context) error {
			journal, err := d.shared(ctx)
			if err != nil {
				return err
			}
			return journal.Vacant(ctx)
		}
	}
	d.repo, err = service.Start(ctx, sc)
	if errors.Is(err, repository.ErrDiverged) {
		err = withCommands(err)
	}
	if err != nil {
		return nil, err
	}
	if d.metrics != nil {
		if _, err = d.metrics.Watch(d.repo.Status); err != nil {
			return nil, errors.Join(err, d.repo.Close())
		}
	}
	if cfg.Ceremony != nil {
		d.ceremony = &ceremonies{
			folder: cfg.Ceremony.Folder, automatic: cfg.Ceremony.Install == installAutomatic,
			documents: func() string { return d.config().Documents }, repo: d.repo, store: d.store, log: log,
		}
	}
	d.serve(ctx, cfg, tokens, listeners)
	return d, nil
}

// open is the Open of the service. It opens the journal last.
func (d *daemon) open(ctx context.Context) (repository.Config, error) {
	c := d.config()
	cfg := c.Publish.repository()
	cfg.Store, cfg.Signers, cfg.OneMachine = d.store, d.keys.signers(), c.OneMachine
	if d.metrics != nil {
		cfg.Store, cfg.Observe = d.metrics.Store(d.store), d.metrics.Observe
	}
	if c.LogSignatures {
		observe, sign := cfg.Observe, repository.LogSignatures(d.log)
		cfg.Observe = func(e repository.Event) {
			sign(e)
			if observe != nil {
				observe(e)
			}
		}
	}
	var err error
	if cfg.Witness, err = readWitness(c.Witness); err != nil {
		return cfg, err
	}
	cfg.Journal, err = c.Journal.open(ctx, d.log)
	return cfg, err
}

// shared is a handle of the journal in PostgreSQL that takes no lead and stays open: a standby asks and submits with it.
func (d *daemon) shared(ctx context.Context) (*pgjournal.Journal, error) {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.journal == nil {
		journal, err := d.config().Journal.Postgres.open(ctx, d.log)
		if err != nil {
			return nil, err
		}
		d.journal = journal
	}
	return d.journal, nil
}

func (d *daemon) closeShared() error {
	d.opening.Lock()
	defer d.opening.Unlock()
	if d.journal == nil {
		return nil
	}
	return d.journal.Close()
}

// reader reads the journal alongside another process that publishes. It makes nothing.
func (d *daemon) reader(ctx context.Context) (repository.Reader, error) {
	if p := d.config().Journal; p.Postgres == nil {
		return dirjournal.OpenReader(p.Dir)
	}
	return d.shared(ctx)
}

func (d *daemon) config() config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.cfg
}

// documents is the Documents of the service: those in the folder, without the ones that are older than
// what is in force. The machine of a standby may lack the result of the last ceremony, and must be
// able to publish all the same.
func (d *daemon) documents(ctx context.Context) (repository.Documents, error) {
	cfg := d.config()
	documents, err := repository.ReadDocuments(os.DirFS(cfg.Documents))
	if err != nil {
		return documents, err
	}
	status, err := d.readStatus(ctx)
	if err != nil {
		return documents, nil // there is no repository yet, or opening it says what is wrong
	}
	for role, data := range documents.Roles {
		header, err := roles.Peek(data)
		if err != nil {
			return documents, fmt.Errorf("%s: %w", role, err)
		}
		_, online := cfg.Keys[role]
		if inForce := status.Roles[role].Version; header.Version < inForce && !online {
			d.log.Warn("the folder has an older document than the one in force: copy the newest documents into it",
				"folder", cfg.Documents, "role", role, "version", header.Version, "in force", inForce)
			delete(documents.Roles, role)
		}
	}
	return documents, nil
}

// readStatus is the status that the journal says, for a process that doesn't lead.
func (d *daemon) readStatus(ctx context.Context) (repository.Status, error) {
	journal, err := d.reader(ctx)
	if err != nil {
		return repository.Status{}, err
	}
	return repository.ReadStatus(ctx, d.store, journal)
}

// reload reads the configuration, the keys and the documents again.
func (d *daemon) reload(ctx context.Context) error {
	next, err := readConfig(d.file)
	if err != nil {
		return err
	}
	before := d.config()
	if member := before.changed(next); member != "" {
		return fmt.Errorf("configuration %s: %s has changed: only a restart takes that up, and nothing was reloaded", d.file, member)
	}
	if before.Publish.caching() != next.Publish.caching() {
		return fmt.Errorf("configuration %s: publish.cache_max_age or cache_stale_if_error has changed: only a restart takes that up, and nothing was reloaded", d.file)
	}
	release, err := d.keys.load(ctx, next)
	if err != nil {
		return fmt.Errorf("nothing was reloaded: %w", err)
	}
	d.mu.Lock()
	d.cfg = next
	d.mu.Unlock()
	if err := d.repo.Reload(ctx); err != nil {
		return err // the repository may still use the earlier keys: they stay open
	}
	release()
	return nil
}

// The limits of a connection. A request may wait for maxWait, and for Patience of the service.
const (
	maxWait     = time.Minute
	readHeader  = 10 * time.Second
	readRequest = time.Minute
	answerAfter = maxWait + time.Minute
	idle        = 2 * time.Minute
	drain       = 20 * time.Second
)

// serve serves each listener.
func (d *daemon) serve(ctx context.Context, cfg config, tokens tokens, listeners []net.Listener) {
	d.draining, d.answer = context.WithCancel(context.WithoutCancel(ctx))
	for i, a := range cfg.addresses() {
		var handler http.Handler
		switch a.who {
		case forIndex:
			handler = d.api(tokens.publisher)
		case forClients:
			handler = web.Handler(web.Config{Store: d.store, Caching: d.repo.Caching(), Logger: d.log})
		case forMetrics:
			handler = d.metrics.handler()
		case forHolders:
			handler = d.holdersAPI(tokens.holders)
		}
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: readHeader, ReadTimeout: readRequest, WriteTimeout: answerAfter, IdleTimeout: idle,
			MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelWarn),
		}
		d.servers = append(d.servers, server)
		d.log.Info("listening", "for", a.who, "address", listeners[i].Addr().String())
		go func() { d.served <- server.Serve(listeners[i]) }()
	}
}

// run serves until the context ends, and then closes everything in order. Each value of hangup
// reloads.
func (d *daemon) run(ctx context.Context, hangup <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	if d.ceremony != nil {
		background.Go(func() { d.ceremony.watch(ctx) })
	}
	if a := d.config().Archive; a != nil {
		background.Go(func() { d.archiveAgain(ctx, *a) })
	}
	var err error
	for stopped := false; !stopped; {
		select {
		case <-hangup:
			if err := d.reload(ctx); err != nil {
				d.log.Error("not all was reloaded: mend what the error names, and send SIGHUP again; documents alone are tried again each minute", "err", err)
			} else {
				d.log.Info("configuration, keys and documents are reloaded")
			}
		case err = <-d.served:
			stopped = true
		case <-ctx.Done():
			stopped = true
		}
	}
	cancel()
	return errors.Join(err, d.close(&background))
}

// close answers the requests that are under way, and gives the lead up once none is left.
func (d *daemon) close(background *sync.WaitGroup) error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	d.answer()
	var errs []error
	for _, s := range d.servers {
		if err := s.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut off: %w", err), s.Close())
		}
	}
	errs = append(errs, d.repo.Close(), d.closeShared())
	background.Wait()
	d.keys.close()
	return errors.Join(errs...)
}
