package ledger

import (
	"fmt"
	"iter"
	"slices"
	"time"
)

// MaxGarbage is how many files State.Garbage and State.Attempts list at most, and how many target
// files State.Garbage and State.Targets: about 100 MB of memory. See State.Unlisted.
const MaxGarbage = 1_000_000

// Garbage is what the commit of one generation superseded. Nobody needs it once caches serve the
// generation before no longer, and the clients that started from that have ended: a grace period
// that begins at Time.
type Garbage struct {
	Generation int64     `json:"generation"` // whose commit it was
	Time       time.Time `json:"time"`       // of its commit record

	// Files are names in the store.
	Files []string `json:"files,omitempty"`
	// Burnt are generations before this one that were given up. Some of their files may be in the
	// store. They are garbage only now: until this commit, a paused publisher might still have
	// published one of them.
	Burnt []Attempt `json:"burnt,omitempty"`
	// Targets are the target files that clients find no more. See RemovedTarget.
	Targets []RemovedTarget `json:"targets,omitempty"`
}

// Names yields the names in the store, each once. Some may not be there.
func (g *Garbage) Names(yield func(name string) bool) {
	for _, name := range g.Files {
		if !yield(name) {
			return
		}
	}
	for i := range g.Burnt {
		for name := range g.Burnt[i].Files {
			if !yield(name) {
				return
			}
		}
	}
}

// Len is how many names Names yields.
func (g *Garbage) Len() int {
	n := len(g.Files)
	for i := range g.Burnt {
		n += g.Burnt[i].Len()
	}
	return n
}

// Attempt is a generation that has an intent.
type Attempt struct {
	Generation int64 `json:"generation"`
	Intent
}

// Files yields the names that the attempt may have written.
func (a *Attempt) Files(yield func(name string) bool) {
	for role := range a.Names {
		if !yield(Name(a.Generation, role)) {
			return
		}
	}
}

// Len is how many files the intent names.
func (i *Intent) Len() int {
	n := len(i.Roles)
	for _, r := range i.Bins {
		n += r.Last - r.First + 1
	}
	return n
}

// Uncollected returns how many files in the store, and how many target files, are listed to be deleted.
// It costs nothing.
func (s *State) Uncollected() (files, targets int) { return s.files, s.targets }

// supersede lists what the commit of the sealed generation supersedes.
func (s *State) supersede(b *Seal, at time.Time) {
	g := Garbage{Generation: s.sealedAs, Time: at, Files: b.Superseded, Targets: slices.Concat(b.Removed, b.Unseen)}
	var open []Attempt
	for _, a := range s.Attempts {
		switch {
		case a.Generation > s.sealedAs:
			open = append(open, a)
		case a.Generation == s.sealedAs:
			s.files -= a.Len()
			if unused := a.unused(b); len(unused) > 0 {
				g.Files = slices.Concat(g.Files, unused)
			}
		default:
			s.files -= a.Len()
			g.Burnt = append(g.Burnt, a)
		}
	}
	s.Attempts = open
	s.Garbage = append(slices.Clip(s.Garbage), g) // a checkpoint may hold the slice
	s.files += g.Len()
	s.targets += len(g.Targets)
	s.bound()
}

// unused names the files of the intent that its generation doesn't have: roles were left out when it
// was made.
func (a *Attempt) unused(b *Seal) (names []string) {
	used := make(map[string]bool, len(b.Rows)+1)
	used["snapshot"] = true
	for _, r := range b.Rows {
		used[r.Role] = true
	}
	for role := range a.Names {
		if !used[role] {
			names = append(names, Name(a.Generation, role))
		}
	}
	return names
}

// attempted lists an intent.
func (s *State) attempted(a Attempt) {
	s.Attempts = append(slices.Clip(s.Attempts), a) // a checkpoint may hold the slice
	s.files += a.Len()
	s.bound()
}

// bound drops the oldest of what is listed beyond MaxGarbage.
func (s *State) bound() {
	for len(s.Garbage) > 1 && (s.files > MaxGarbage || s.targets-len(s.Targets) > MaxGarbage) {
		s.Unlisted = max(s.Unlisted, s.Garbage[0].Generation)
		s.drop(1)
	}
	for len(s.Attempts) > 1 && s.files > MaxGarbage {
		s.Unlisted = max(s.Unlisted, s.Attempts[0].Generation)
		s.files -= s.Attempts[0].Len()
		s.Attempts = s.Attempts[1:]
	}
	if n := len(s.Targets) - MaxGarbage; n > 0 {
		s.Targets = s.Targets[n:]
		s.targets -= n
	}
}

