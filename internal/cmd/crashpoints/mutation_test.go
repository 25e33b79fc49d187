package main

import (
	"testing"

	"github.com/bindery-tuf/bindery/internal/mutation"
)

// mutations are mistakes of the kind that this command is to notice. Each is
// compiled in with an overlay; the tree isn't touched.
var mutations = map[string][]mutation.Edit{
	"store: a file isn't synced": {
		{"internal/disk/disk.go", "err = f.Sync()", "err = nil"},
	},
	"store: a new name isn't synced": {
		{"repository/dirstore/store.go", "\t\treturn err\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// Swap", "\t\treturn err\n\t}\n\t_ = mark\n\treturn nil\n}\n\n// Swap"},
	},
	"store: a swap isn't synced": {
		{"repository/dirstore/store.go", "\t\treturn err\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// locked", "\t\treturn err\n\t}\n\t_ = mark\n\treturn nil\n}\n\n// locked"},
	},
	"store: what is there already is taken for durable": {
		{"repository/dirstore/store.go", "\tif !wanted(have, exists) {", "\tif exists && wanted(have, exists) && name != \"timestamp.json\" {\n\t\treturn nil\n\t}\n\tif !wanted(have, exists) {"},
		{"repository/dirstore/store.go", "\t\treturn err\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// Swap", "\t\treturn err\n\t}\n\tif errors.Is(linked, fs.ErrExist) {\n\t\treturn nil\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// Swap"},
		{"repository/dirstore/store.go", "\terr = s.fsys.Link(temp, s.path(name))\n", "\terr = s.fsys.Link(temp, s.path(name))\n\tlinked := err\n"},
	},
	"store: its own directory isn't synced": {
		{"repository/dirstore/root.go", "return disk.SyncAbove(r.fsys, r.dir, made)", "return nil"},
	},
	"store: what a killed process created is taken for durable": {
		{"repository/dirstore/root.go", "if err := r.writeFormat(r.fsys.Rename); err != nil {", "if err := error(nil); err != nil {"},
	},
	"store: what a failed sync lost is left behind": {
		{"repository/dirstore/dirstore.go", "\t\tr.fsys.Remove(own)\n\t\tr.fsys.Remove(r.dir)\n", ""},
	},
	"journal: a frame isn't synced": {
		{"repository/dirjournal/file.go", "err = s.file.Sync()", "err = nil"},
	},
	"journal: a segment's beginning isn't synced": {
		{"repository/dirjournal/file.go", "err = file.Sync()", "err = nil"},
	},
	"journal: a segment's name isn't synced": {
		{"repository/dirjournal/file.go", "err := d.sync()", "err := error(nil)"},
	},
	"journal: the tail of a killed process is taken for durable": {
		{"repository/dirjournal/open.go", "\tc := coming{", "\te.doubtful = nil\n\tc := coming{"},
	},
	"journal: an outcome shows before its commit": {
		{"repository/dirjournal/queue.go", "\tcase k.queued != nil:\n", "\tcase k.queued != nil && !k.queued.sealed:\n"},
	},
	"journal: a segment that has more than its beginning is replaced": {
		{"repository/dirjournal/open.go", "if e.bare && replaceable(e.header) {", "if replaceable(e.header) {"},
	},
	"journal: the first segment of a killed process is taken for durable": {
		{"repository/dirjournal/open.go", "e.bare && !replaceable(e.header) && !created,", "false,"},
	},
	"engine: an altered bin is taken for what was published": {
		{"repository/publish.go", "case ledger.BlobOf(data) != blob:", "case false:"},
		{"repository/publish.go", "Threshold: 1}).Verify(bin); err != nil {", "Threshold: 1}).Verify(bin); false && err != nil {"},
	},
	"engine: an item is published before one that waits for the same path": {
		{"repository/plan.go", "held[path] = true", "held[path] = false"},
	},
	"engine: the timestamp is swapped before the snapshot is written": mutation.SwapBeforeSnapshot,
	"engine: a burnt version is used again":                           mutation.BurntVersionAgain,
	"engine: an intent names no snapshot": {
		{"repository/documents.go", "&ledger.Intent{Roles: []string{metadata.SNAPSHOT}}", "&ledger.Intent{}"},
	},
	"engine: an intent names one bin of a range": {
		{"repository/documents.go", "out.Bins[k].Last = n", "_ = n"},
	},
	"engine: a superseded snapshot isn't named": {
		{"repository/publish.go", "\tnames = append(names, ledger.Name(p.state.Generation, metadata.SNAPSHOT))\n", ""},
	},
	"engine: superseded documents aren't named": {
		{"repository/publish.go", "role != metadata.ROOT && !row && p.outOfUse(role, p.state.Published[role]) {", "false && !row {"},
	},
	"engine: removed targets aren't named": {
		{"repository/plan.go", "out.removed, out.unseen = list.removedFiles(leaves, out.edits)", "_ = list.removedFiles"},
	},
	"engine: the commit is recorded before the swap": {
		{"repository/publish.go", "\tfor _, swap := range s.Swaps {\n", "\tif err := p.append(ctx, gen, &ledger.Commit{}); err != nil {\n\t\treturn err\n\t}\n\tfor _, swap := range s.Swaps {\n"},
		{"repository/publish.go", "\tif err := p.append(ctx, gen, &ledger.Commit{}); err != nil {\n\t\treturn fmt.Errorf(\"commit generation %d: %w\", gen, err)\n\t}\n\tp.collection.committed", "\tp.collection.committed"},
	},
	"engine: a sealed generation isn't finished": {
		{"repository/open.go", "\t\tif err := p.finish(ctx); err != nil {\n\t\t\treturn err\n\t\t}\n", "\t\tp.state.Sealed = nil\n"},
	},
	"engine: a document's name is not written again": {
		{"repository/publish.go", "\tfor _, f := range p.unwritten {\n", "\tfor _, f := range p.unwritten {\n\t\tif _, err := p.cfg.Store.Get(ctx, f.Name()); err == nil {\n\t\t\tcontinue\n\t\t}\n"},
	},
}

