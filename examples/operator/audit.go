package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// audited is the result of an audit.
type audited struct {
	Metadata string          `json:"metadata"`
	Targets  string          `json:"targets,omitempty"`
	Journal  string          `json:"journal,omitempty"`
	Findings []audit.Finding `json:"findings"`
	Errors   int             `json:"errors"`
	Warnings int             `json:"warnings"`
	Notes    int             `json:"notes"`
}

func runAudit(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	where := newFolderFlags(flags, true)
	soon := flags.Duration("soon", 720*time.Hour, "warn this long before a document expires that people sign")
	soonOnline := flags.Duration("soon-online", 6*time.Hour, "warn this long before timestamp, snapshot or a bin expires")
	all := flags.Bool("all", false, "list every finding, also where thousands of bins have the same one")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 1:
		return nil, fmt.Errorf("want one folder, there are %d arguments", flags.NArg())
	case *soon <= 0 || *soonOnline <= 0:
		return nil, errors.New("-soon and -soon-online must be more than 0")
	}
	p, err := where.locate(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	cfg := audit.Config{Soon: *soon, SoonOnline: *soonOnline, Now: a.clock}
	if p.targets != "" {
		cfg.Targets = os.DirFS(p.targets)
	}
	// The journal is read first: what is published meanwhile isn't a fault.
	if p.journal != "" {
		if cfg.Journal, err = dirjournal.OpenReader(p.journal); err != nil {
			return nil, fmt.Errorf("%w (-journal \"\" checks the rest)", err)
		}
	}
	metadata := os.DirFS(p.metadata)
	bar := a.progress("roles", countRoles(metadata))
	defer bar.end()
	screen := findings{a: a, all: *all, groups: map[findingGroup]int{}}
	r := audited{Metadata: p.metadata, Targets: p.targets, Journal: p.journal, Findings: []audit.Finding{}}
	for f, err := range audit.Run(ctx, countedFiles{audit.FS(metadata), bar}, cfg) {
		if err != nil {
			return nil, err
		}
		r.Findings = append(r.Findings, f)
		switch f.Severity {
		case audit.Error:
			r.Errors++
		case audit.Warning:
			r.Warnings++
		default:
			r.Notes++
		}
		bar.hide()
		screen.show(f)
	}
	bar.end()
	screen.end()
	a.showAudited(r)
	if r.Errors+r.Warnings > 0 {
		return r, errAttention
	}
	return r, nil
}

// findings are what is shown of an audit. Thousands of bins may have the same fault: of each kind the
// first are shown, and the others counted.
type findings struct {
	a      *app
	all    bool
	groups map[findingGroup]int
	order  []findingGroup
}

// mostAlike is how many findings of one kind are shown.
const mostAlike = 5

// findingGroup is what findings have in common: all but the bin, the target and the numbers.
type findingGroup struct {
	severity       audit.Severity
	check          string
	files, problem string
}

var (
	quoted   = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	binOrSum = regexp.MustCompile(`-[0-9a-f]+\b|[0-9a-f]*[0-9][0-9a-f]*`)
	binFile  = regexp.MustCompile(`-[0-9a-f]+\.json$`)
)

func groupOf(f audit.Finding) findingGroup {
	g := findingGroup{severity: f.Severity, check: f.Check, files: f.Name, problem: f.Problem}
	if f.Target != "" { // one for each of millions of targets
		g.problem = strings.ReplaceAll(g.problem, strconv.Quote(f.Target), `""`)
		g.problem = strings.ReplaceAll(g.problem, f.Target, "")
		g.files = "targets"
	}
	if m := versioned.FindStringSubmatch(g.files); m != nil {
		g.files = m[1]
	}
	g.files = binFile.ReplaceAllString(g.files, "-*.json")
	g.problem = binOrSum.ReplaceAllString(quoted.ReplaceAllString(g.problem, `""`), "#")
	return g
}

func (s *findings) show(f audit.Finding) {
	g := groupOf(f)
	if s.groups[g] == 0 {
		s.order = append(s.order, g)
	}
	if s.groups[g]++; s.all || s.groups[g] <= mostAlike {
		s.a.showFinding(f)
	}
}

// end says what wasn't shown.
func (s *findings) end() {
	for _, g := range s.order {
		if more := s.groups[g] - mostAlike; more > 0 && !s.all {
			s.a.text(findingLine(g.severity, g.check), fmt.Sprintf("%s: %s like the %d above (-all lists each)", g.files, number(more)+" more", mostAlike))
		}
	}
}

func findingLine(severity audit.Severity, check string) string {
	return fmt.Sprintf("%-7s  %-10s  ", severity, check)
}

func (a *app) showFinding(f audit.Finding) {
	what := f.Name
	if what == "" {
		what = "journal"
	}
	if f.Target != "" {
		what += fmt.Sprintf(", target %q", f.Target)
	}
	a.text(findingLine(f.Severity, f.Check), what+": "+f.Problem)
}

func (a *app) showAudited(r audited) {
	checked := "checked " + r.Metadata
	if r.Targets != "" {
		checked += ", target files in " + r.Targets
	}
	if r.Journal != "" {
		checked += ", journal " + r.Journal
	}
	a.say("%s: errors=%d warnings=%d notes=%d", checked, r.Errors, r.Warnings, r.Notes)
}

// countedFiles are files whose readings a bar counts.
type countedFiles struct {
	audit.Files
	bar *progress
}

func (c countedFiles) Get(ctx context.Context, name string) ([]byte, error) {
	c.bar.step()
	return c.Files.Get(ctx, name)
}

var versioned = regexp.MustCompile(`^[0-9]+\.(.+\.json)$`)

// countRoles is about how many files an audit reads: one of each role, and all roots.
func countRoles(metadata fs.FS) int {
	entries, err := fs.ReadDir(metadata, ".")
	if err != nil {
		return 0 // the audit says it
	}
	names := map[string]bool{}
	for _, e := range entries {
		role := e.Name()
		if m := versioned.FindStringSubmatch(role); m != nil && m[1] != "root.json" {
			role = m[1]
		}
		if strings.HasSuffix(role, ".json") {
			names[role] = true
		}
	}
	return len(names)
}