// drop forgets the n oldest.
func (s *State) drop(n int) {
	for i := range s.Garbage[:n] {
		s.files -= s.Garbage[i].Len()
		s.targets -= len(s.Garbage[i].Targets)
	}
	s.Garbage = s.Garbage[n:]
	if len(s.Garbage) == 0 {
		s.Garbage = nil
	}
}

// collected notes what is gone.
func (s *State) collected(b *Collected) error {
	if b.Through < s.Collected || b.Through > s.Generation {
		return fmt.Errorf("through generation %d: not from %d to %d", b.Through, s.Collected, s.Generation)
	}
	if b.Swept < 0 || b.Swept > s.Generation {
		return fmt.Errorf("swept through generation %d: not from 0 to %d", b.Swept, s.Generation)
	}
	s.Collected = b.Through
	n := 0
	for n < len(s.Garbage) && s.Garbage[n].Generation <= b.Through {
		n++
	}
	s.drop(n)
	if len(b.Settled) > 0 {
		settled := make(map[string]bool, len(b.Settled))
		for _, t := range b.Settled {
			settled[t.key()] = true
		}
		before := len(s.Targets)
		// A checkpoint may hold the slice.
		s.Targets = slices.DeleteFunc(slices.Clone(s.Targets), func(t RemovedTarget) bool { return settled[t.key()] })
		s.targets -= before - len(s.Targets)
	}
	s.Targets = append(slices.Clip(s.Targets), b.Offered...)
	s.targets += len(b.Offered)
	if len(s.Targets) == 0 {
		s.Targets = nil
	}
	if s.Unlisted <= b.Swept {
		s.Unlisted = 0
	}
	s.bound()
	return nil
}

// recount is called once a checkpoint was read.
func (s *State) recount() {
	s.files, s.targets = 0, len(s.Targets)
	for i := range s.Garbage {
		s.files += s.Garbage[i].Len()
		s.targets += len(s.Garbage[i].Targets)
	}
	for i := range s.Attempts {
		s.files += s.Attempts[i].Len()
	}
}

// checkGarbage makes sure that the generations go up and the intents are possible.
func (b *Checkpoint) checkGarbage(generation int64) error {
	last := b.Collected
	for _, g := range b.Garbage {
		if g.Generation <= last || g.Generation > generation {
			return fmt.Errorf("garbage of generation %d: not from %d to %d", g.Generation, last+1, generation)
		}
		last = g.Generation
		if err := checkAttempts(g.Burnt, 0, g.Generation-1); err != nil {
			return err
		}
	}
	return checkAttempts(b.Attempts, 0, b.Planned)
}

func checkAttempts(all []Attempt, last, most int64) error {
	for _, a := range all {
		if a.Generation <= last || a.Generation > most {
			return fmt.Errorf("attempt at generation %d: not from %d to %d", a.Generation, last+1, most)
		}
		last = a.Generation
		for _, bins := range a.Bins {
			if err := bins.check(); err != nil {
				return fmt.Errorf("attempt at generation %d: %w", a.Generation, err)
			}
		}
	}
	return nil
}

// key is equal for equal targets.
func (t RemovedTarget) key() string {
	return fmt.Sprintf("%q %q", t.Path, t.Hashes) // maps are printed in order
}

// Files yields every way to name one of the target's files: its path, an algorithm and the hash. Two
// targets that share one share a file, which clients ask for as HASH.NAME in the path's directory.
func (t RemovedTarget) Files() iter.Seq[TargetFile] { return FilesOf(t.Path, t.Hashes) }

// TargetFile is one file of a target.
type TargetFile struct{ Path, Algorithm, Hash string }

// FilesOf yields the files of a target.
func FilesOf(path string, hashes map[string]string) iter.Seq[TargetFile] {
	return func(yield func(TargetFile) bool) {
		for algorithm, hash := range hashes {
			if !yield(TargetFile{path, algorithm, hash}) {
				return
			}
		}
	}
}
