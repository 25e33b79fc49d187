package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
)

func plan(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	var s delegation.PlanSpec
	var form, hashes string
	flags.IntVar(&s.Targets, "targets", 0, "how many target `files` there are")
	flags.IntVar(&s.Bins, "bins", 16384, "how many `bins`, a power of two")
	flags.StringVar(&form, "form", "succinct", "how the bins are described: succinct or explicit")
	flags.IntVar(&s.Uploads, "uploads", 0, "how many `targets` are added, replaced or removed a day")
	flags.IntVar(&s.Generations, "generations", 0, "how many `generations` a day publish them; 0: one for each, but at most one a second")
	flags.Int64Var(&s.Generation, "generation", 0, "the `number` of the generation; 0: the one after a year")
	flags.IntVar(&s.Lookups, "lookups", 1, "how many `targets` a client asks for in one visit")
	flags.IntVar(&s.PathBytes, "path", 0, "how many `bytes` a path has on average; 0: 113, as on PyPI")
	flags.IntVar(&s.PathHashDigits, "path-digits", 0, "how many of them are hexadecimal `digits` of a hash; 64 on PyPI")
	flags.StringVar(&hashes, "hashes", "sha256", "the hash algorithms, with commas between")
	flags.IntVar(&s.CustomBytes, "custom", 0, "how many `bytes` of custom data a target has on average")
	flags.DurationVar(&s.BinRenewal, "bin-renewal", 84*time.Hour, "the `age` at which a bin is signed again")
	flags.DurationVar(&s.SnapshotRenewal, "snapshot-renewal", 12*time.Hour, "the `age` at which snapshot and timestamp are signed again")
	keysVar(flags, &s.RootKeys, "root-keys", "the keys of root, as `SCHEME:THRESHOLD:KEYS`; ed25519:2:3 if not given")
	keysVar(flags, &s.TargetsKeys, "targets-keys", "the keys of targets; `ed25519:2:2` if not given")
	keysVar(flags, &s.BinsKeys, "bins-keys", "the keys of the role bins; `ed25519:2:2` if not given")
	flags.StringVar(&s.BinScheme, "bin-scheme", "ed25519", "the `scheme` of the online key for bins")
	flags.StringVar(&s.SnapshotScheme, "snapshot-scheme", "ecdsa-sha2-nistp256", "the `scheme` of the online key for snapshot and timestamp")
	pep458 := flags.Bool("pep458", false, "plan with the constants of PEP 458, and compare with its tables")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *pep458 {
		s.Targets, s.Bins, s.Lookups, s.PathBytes, s.PathHashDigits, s.Generation = 2_273_539, 16384, 2, 256, 64, 999_999
		form, hashes = "explicit", "sha256,sha512"
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch form {
	case "succinct":
	case "explicit":
		s.Form = delegation.Explicit
	default:
		return nil, fmt.Errorf("-form %q: want succinct or explicit", form)
	}
	s.Hashes = strings.Split(hashes, ",")
	if s.Targets == 0 {
		return nil, errors.New("say how many files there are, with -targets")
	}
	p, err := delegation.NewPlan(s)
	if err != nil {
		return nil, err
	}
	a.showPlan(p)
	if *pep458 {
		a.showPEP458(p)
	}
	return struct {
		Form string `json:"form"`
		delegation.Plan
	}{s.Form.String(), p}, nil
}

func keysVar(flags *flag.FlagSet, k *delegation.PlanKeys, name, usage string) {
	flags.Func(name, usage, func(s string) error {
		parts := strings.Split(s, ":")
		if len(parts) != 3 {
			return fmt.Errorf("want SCHEME:THRESHOLD:KEYS, such as ed25519:2:3")
		}
		k.Scheme = parts[0]
		for i, v := range []*int{&k.Threshold, &k.Keys} {
			if n, err := fmt.Sscanf(parts[1+i], "%d", v); n != 1 || err != nil {
				return fmt.Errorf("%q is not a number", parts[1+i])
			}
		}
		return nil
	})
}

func (a *app) showPlan(p delegation.Plan) {
	s := p.Spec
	uploads := "no uploads"
	if s.Uploads > 0 {
		uploads = count(s.Uploads, "upload") + " a day"
	}
	a.say("%s in %s bins (%s), %s", count(s.Targets, "target"), number(s.Bins), s.Form, uploads)
	a.say("")
	row := func(what string, size delegation.Size, about string) []string {
		return []string{what, byteSize(size.Raw), byteSize(size.Gzip), about}
	}
	bins := p.Succinct
	if s.Form == delegation.Explicit {
		bins = p.Explicit
	}
	a.table([]string{"documents", ">raw", ">gzip", ""},
		row("root", p.Root, ""),
		row("timestamp", p.Timestamp, "of generation "+number(s.Generation)),
		row("snapshot", p.Snapshot, ""),
		row("targets", p.Targets, ""),
		row("bins", bins, map[delegation.Form]string{
			delegation.Succinct: "explicit: " + byteSize(p.Explicit.Raw) + ", " + byteSize(p.Explicit.Gzip) + " with gzip",
			delegation.Explicit: "succinct: " + byteSize(p.Succinct.Raw) + ", " + byteSize(p.Succinct.Gzip) + " with gzip",
		}[s.Form]),
		row("a bin", p.Bin, count((s.Targets+s.Bins-1)/s.Bins, "target")),
		row("the fullest bin", p.Fullest, "to expect"))
	a.say("\na client's download of metadata, for %s", count(s.Lookups, "target"))
	things := "target"
	if s.Lookups > 1 {
		things = "targets"
	}
	rows := [][]string{{"that was here", ">same " + things, ">gzip", ">other " + things, ">gzip"},
		{"never", "", "", byteSize(p.New.Raw), byteSize(p.New.Gzip)}}
	for i, v := range p.Visits {
		ago := []string{"an hour ago", "a day ago", "a week ago"}[i]
		rows = append(rows, []string{ago, byteSize(v.Again.Raw), byteSize(v.Again.Gzip), byteSize(v.Other.Raw), byteSize(v.Other.Gzip)})
	}
	a.table(rows...)
	a.say("")
	a.table([]string{"a day", ">number", ""},
		[]string{"generations", number(p.Generations), "each with a signature for snapshot and timestamp"},
		[]string{"signatures of bins", number(p.BinSignatures), ""},
		[]string{"metadata stored", byteSize(p.Stored), "until it is collected"})
	a.say("")
	best := fmt.Sprintf("A client that returns pays least with %s bins, with gzip %s.", number(p.BestRaw), number(p.BestGzip))
	if p.BestRaw == p.BestGzip {
		best = fmt.Sprintf("A client that returns pays least with %s bins.", number(p.BestRaw))
	}
	a.text("", best)
	a.text("", fmt.Sprintf("These bins can be resized to %s without leaving names behind in the snapshot; %s or more can be resized to 65,536.", number(p.GrowsTo), number(p.LeastToGrow)))
	if len(p.Warnings) > 0 {
		a.title("Limits of clients")
		for _, w := range p.Warnings {
			a.text("  - ", w)
		}
	}
}

// showPEP458 compares with table 3 of the PEP, whose sizes leave out names and JSON.
func (a *app) showPEP458(p delegation.Plan) {
	const download = 2_184_393 // bytes of the average distribution: C9
	row := func(what string, pep, planned int64) []string {
		percent := func(n int64) string { return fmt.Sprintf("%d %%", (n*100+download/2)/download) }
		return []string{what, byteSize(pep), percent(pep), byteSize(planned), percent(planned)}
	}
	bins := int64(p.Spec.Lookups) * p.Bin.Raw
	a.title("Table 3 of PEP 458, with percents of an average download")
	a.table([]string{"", ">the PEP", ">", ">the plan", ">"},
		row("V7   bin-n", 54_349, p.Bin.Raw),
		row("V10  bins", 1_310_720, p.Explicit.Raw),
		row("V11  snapshot", 98_304, p.Snapshot.Raw),
		row("V12  returning user, same snapshot", 108_698, bins),
		row("V14  returning user, other snapshot", 207_002, bins+p.Snapshot.Raw),
		row("V16  new user", 1_517_722, p.New.Raw))
}
