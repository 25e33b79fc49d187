package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/repository/service"
)

// teller prints lines, each in one write, so that a kill leaves whole lines.
type teller struct {
	mu  sync.Mutex
	out io.Writer
}

func (t *teller) tell(format string, args ...any) {
	line := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintln(t.out, line)
}

func holderName(number int) string { return fmt.Sprintf("publisher-%d", number) }

// runPublisher publishes, or stands by, until SIGTERM or the end of its standard input. It prints
//
//	d            when a file of the store was deleted
//	i VERSION    when the site's keys and documents are in use
//	r VERSION    when all that the rotation demands is done
//	u TEXT       when something is untrue
func runPublisher(ctx context.Context, p process, in io.Reader, out io.Writer) error {
	go func() {
		_, _ = io.Copy(io.Discard, in)
		os.Exit(3) // the parent is gone
	}()
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	logFile, err := os.OpenFile(filepath.Join(p.Dir, holderName(p.Number)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	tell := &teller{out: out}
	log := slog.New(&inspector{slog.NewTextHandler(logFile, &slog.HandlerOptions{Level: slog.LevelDebug}), tell}).With("pid", os.Getpid())
	log.Info("begin")
	cfg := service.Config{
		Standby: true, Logger: log, Caching: siteConfig().Caching,
		Open: func(ctx context.Context) (repository.Config, error) { return p.open(ctx, log, tell) },
		Documents: func(context.Context) (repository.Documents, error) {
			s, err := readSite(p.Dir)
			return s.Documents, err
		},
	}
	var svc *service.Service
	for svc == nil {
		if svc, err = service.Start(ctx, cfg); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			log.Error("it can't start yet", "err", err)
			time.Sleep(200 * time.Millisecond)
		}
	}
	p.follow(ctx, svc, log, tell)
	err = svc.Close()
	log.Info("end", "err", err)
	return nil
}

func (p process) open(ctx context.Context, log *slog.Logger, tell *teller) (repository.Config, error) {
	cfg := siteConfig()
	s, err := readSite(p.Dir)
	if err != nil {
		return cfg, err
	}
	signers, err := online(s.Keys)
	if err != nil {
		return cfg, err
	}
	cfg.Signers = map[string][]keys.Signer{}
	for _, role := range rotated {
		cfg.Signers[role] = signers
	}
	cfg.Now = func() time.Time { return time.Now().Add(p.Clock) }
	cfg.Logger = log
	store, err := openStore(ctx, p.Store, p.Public)
	if err != nil {
		return cfg, err
	}
	cfg.Store = &watched{Store: store, tell: tell, mine: map[string]bool{}}
	cfg.Journal, err = openJournal(ctx, pgjournal.Config{Holder: holderName(p.Number), Logger: log}, publisherRole, p.Database)
	return cfg, err
}

// follow uses each site that people give, and tells how far it is.
func (p process) follow(ctx context.Context, svc *service.Service, log *slog.Logger, tell *teller) {
	used, ready, epoch := 0, 0, int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
		s, err := readSite(p.Dir)
		if err != nil {
			tell.tell("u %v", err)
			return
		}
		if s.Version > used {
			if err := svc.Reload(ctx); err != nil {
				log.Info("reload", "err", err)
				continue
			}
			used = s.Version
		}
		status, err := svc.Status(ctx)
		if err != nil || !status.Leads || status.Epoch != epoch {
			// It is told again: by the time that this publisher leads, a replica that was promoted may lack it.
			epoch, ready = status.Epoch, 0
		}
		if err != nil || errors.Is(status.Err, repository.ErrLocked) || errors.Is(status.Err, service.ErrUnavailable) {
			continue
		}
		if status.Generation > 0 && status.Roles[metadata.ROOT].Version < int64(len(s.Documents.Roots)) {
			used = 0 // what a standby took over may have come too early to be installed
			continue
		}
		if s.Begin {
			for _, role := range rotated {
				if !slices.ContainsFunc(status.Rotations, func(r repository.Rotation) bool { return r.Role == role }) {
					if err := svc.Rotate(ctx, role); err != nil {
						log.Info("rotate", "role", role, "err", err)
					}
				}
			}
			isReady := len(status.Rotations) == len(rotated)
			for _, r := range status.Rotations {
				isReady = isReady && r.State == repository.RotationReady
			}
			if isReady && ready < s.Version {
				ready = s.Version
				tell.tell("r %d", s.Version)
			}
			continue
		}
		// Documents without the old key end the rotation.
		if len(status.Rotations) == 0 && status.Generation > 0 && ready < s.Version && status.Err == nil {
			ready = s.Version
			tell.tell("i %d", s.Version)
		}
	}
}

