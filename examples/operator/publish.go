package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/passphrase"
	"github.com/bindery-tuf/bindery/keys/sshagent"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// What publishes: it takes the lead, so the publisher must be stopped, and signs with the online
// keys.

// signers are the online keys, by URI. Each kind of key that the program shall open is named here.
type signers struct {
	bins, online, timestamp, file string
	fd                            int
	roles                         map[string][]string // URIs by role

	opened []keys.Signer
}

func newSigners(flags *flag.FlagSet) *signers {
	s := &signers{roles: map[string][]string{}}
	flags.StringVar(&s.bins, "bins", "", "the `URI` of the key that signs the bins, such as file:/etc/index/bins.pem or sshagent:COMMENT")
	flags.StringVar(&s.online, "online", "", "the `URI` of the key that signs snapshot and timestamp")
	flags.StringVar(&s.timestamp, "timestamp", "", "the `URI` of the key that signs the timestamp, if it has one of its own")
	flags.Func("signer", "`ROLE=URI`, the key of any other role that is signed online; may be repeated", func(v string) error {
		role, uri, ok := strings.Cut(v, "=")
		if !ok || role == "" {
			return errors.New("want ROLE=URI")
		}
		s.roles[role] = append(s.roles[role], uri)
		return nil
	})
	flags.StringVar(&s.file, "passphrase", "", "the `file` with the passphrase of all key files; without it each is asked for")
	flags.IntVar(&s.fd, "passphrase-fd", -1, "read the passphrases from this file `descriptor`, a line each")
	return s
}

// config opens the keys, and puts them into a configuration.
func (s *signers) config(ctx context.Context, a *app) (cfg repository.Config, err error) {
	if s.bins == "" || s.online == "" {
		return cfg, errors.New("name the online keys with -bins and -online")
	}
	ask := passphrase.Terminal()
	switch {
	case s.file != "" && s.fd >= 0:
		return cfg, errors.New("-passphrase or -passphrase-fd, not both")
	case s.file != "":
		ask = passphrase.File(s.file)
	case s.fd >= 0:
		if ask, err = passphrase.Descriptor(s.fd); err != nil {
			return cfg, err
		}
	}
	resolver := keys.Resolver{
		"file":     a.fileOpener(ask),
		"sshagent": sshagent.Opener(sshagent.Config{Socket: os.Getenv("SSH_AUTH_SOCK")}),
	}
	open := func(uri string) keys.Signer {
		if err != nil {
			return nil
		}
		var key keys.Signer
		if key, err = resolver.Open(ctx, uri, nil); err == nil {
			s.opened = append(s.opened, key)
		}
		return key
	}
	cfg.Bins, cfg.Snapshot = open(s.bins), open(s.online)
	if cfg.Timestamp = cfg.Snapshot; s.timestamp != "" {
		cfg.Timestamp = open(s.timestamp)
	}
	cfg.Signers = map[string][]keys.Signer{}
	for role, uris := range s.roles {
		for _, uri := range uris {
			cfg.Signers[role] = append(cfg.Signers[role], open(uri))
		}
	}
	cfg.Logger, cfg.Now = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn})), a.clock
	cfg.CollectPerMinute = -1 // the publisher does that: it knows what becomes of target files
	return cfg, err
}

// lead opens the repository as its publisher. Closing it closes the journal.
func (p folders) lead(ctx context.Context, cfg repository.Config) (*repository.Repository, error) {
	if p.journal == "" {
		return nil, fmt.Errorf("%s: %w", p.metadata, errNoJournal)
	}
	var err error
	if cfg.Store, err = dirstore.Open(p.metadata); err != nil {
		return nil, err
	}
	if cfg.Journal, err = dirjournal.Open(p.journal); err != nil {
		return nil, err
	}
	repo, err := repository.Open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(err, cfg.Journal.Close())
	}
	return repo, nil
}

func (s *signers) close() {
	for _, key := range s.opened {
		if c, ok := key.(io.Closer); ok {
			_ = c.Close()
		}
	}
}

// restored is the result of a restoration.
type restored struct {
	Lost       string            `json:"lost"`
	Generation int64             `json:"generation"`
	Signed     int64             `json:"signed"` // files
	Status     repository.Status `json:"status"`
}

