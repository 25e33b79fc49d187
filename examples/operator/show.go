package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// What shows something and changes nothing.

func status(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	journal, store, _, err := newFolderFlags(flags, false).open(ctx, args, 0)
	if err != nil {
		return nil, err
	}
	s, err := repository.ReadStatus(ctx, store, journal)
	if err != nil {
		return nil, err
	}
	a.showStatus(s)
	if len(s.Problems) > 0 {
		return s, errAttention
	}
	return s, nil
}

func (a *app) showStatus(s repository.Status) {
	if s.Generation == 0 {
		a.say("nothing is published yet")
	} else {
		a.say("generation %s, signed %s (%s)", number(s.Generation), at(s.Signed), a.from(s.Signed))
	}
	if q := s.Queue; q.Pending == 0 {
		a.say("nothing waits to be published")
	} else {
		a.hanging(fmt.Sprintf("%s wait to be published (%s), the oldest since %s (%s)", count(q.Pending, "item"), byteSize(q.Bytes), at(q.Oldest), a.from(q.Oldest)))
	}
	rows := [][]string{{"role", ">version", "expires", ""}}
	for _, role := range slices.SortedFunc(maps.Keys(s.Roles), func(x, y string) int {
		order := []string{"root", "targets", "bins", "snapshot", "timestamp"}
		place := func(role string) int {
			if i := slices.Index(order, role); i >= 0 {
				return i
			}
			return len(order)
		}
		return cmp.Or(cmp.Compare(place(x), place(y)), cmp.Compare(x, y))
	}) {
		r := s.Roles[role]
		rows = append(rows, []string{role, number(r.Version), a.from(r.Expires), at(r.Expires)})
	}
	if !s.FirstBinExpires.IsZero() {
		rows = append(rows, []string{count(s.BinCount, "bin"), "", a.from(s.FirstBinExpires), at(s.FirstBinExpires) + ", the first of them"})
	}
	a.say("")
	a.table(rows...)
	if len(s.Fullest) > 0 {
		a.say("")
		rows := [][]string{{"fullest bins", ">size", ">of what clients read", "largest target"}}
		for _, f := range s.Fullest {
			rows = append(rows, []string{f.Bin, byteSize(f.Bytes), fmt.Sprintf("%d %%", f.Bytes*100/roles.MaxTargetsWithLength), f.Largest})
		}
		a.table(rows...)
	}
	if c := s.Collection; c.Files+c.Targets > 0 {
		a.say("")
		a.hanging(fmt.Sprintf("%s and %s wait to be deleted, superseded since %s (%s)", count(c.Files, "superseded file"), count(c.Targets, "target file"), at(c.Oldest), a.from(c.Oldest)))
	}
	a.showRotations(s.Rotations)
	if slices.ContainsFunc(s.Rotations, func(r repository.Rotation) bool { return r.State != repository.RotationSigning }) {
		a.text("    ", "This is reckoned with a grace period of 2 hours. If the publisher's is longer (Config.CacheAge, ClientRun), ask its own Status.")
	}
	if len(s.Problems) == 0 {
		a.say("\nall is well, as far as store and journal show")
		return
	}
	a.title("Problems")
	for _, p := range s.Problems {
		what := p.What
		if !p.From.IsZero() {
			what += " (from " + at(p.From) + ")"
		}
		a.text(fmt.Sprintf("  %-8s ", p.Severity), what)
		a.text("           ", p.Advice)
	}
}