// restorations are mistakes that show when something was lost.
var restorations = map[string][]mutation.Edit{
	"restoration: files appear before their generation is reserved": {
		{"repository/restore.go", "\treturn p.append(ctx, gen, p.docs.online.writes(p.all()))\n", "\tp.state.Planned = gen\n\treturn nil\n"},
	},
	"restoration: bins are published as they were": {
		{"repository/restore.go", "\tplan.alsoSign(p.all()...)\n", ""},
	},
	"restoration: offline documents aren't written again": {
		{"repository/restore.go", "\tp.unwritten = allFiles(history.files, p.unwritten)\n", "\t_ = allFiles\n"},
	},
}

// conditions are mistakes that show where items have conditions or change nothing.
var conditions = map[string][]mutation.Edit{
	"engine: a condition is ignored": {
		{"repository/plan.go", "unmet(c, found[c.Path]); reason != \"\" {", "unmet(c, found[c.Path]); reason != \"\" && false {"},
	},
	"engine: a condition is decided without the items before it": {
		{"repository/plan.go", "if t, ok := l.now[p]; ok {", "if t, ok := l.now[p]; ok && t == nil {"},
	},
	"engine: what changes nothing is published": {
		{"repository/plan.go", "\tif unchanged { // all that", "\tif false && unchanged { // all that"},
	},
	"engine: outcomes without a generation are told and not written": {
		{"repository/publish.go", "&ledger.Decided{Outcomes: outcomes}", "&ledger.Decided{}"},
	},
	"journal: outcomes without a generation are forgotten": {
		{"repository/dirjournal/queue.go", "\tq.apply(*s.Record)\n\treturn s, nil", "\tif s.Record.Kind() != ledger.KindDecided {\n\t\tq.apply(*s.Record)\n\t}\n\treturn s, nil"},
	},
}

// rotations are mistakes that show where keys are replaced.
var rotations = map[string][]mutation.Edit{
	"engine: a key is dropped a grace too early": {
		{"repository/install.go", "\t\tend := p.graceEnds(g.Superseded)\n\t\tif g.Superseded", "\t\tend := g.Superseded\n\t\tif g.Superseded"},
	},
	"engine: bins are renewed without the budget": {
		{"repository/renew.go", "\tif b.perMinute == 0 {\n\t\treturn math.MaxInt", "\tif b.perMinute >= 0 {\n\t\treturn math.MaxInt"},
	},
	"ledger: a checkpoint forgets rotations": {
		{"repository/ledger/state.go", "\t\tRotations: s.Rotations,\n", ""},
	},
}

// troubles are mistakes that show where items wait.
var troubles = map[string][]mutation.Edit{
	"engine: items that wait fill the batch": {
		{"repository/publish.go", "\t\tif held.takes(q, p.blocked) {", "\t\tif held.takes(q, p.blocked) && false {"},
	},
}

// shapes are mistakes that show in a repository of another shape than PEP 458's.
var shapes = map[string][]mutation.Edit{
	"engine: an intent doesn't name roles that are no bins": {
		{"repository/documents.go", "out.Roles = append(out.Roles, l.other(i).Name)", "_ = i"},
	},
	"engine: a document of an online role isn't signed": {
		{"repository/renew.go", "slices.ContainsFunc(p.unwritten, func(f ledger.File) bool { return f.Online && f.Role == name })", "name == \"\""},
	},
	"restoration: Open looks for a role's file that was lost": {
		{"repository/open.go", "if s := p.state.Sealed; s != nil { // it may", "if s := p.state.Sealed; false { // it may"},
	},
}

