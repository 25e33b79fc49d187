package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/bindery-tuf/bindery/repository"
)

// restoration is what an operator says after a loss. README.md has the runbook.
type restoration struct {
	lost        string // "", or what was lost or is older than the other: tail, store or journal
	past        int64
	witness     string // a file
	root        string // a file
	documents   bool
	acceptClock bool
}

const (
	lostTail    = "tail"
	lostStore   = "store"
	lostJournal = "journal"
)

func (r *restoration) flags(flags *flag.FlagSet) {
	flags.StringVar(&r.lost, "restore", "", "go on after a loss, and end: `what` was lost or is older, tail (the journal's last records), store or journal")
	flags.Int64Var(&r.past, "past", 0, "with -restore: the highest `version` of timestamp.json that clients may have seen")
	flags.StringVar(&r.witness, "witness", "", "with -restore: a `file` with a timestamp.json that clients have seen, in place of the configured one")
	flags.StringVar(&r.root, "root", "", "with -restore journal: a `file` with a root that you trust, if the journal is empty")
	flags.BoolVar(&r.documents, "restore-documents", false, "with -restore: the folder of documents has newer ones than the backup")
	flags.BoolVar(&r.acceptClock, "accept-clock", false, "with -restore: the clock is right, although it was refused")
}

// withCommands says by which command an operator does what an error of package repository advises.
func withCommands(err error) error {
	return fmt.Errorf("%w (Open is a start without -restore, Adopt is publisher -restore tail, RestoreStore is -restore store, RestoreJournal is -restore journal: first see README.md, Backup and restore)", err)
}

// restore does what the operator says, as the publisher: while another one has the lead it is refused.
func (r restoration) restore(ctx context.Context, file string, log *slog.Logger, out io.Writer) (err error) {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	d := &daemon{file: file, log: log, keys: newKeyring(log), cfg: cfg}
	if _, err := d.keys.load(ctx, cfg); err != nil {
		return err
	}
	defer d.keys.close()
	given := repository.Restoration{Past: r.past, AcceptClock: r.acceptClock}
	if r.root != "" {
		if given.Root, err = os.ReadFile(r.root); err != nil {
			return err
		}
	}
	if r.documents {
		if given.Documents, err = repository.ReadDocuments(os.DirFS(cfg.Documents)); err != nil {
			return err
		}
	}
	if d.store, err = cfg.Store.open(ctx, cfg.Publish.caching(), log); err != nil {
		return err
	}
	c, err := d.open(ctx)
	if err != nil {
		return err
	}
	c.Logger = log
	if r.witness != "" {
		if c.Witness, err = os.ReadFile(r.witness); err != nil {
			return errors.Join(err, c.Journal.Close())
		}
	}
	var repo *repository.Repository
	var adopted repository.Adopted
	switch r.lost {
	case lostTail:
		repo, adopted, err = repository.Adopt(ctx, c)
	case lostStore:
		repo, err = repository.RestoreStore(ctx, c, given)
	case lostJournal:
		repo, err = repository.RestoreJournal(ctx, c, given)
	default:
		err = fmt.Errorf("-restore %s: say %s, %s or %s", r.lost, lostTail, lostStore, lostJournal)
	}
	if err != nil {
		return errors.Join(withCommands(err), c.Journal.Close())
	}
	status, err := repo.Status(ctx)
	if err = errors.Join(err, repo.Close()); err != nil {
		return err
	}
	if r.lost == lostTail {
		fmt.Fprintln(out, adopted)
	}
	fmt.Fprintf(out, "generation %d is published: start the publisher\n", status.Generation)
	return nil
}
