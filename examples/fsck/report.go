package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/bindery-tuf/bindery/repository/audit"
)

// report prints findings as they come.
type report struct {
	w      io.Writer
	json   bool
	counts map[audit.Severity]int
}

func (r *report) finding(f audit.Finding) error {
	r.counts[f.Severity]++
	if r.json {
		e := json.NewEncoder(r.w)
		e.SetEscapeHTML(false)
		return e.Encode(f)
	}
	what := f.Name
	if what == "" {
		what = "journal"
	}
	if f.Target != "" {
		what += fmt.Sprintf(", target %q", f.Target)
	}
	_, err := fmt.Fprintf(r.w, "%-7s  %-10s  %s: %s\n", f.Severity, f.Check, printable(what), printable(f.Problem))
	return err
}

// printable keeps what foreign metadata says from driving the terminal.
func printable(s string) string {
	if strings.IndexFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

func (r *report) summary(p place) error {
	if r.json {
		return nil
	}
	checked := p.metadata
	if p.targets != "" {
		checked += ", target files in " + p.targets
	}
	if p.journal != "" {
		checked += ", journal " + p.journal
	}
	_, err := fmt.Fprintf(r.w, "checked %s: errors=%d warnings=%d notes=%d\n", checked,
		r.counts[audit.Error], r.counts[audit.Warning], r.counts[audit.Note])
	return err
}
