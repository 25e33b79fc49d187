package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
)

// The replacement of an online key.

func rotate(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	where, s := newFolderFlags(flags, false), newSigners(flags)
	to := flags.String("to", "", "the `URI` of the new key")
	run := flags.Bool("run", false, "publish until the new key has signed everything, and don't only begin")
	budget := flags.Int("renewals", 0, "how many bins a `minute` -run signs again at most; 0: no limit")
	yes := flags.Bool("yes", false, "don't ask")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 2:
		return nil, fmt.Errorf("want a folder and a role, there are %d arguments", flags.NArg())
	case *to == "":
		return nil, errors.New("name the new key with -to; -bins and -online are the keys of now")
	case *budget < 0:
		return nil, errors.New("-renewals must not be negative")
	}
	p, err := where.locate(flags.Arg(0))
	if err != nil {
		return nil, err
	}
	role := flags.Arg(1)
	s.roles[role] = slices.Insert(s.roles[role], 0, *to)
	cfg, err := s.config(ctx, a)
	defer s.close()
	if err != nil {
		return nil, err
	}
	cfg.RenewalsPerMinute = *budget
	a.text("", fmt.Sprintf("From now on %s is signed with key %s. The documents in force must name the old key and the new one. The publisher must be given both, the new one first.", role, keyOf(cfg.Signers[role][0])))
	if !*yes {
		if err := a.confirm(ctx, "The publisher must be stopped."); err != nil {
			return nil, err
		}
	}
	repo, err := p.lead(ctx, cfg)
	if err != nil {
		return nil, err
	}
	rotations, err := a.rotate(ctx, repo, role, *run)
	if err = errors.Join(err, repo.Close()); err != nil {
		return nil, err
	}
	a.showRotations(rotations)
	return rotations, nil
}

func keyOf(key keys.Signer) string { return key.Public().ID()[:12] }

// rotate begins, and runs the publisher until nothing is left to sign, if that is wanted.
func (a *app) rotate(ctx context.Context, repo *repository.Repository, role string, run bool) ([]repository.Rotation, error) {
	if err := repo.Rotate(ctx, role); err != nil {
		return nil, err
	}
	st, err := repo.Status(ctx)
	if err != nil || !run {
		return st.Rotations, err
	}
	left := func() (n int) {
		for _, r := range st.Rotations {
			n += r.Left
		}
		return n
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- repo.Run(running) }()
	defer stop()
	bar := a.progress("roles signed again", left())
	defer bar.end()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for before := left(); before > 0; {
		select {
		case <-tick.C:
		case err := <-ran:
			return nil, errors.Join(err, errors.New("the publisher ended"))
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if st, err = repo.Status(ctx); err != nil {
			return nil, err
		}
		now := left()
		for range before - now {
			bar.step()
		}
		before = now
	}
	stop()
	return st.Rotations, <-ran
}

// showRotations shows how far online keys are replaced.
func (a *app) showRotations(all []repository.Rotation) {
	if len(all) == 0 {
		return
	}
	a.title("Rotations")
	for _, r := range all {
		var from []string
		for _, id := range r.From {
			from = append(from, fmt.Sprintf("%.12s", id))
		}
		a.text("  ", fmt.Sprintf("%s: %s, from key %s to %.12s, begun %s", r.Role, r.State, strings.Join(from, ", "), r.To, at(r.Begun)))
		if r.Left > 0 {
			a.text("    ", count(r.Left, "role")+" left to sign")
		}
		next := "next: " + r.Next
		if !r.At.IsZero() {
			next += fmt.Sprintf(", %s (%s)", at(r.At), a.from(r.At))
		}
		a.text("    ", next)
	}
}