// collection are mistakes that show in a repository that is collected.
var collection = map[string][]mutation.Edit{
	"collection: nothing is deleted": {
		{"repository/collect.go", "if p.collectIn() > 0 || ctx.Err() != nil {", "if true {"},
	},
	"collection: superseded documents aren't named": {
		{"repository/publish.go", "role != metadata.ROOT && !row && p.outOfUse(role, p.state.Published[role]) {", "false && !row {"},
	},
	"collection: burnt files are deleted before the next commit": {
		{"repository/publish.go", "\tp.discard(ctx) // what an earlier", "\tfor n := range p.state.Attempts {\n\t\tfor name := range p.state.Attempts[n].Files {\n\t\t\t_ = p.cfg.Store.Delete(ctx, name)\n\t\t}\n\t}\n\tp.discard(ctx) // what an earlier"},
	},
	"collection: burnt files are forgotten": {
		{"repository/ledger/garbage.go", "g.Burnt = append(g.Burnt, a)", "_ = a"},
	},
	"collection: what is listed as published is deleted": {
		{"repository/ledger/garbage.go", "Files: b.Superseded, Targets", "Files: append(b.Superseded, Name(s.sealedAs, \"snapshot\")), Targets"},
		{"repository/collect.go", "\t\tdefault: // no record should list it", "\t\tcase keptPublished:\n\t\tdefault: // no record should list it"},
	},
}

// bases are mistakes that show if a bin is rebuilt long after the journal was lost.
var bases = map[string][]mutation.Edit{
	"collection: a base is deleted": {
		{"repository/restore.go", "Bases: basesOf(s, &pub.table)", "Bases: nil"},
		{"repository/restore.go", "func basesOf(", "var _ = basesOf\n\nfunc basesOf("},
	},
}

// graces are mistakes about the grace period. They show only to clients that are late.
var graces = map[string][]mutation.Edit{
	"collection: a generation too early": {
		{"repository/collect.go", "learned, ok := p.collection.known[generation]", "learned, ok := p.collection.known[generation-1]"},
	},
	"collection: the grace begins at the seal": {
		{"repository/publish.go", "\tp.wrote.forget()\n\tif err != nil {\n\t\treturn false,", "\tp.collection.committed(a.number, p.clock.look())\n\tp.wrote.forget()\n\tif err != nil {\n\t\treturn false,"},
		{"repository/publish.go", "\tp.collection.committed(gen, p.clock.look())\n", ""},
	},
	"collection: no grace after Open": {
		{"repository/collect.go", "\t\tlearned = p.clock.opened\n", "\t\treturn 0\n"},
	},
	"collection: the grace goes by the wall clock": {
		{"repository/collect.go", "return p.cfg.grace() - passed(learned, p.clock.look())", "return p.cfg.grace() - p.cfg.Now().Sub(learned.wall)"},
	},
	"collection: a target that is published again is deleted": {
		{"repository/collect.go", "if ok && sharesFile(t, found) {", "if false && ok && sharesFile(t, found) {"},
	},
	"collection: a target that is pending is deleted": {
		{"repository/collect.go", "case pending != nil && !names(pending, t):", "case pending != nil:"},
	},
	"collection: a target that was removed once more is deleted": {
		{"repository/collect.go", "if names(later, t) {", "if false && names(later, t) {"},
	},
}

// TestMutations shows that the checks can fail: each mutation is noticed. It
// compiles and runs the command for each, and so runs only where it is asked for.
func TestMutations(t *testing.T) {
	mutation.RequireNoticed(t, mutations, "-n", "6000", "-first")
	mutation.RequireNoticed(t, conditions, "-history", "conditions", "-first")
	mutation.RequireNoticed(t, rotations, "-history", "rotated", "-first")
	mutation.RequireNoticed(t, troubles, "-history", "troubled-rebuilt", "-first")
	mutation.RequireNoticed(t, shapes, "-history", "online", "-first")
	mutation.RequireNoticed(t, collection, "-history", "collected", "-first")
	mutation.RequireNoticed(t, bases, "-history", "collected-base", "-first")
	mutation.RequireTestsFail(t, graces, "./repository", "^TestCollection$|^TestCollectionWith|^TestTargets|^TestTargetRemoved")
	mutation.RequireNoticed(t, restorations, "-history", "lost", "-first")
}
