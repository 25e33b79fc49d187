package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// options are what the flags say.
type options struct {
	dir, targets, journal string
	given                 map[string]bool // flags that were on the command line
	json                  bool
	soon, soonOnline      time.Duration
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	o := options{given: map[string]bool{}}
	flags := flag.NewFlagSet("fsck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: fsck [flags] DIR\n\nDIR holds metadata, or the folders metadata, targets and journal.")
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.json, "json", false, "print each finding as a JSON object on a line of its own")
	flags.StringVar(&o.targets, "targets", "", "check the target files in this `folder`; DIR/targets if DIR holds folders; \"\" for none")
	flags.StringVar(&o.journal, "journal", "", "compare with the journal in this `folder`; DIR/journal if DIR holds folders; \"\" for none")
	flags.DurationVar(&o.soon, "soon", 720*time.Hour, "warn this long before a document expires that people sign")
	flags.DurationVar(&o.soonOnline, "soon-online", 6*time.Hour, "warn this long before timestamp, snapshot or a bin expires")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	flags.Visit(func(f *flag.Flag) { o.given[f.Name] = true })
	if flags.NArg() != 1 {
		return o, fmt.Errorf("want one folder, there are %d arguments", flags.NArg())
	}
	if o.soon <= 0 || o.soonOnline <= 0 {
		return o, fmt.Errorf("-soon and -soon-online must be more than 0")
	}
	o.dir = flags.Arg(0)
	return o, nil
}

// place is where everything is; "" for what isn't checked.
type place struct{ metadata, targets, journal string }

// locate finds the folders.
func locate(o options) (place, error) {
	p := place{metadata: o.dir, targets: o.targets, journal: o.journal}
	if below := filepath.Join(o.dir, "metadata"); isDir(below) && !holdsMetadata(o.dir) {
		p.metadata = below
		for _, part := range []struct {
			name string
			dir  *string
		}{{"targets", &p.targets}, {"journal", &p.journal}} {
			if below := filepath.Join(o.dir, part.name); !o.given[part.name] && isDir(below) {
				*part.dir = below
			}
		}
	}
	for _, dir := range []string{p.metadata, p.targets, p.journal} {
		if dir == "" {
			continue
		}
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a folder", dir)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// holdsMetadata reports whether clients could begin here.
func holdsMetadata(dir string) bool {
	names, err := fs.Glob(os.DirFS(dir), "*.root.json")
	return err == nil && len(names) > 0
}

// config reads the journal, if there is one.
func (p place) config(o options) (audit.Config, error) {
	cfg := audit.Config{Soon: o.soon, SoonOnline: o.soonOnline}
	if p.targets != "" {
		cfg.Targets = os.DirFS(p.targets)
	}
	if p.journal != "" {
		reader, err := dirjournal.OpenReader(p.journal)
		if err != nil {
			return cfg, fmt.Errorf("%w (-journal \"\" checks the rest)", err)
		}
		cfg.Journal = reader
	}
	return cfg, nil
}
