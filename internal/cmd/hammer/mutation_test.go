package main

import (
	"testing"

	"github.com/bindery-tuf/bindery/internal/mutation"
)

// mutations are mistakes of the kind that this command is to notice, within a
// few seconds: where that takes a kill at some moment, there are several a second.
var mutations = map[string][]mutation.Edit{
	"journal: an outcome shows before its commit": {
		{"repository/dirjournal/queue.go", "\tcase k.queued != nil:\n", "\tcase k.queued != nil && !k.queued.sealed:\n"},
	},
	"journal: an item is accepted before it is written": {
		{"repository/dirjournal/writer.go", "\t\terr := j.serve(g)\n\t\tfor _, r := range g.requests {\n\t\t\tr.done <- err\n\t\t}", "\t\tfor _, r := range g.requests {\n\t\t\tif r.entries != nil {\n\t\t\t\tr.done <- nil\n\t\t\t}\n\t\t}\n\t\terr := j.serve(g)\n\t\tfor _, r := range g.requests {\n\t\t\tif r.entries == nil {\n\t\t\t\tr.done <- err\n\t\t\t}\n\t\t}"},
	},
	"journal: it isn't locked": {
		{"internal/disk/lock_flock.go", "err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)", "err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)"},
	},
	"engine: the timestamp is swapped before the snapshot is written": mutation.SwapBeforeSnapshot,
	"engine: of two items for one path the older one wins": {
		{"repository/plan.go", "out.edits[i] = append(out.edits[i], es...)", "out.edits[i] = append(es, out.edits[i]...)"},
	},
	"engine: an item is published without what it removes": {
		{"repository/plan.go", "\t\tedits[i] = append(edits[i], e)\n", "\t\tif e.Target != nil {\n\t\t\tedits[i] = append(edits[i], e)\n\t\t}\n"},
	},
	"collection: there is no grace": {
		{"repository/collect.go", "return p.cfg.grace() - passed(learned, p.clock.look())", "return -passed(learned, p.clock.look())"},
	},
	"rotation: a checkpoint forgets it": {
		{"repository/ledger/state.go", "\t\tRotations: s.Rotations,\n", ""},
	},
	"targets: a file is kept under another hash": {
		{"repository/dirstore/targets.go", "target.Hashes[algorithm]+\".\"+file", "target.Hashes[algorithm][1:]+\"0.\"+file"},
	},
}

// TestMutations shows that the hammer can find something: each mutation is noticed.
// It compiles and runs the command for each, and so runs only where it is asked for.
func TestMutations(t *testing.T) {
	// Far longer than it takes: no schedule of processes can be repeated.
	mutation.RequireNoticed(t, mutations, "-duration", "3m", "-seed", "1")
}
