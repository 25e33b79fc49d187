package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// checkConfig says what the program would do with a configuration file. It opens keys and documents,
// reads store and journal, and changes nothing. The error names all that would keep the program from
// starting, as far as that can be known.
func checkConfig(ctx context.Context, file string, out io.Writer) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	var errs []error
	say := func(what, format string, args ...any) {
		fmt.Fprintf(out, "%-11s %s\n", what, fmt.Sprintf(format, args...))
	}
	tokens, err := readTokens(cfg)
	errs = append(errs, err)
	for _, a := range cfg.addresses() {
		guarded := ""
		switch {
		case a.who == forIndex && tokens.publisher != nil, a.who == forHolders && tokens.holders != nil:
			guarded = ", with a token"
		case a.who == forIndex, a.who == forHolders:
			guarded = ", without a token, for this machine only"
		}
		say("listens", "%s for %s%s", a.listen, map[string]string{
			forIndex: "the index and operators", forClients: "TUF clients", forMetrics: "Prometheus", forHolders: "holders of offline keys"}[a.who], guarded)
	}

	ring := newKeyring(nil)
	if _, err := ring.load(ctx, cfg); err != nil {
		errs = append(errs, err)
	}
	for _, role := range slices.Sorted(maps.Keys(ring.signers())) {
		for _, signer := range ring.signers()[role] {
			say("signs", "%s with key %s", role, signer.Public().ID())
		}
	}
	ring.close()

	documents, err := repository.ReadDocuments(os.DirFS(cfg.Documents))
	if err != nil {
		errs = append(errs, err)
	} else {
		roots := fmt.Sprintf("%d roots", len(documents.Roots))
		if len(documents.Roots) == 1 {
			roots = "1 root"
		}
		say("documents", "%s, and %s, in %s", roots, strings.Join(slices.Sorted(maps.Keys(documents.Roles)), ", "), cfg.Documents)
		if len(documents.Roots) == 0 {
			errs = append(errs, fmt.Errorf("documents: there is no root in %s: people sign it first, see examples/ceremony", cfg.Documents))
		}
	}
	say("store", "%s", cfg.Store)
	if cfg.Store.untried() && cfg.Clients == nil {
		say("clients", "what they see of the bucket can't be tried: set public_url to where they read. If a missing name is 403 for them and not 404, they fail")
	}
	say("journal", "%s", cfg.Journal)
	switch status, err := published(ctx, cfg); {
	case err == nil:
		say("published", "generation %d, signed %s", status.Generation, status.Signed.Format(time.RFC3339))
	case errors.Is(err, repository.ErrNotRepository), neverMade(cfg.Store, cfg.Journal):
		say("published", "nothing yet: the first start creates the repository of the documents")
	default:
		errs = append(errs, err)
	}
	errs = append(errs, cfg.Archive.ready())
	if cfg.Witness != "" {
		if witness, err := readWitness(cfg.Witness); err != nil {
			errs = append(errs, err)
		} else if header, err := roles.Peek(witness); err != nil {
			errs = append(errs, fmt.Errorf("witness: %s: %w", cfg.Witness, err))
		} else {
			say("witness", "version %d of timestamp.json, in %s", header.Version, cfg.Witness)
		}
	}
	if cfg.Standby {
		say("standby", "waits while another publisher has the lead, and takes over")
	}
	if c := cfg.Ceremony; c != nil {
		say("ceremonies", "in %s; complete documents are installed: %s", c.Folder, c.Install)
		if _, err := os.Stat(c.Folder); err != nil {
			errs = append(errs, fmt.Errorf("ceremony.folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// published reads what is published. In a bucket, s3store.Open tries small objects, and deletes them.
func published(ctx context.Context, cfg config) (status repository.Status, err error) {
	var store repository.Store
	if cfg.Store.Dir != "" {
		store, err = dirstore.Open(cfg.Store.Dir)
	} else {
		store, err = cfg.Store.open(ctx, cfg.Publish.caching(), nil)
	}
	if err != nil {
		return status, err
	}
	journal, done, err := cfg.Journal.reader(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return status, err
	}
	defer done()
	if status, err = repository.ReadStatus(ctx, store, journal); errors.Is(err, repository.ErrNotRepository) {
		if _, err := store.Get(ctx, ledger.Timestamp); err == nil {
			return status, fmt.Errorf("%w: the journal is empty, and the store publishes a repository: check whether the store's bucket, prefix or folder, or the journal's database, "+
				"schema or folder, is another repository's; if the journal was lost, see README.md, Backup and restore", repository.ErrDiverged)
		}
	}
	if err != nil {
		return status, err
	}
	return status, agree(ctx, store, journal)
}

// lookTwice is the pause before store and journal are compared again: a publisher may be at work.
const lookTwice = 500 * time.Millisecond

// agree makes sure that the store has the timestamp that the journal says it has, as a start does.
func agree(ctx context.Context, store repository.Store, journal repository.Reader) error {
	for try := 1; ; try++ {
		var h ledger.History
		for step, err := range journal.Read(ctx, ledger.FromCheckpoint) {
			if err == nil {
				err = h.Apply(step)
			}
			if err != nil {
				return err
			}
		}
		data, err := store.Get(ctx, ledger.Timestamp)
		switch {
		case err != nil && !errors.Is(err, repository.ErrNotExist):
			return err
		case bytes.Equal(data, h.State.Timestamp()), h.State.Sealed != nil && bytes.Equal(data, h.State.Sealed.Timestamp()):
			return nil
		case try == 3:
			return fmt.Errorf("%w: by the journal, generation %d is published, and the store's timestamp.json is another one: start the publisher, which changes nothing and says what to do",
				repository.ErrDiverged, h.State.Generation)
		}
		time.Sleep(lookTwice)
	}
}