func showLog(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	n := flags.Int("n", 20, "how many of the newest `generations`; 0 for all")
	since := flags.Int64("since", 0, "begin with this `generation`")
	journal, _, _, err := newFolderFlags(flags, false).open(ctx, args, 0)
	switch {
	case err != nil:
		return nil, err
	case *n < 0 || *since < 0:
		return nil, errors.New("-n and -since must not be negative")
	}
	var all []repository.Generation
	left := 0                           // out
	first, newest := int64(0), int64(0) // of the history that is kept
	done := a.working("reading the journal")
	defer done()
	for g, err := range repository.ReadGenerations(ctx, journal) {
		if err != nil {
			return nil, err
		}
		if first == 0 {
			first = g.Number
		}
		newest = g.Number
		if g.Number < *since {
			continue
		}
		if all = append(all, g); *n > 0 && len(all) > *n {
			all, left = all[1:], left+1
		}
	}
	done()
	rows := [][]string{{">generation", "clients see it since", ">items", ">bins", "what"}}
	for _, g := range all {
		rows = append(rows, []string{number(g.Number), g.Committed.UTC().Format("2006-01-02 15:04:05"), number(g.Items), number(g.Bins), whatOf(g)})
	}
	if left > 0 {
		a.say("%s before these: -n 0 shows all", count(left, "generation"))
	}
	const back = "before was archived or dropped, or clients never saw it: put archived segments back to see it"
	switch {
	case first == 0:
		a.hanging("nothing was published since the history that is kept began: what came " + back)
	case first > 1:
		a.hanging(fmt.Sprintf("the history that is kept begins with generation %s: what came %s", number(first), back))
	}
	if len(all) > 0 {
		a.table(rows...)
	} else if first > 0 {
		a.say("there is no generation %s yet: the newest is %s", number(*since), number(newest))
	}
	return struct {
		Generations []repository.Generation `json:"generations"`
		Earlier     int                     `json:"earlier"`
	}{all, left}, nil
}

// whatOf says what is special about a generation, the rarest first.
func whatOf(g repository.Generation) string {
	var all []string
	for _, role := range slices.Sorted(maps.Keys(g.Documents)) {
		all = append(all, fmt.Sprintf("%s %d", role, g.Documents[role]))
	}
	for _, state := range slices.Sorted(maps.Keys(g.Outcomes)) {
		if state != repository.Published {
			all = append(all, fmt.Sprintf("%d %s", g.Outcomes[state], state))
		}
	}
	for _, who := range slices.SortedFunc(maps.Keys(g.By), func(x, y string) int {
		return cmp.Or(-cmp.Compare(g.By[x], g.By[y]), cmp.Compare(x, y))
	}) {
		if who != "" {
			all = append(all, fmt.Sprintf("%s: %d", who, g.By[who]))
		}
	}
	if len(all) == 0 && g.Items == 0 {
		return "signed again"
	}
	return strings.Join(all, ", ")
}

func diff(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	journal, _, between, err := newFolderFlags(flags, false).open(ctx, args, 2)
	if err != nil {
		return nil, err
	}
	var numbers [2]int64
	for i, text := range between {
		if numbers[i], err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, fmt.Errorf("%q is not the number of a generation: operator log lists them", text)
		}
	}
	done := a.working("reading the journal")
	d, err := repository.ReadDiff(ctx, journal, numbers[0], numbers[1])
	done()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(d.String()) {
		a.hanging(line)
	}
	return d, nil
}

// found is what lookup shows.
type found struct {
	Generation int64            `json:"generation"`
	Target     *roles.Target    `json:"target"` // null: clients find nothing
	Life       *repository.Life `json:"life,omitempty"`
}

func lookup(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	life := flags.Bool("life", false, "show also every item that ever named the path, which reads the whole history")
	journal, store, rest, err := newFolderFlags(flags, false).open(ctx, args, 1)
	if err != nil {
		return nil, err
	}
	v, err := repository.ReadView(ctx, store, journal)
	if err != nil {
		return nil, err
	}
	out := found{Generation: v.Generation()}
	t, err := v.Lookup(ctx, rest[0])
	switch {
	case errors.Is(err, repository.ErrNotPublished):
		a.hanging(fmt.Sprintf("clients of generation %s find no target %q", number(out.Generation), rest[0]))
	case err != nil:
		return nil, err
	default:
		out.Target = &t
		a.say("in generation %s clients find", number(out.Generation))
		a.say("  %-11s  %s", "path", t.Path)
		a.say("  %-11s  %s bytes", "length", number(t.Length))
		for _, name := range slices.Sorted(maps.Keys(t.Hashes)) {
			hash := t.Hashes[name]
			a.say("  %-11s  %s", name, hash[:min(64, len(hash))])
			if len(hash) > 64 {
				a.say("  %-11s  %s", "", hash[64:])
			}
		}
		if len(t.Custom) > 0 {
			a.text("  custom       ", string(t.Custom))
		}
	}
	if *life {
		done := a.working("reading the journal")
		out.Life, err = repository.ReadLife(ctx, journal, rest[0])
		done()
		if err != nil {
			return nil, err
		}
		a.say("")
		for line := range strings.Lines(out.Life.String()) {
			a.hanging(line)
		}
	}
	if out.Target == nil {
		return out, errAttention
	}
	return out, nil
}