// watched is the bucket, and compares what it says with what must be true.
type watched struct {
	*s3store.Store
	tell *teller

	mu   sync.Mutex
	mine map[string]bool // names that this publisher may have created since it opened the repository
}

func (w *watched) Create(ctx context.Context, name string, data []byte) error {
	w.mu.Lock()
	w.mine[name] = true
	w.mu.Unlock()
	err := w.Store.Create(ctx, name, data)
	w.conflict(ctx, "Create", name, data, err)
	return err
}

func (w *watched) Swap(ctx context.Context, name string, old, new []byte) error {
	err := w.Store.Swap(ctx, name, old, new)
	w.conflict(ctx, "Swap", name, new, err)
	return err
}

// conflict finds a conflict between the same bytes.
func (w *watched) conflict(ctx context.Context, call, name string, data []byte, err error) {
	if !errors.Is(err, repository.ErrConflict) {
		return
	}
	if have, err := w.Store.Get(ctx, name); err == nil && bytes.Equal(have, data) {
		w.tell.tell("u %s of %s: a conflict, and the bucket has the very bytes", call, name)
	}
}

// Delete makes sure that clients can't come to need the file: a publisher that was paused might still swap in the
// timestamp of its generation, unless a higher one was swapped in. What this publisher wrote itself, it may know
// to be sealed by nobody.
func (w *watched) Delete(ctx context.Context, name string) error {
	w.mu.Lock()
	mine := w.mine[name]
	w.mu.Unlock()
	if version, _, ok := ledger.ParseName(name); ok && !mine {
		if data, err := w.Store.Get(ctx, ledger.Timestamp); err == nil {
			visible, err := timestampVersion(data)
			if err != nil {
				w.tell.tell("u %s: %v", ledger.Timestamp, err)
			} else if visible <= version {
				w.tell.tell("u %s is deleted while the timestamp has version %d: a publisher that was paused might swap in version %d", name, visible, version)
			}
		}
	}
	err := w.Store.Delete(ctx, name)
	if err == nil {
		w.tell.tell("d")
	}
	return err
}

// inspector looks for errors that no fault explains in what is logged.
type inspector struct {
	slog.Handler
	tell *teller
}

func (i *inspector) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			if why := inexplicable(err); why != "" {
				i.tell.tell("u %s: %s: %v", why, r.Message, err)
			}
		}
		return true
	})
	return i.Handler.Handle(ctx, r)
}

func (i *inspector) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &inspector{i.Handler.WithAttrs(attrs), i.tell}
}

func (i *inspector) WithGroup(name string) slog.Handler {
	return &inspector{i.Handler.WithGroup(name), i.tell}
}

// brokenHistory is how package ledger begins to say that the history isn't one.
var brokenHistory = regexp.MustCompile(`journal: (item "|[a-z]+ record of generation)`)

// inexplicable says why an error of a publisher is none that a fault explains, or "".
func inexplicable(err error) string {
	var e *pgconn.PgError
	switch {
	case errors.Is(err, repository.ErrDiverged):
		return "store and journal disagree"
	case errors.Is(err, repository.ErrNotRepository):
		return "the repository is gone"
	case errors.As(err, &e) && slices.Contains([]string{"22", "23", "40", "42"}, e.Code[:2]):
		// data, constraints, serialization and deadlocks, syntax and privileges
		return "the database refuses what a publisher does"
	case brokenHistory.MatchString(err.Error()):
		return "the history is broken"
	}
	return ""
}