func restore(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	where, s := newFolderFlags(flags, false), newSigners(flags)
	lost := flags.String("lost", "", "what was lost, or is older than the other: `store` or journal")
	past := flags.Int64("past", 0, "the highest `version` of timestamp.json that clients may have seen")
	witness := flags.String("witness", "", "a `file` with a timestamp.json that clients have seen")
	documents := flags.String("documents", "", "a `folder` with the documents in force, if the backup has older ones")
	root := flags.String("root", "", "a `file` with a root that you trust; needed if there is no journal")
	acceptClock := flags.Bool("accept-clock", false, "the clock is right, although it was refused")
	yes := flags.Bool("yes", false, "don't ask")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 1:
		return nil, fmt.Errorf("want one folder, there are %d arguments", flags.NArg())
	case *lost != "store" && *lost != "journal":
		return nil, errors.New("say with -lost what was lost, store or journal: the other one is kept")
	case *past < 0:
		return nil, errors.New("-past must not be negative")
	}
	p, err := where.parts(flags.Arg(0), *lost)
	if err != nil {
		return nil, err
	}
	if *lost == "journal" && *root == "" && !isDir(p.journal) {
		return nil, errors.New("there is no journal to take a trusted root from: name one with -root, such as the copy that your clients begin with")
	}
	r := repository.Restoration{Past: *past, AcceptClock: *acceptClock}
	if *documents != "" {
		if r.Documents, err = repository.ReadDocuments(os.DirFS(*documents)); err != nil {
			return nil, err
		}
	}
	if *root != "" {
		if r.Root, err = readFile(*root); err != nil {
			return nil, err
		}
	}
	cfg, err := s.config(ctx, a)
	defer s.close()
	if err != nil {
		return nil, err
	}
	if *witness != "" {
		if cfg.Witness, err = readFile(*witness); err != nil {
			return nil, err
		}
	}
	kept, question := "journal", "The files that the journal says are published are made again in "+p.metadata+"."
	call := repository.RestoreStore
	if *lost == "journal" {
		kept, call = "store", repository.RestoreJournal
		question = "What is published in " + p.metadata + " is taken over into the journal " + p.journal + ". Items that it doesn't know are lost."
	}
	a.text("", fmt.Sprintf("The %s is kept and the %s is restored. %s Then every bin is signed again and published, above every version that clients have seen.", kept, *lost, question))
	if !*yes {
		if err := a.confirm(ctx, "The publisher must be stopped."); err != nil {
			return nil, err
		}
	}
	if cfg.Store, err = dirstore.OpenOrCreate(p.metadata); err != nil {
		return nil, err
	}
	if cfg.Journal, err = dirjournal.OpenOrCreate(p.journal); err != nil {
		return nil, err
	}
	var signed atomic.Int64
	bar := a.progress("bins signed", binsOf(ctx, p.journal, p.metadata))
	defer bar.end()
	cfg.Observe = func(e repository.Event) {
		if e.Stage == repository.StageSign && e.Err == nil {
			signed.Add(1)
			bar.step()
		}
	}
	repo, err := call(ctx, cfg, r)
	if err != nil {
		return nil, errors.Join(err, cfg.Journal.Close())
	}
	st, err := repo.Status(ctx)
	if err = errors.Join(err, repo.Close()); err != nil {
		return nil, err
	}
	bar.end()
	a.say("\npublished generation %s, with %s", number(st.Generation), count(signed.Load(), "signature"))
	a.text("", "Start the publisher again, check with operator audit, and let the index compare what it has with what is published.")
	return restored{*lost, st.Generation, signed.Load(), st}, nil
}

// parts are the folders of store and journal, of which the lost one need not be there.
func (f *folderFlags) parts(dir, lost string) (folders, error) {
	p := folders{metadata: filepath.Join(dir, "metadata"), journal: filepath.Join(dir, "journal")}
	if f.journal != "" {
		p.journal = f.journal
	}
	for part, folder := range map[string]string{"store": p.metadata, "journal": p.journal} {
		if part != lost && !isDir(folder) {
			return p, fmt.Errorf("%s is no folder, and the %s is what isn't lost", folder, part)
		}
	}
	return p, nil
}

// binsOf is about how many roles will be signed: those that the journal knows, or that the store
// has files of.
func binsOf(ctx context.Context, journal, metadata string) int {
	n := countRoles(os.DirFS(metadata))
	reader, err := dirjournal.OpenReader(journal)
	if err != nil {
		return n
	}
	var h ledger.History
	for step, err := range reader.Read(ctx, ledger.FromCheckpoint) {
		if err != nil || h.Apply(step) != nil {
			return n
		}
	}
	known := 0
	for _, set := range h.State.Table.Sets {
		known += len(set.Rows)
	}
	return max(n, known)
}

// readFile reads a file that is one: the reader of a named pipe waits for ever, and hears no interrupt.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}
