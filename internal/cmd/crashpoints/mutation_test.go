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
		{"repository/dirstore/store.go", "\t\treturn err\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// List", "\t\treturn err\n\t}\n\t_ = mark\n\treturn nil\n}\n\n// List"},
	},
	"store: what is there already is taken for durable": {
		{"repository/dirstore/store.go", "\tif !wanted(have, exists) {", "\tif exists && wanted(have, exists) && name != \"timestamp.json\" {\n\t\treturn nil\n\t}\n\tif !wanted(have, exists) {"},
		{"repository/dirstore/store.go", "\t\treturn err\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// Swap", "\t\treturn err\n\t}\n\tif errors.Is(linked, fs.ErrExist) {\n\t\treturn nil\n\t}\n\treturn s.syncs.sync(s.dir, mark)\n}\n\n// Swap"},
		{"repository/dirstore/store.go", "\terr = s.fsys.Link(temp, s.path(name))\n", "\terr = s.fsys.Link(temp, s.path(name))\n\tlinked := err\n"},
	},
	"store: its own directory isn't synced": {
		{"repository/dirstore/root.go", "err := r.fsys.SyncDir(filepath.Join(r.dir, \"..\"))", "err := error(nil)"},
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
		{"repository/dirjournal/file.go", "err = fsys.SyncDir(dir)", "err = nil"},
	},
	"journal: the tail of a killed process is taken for durable": {
		{"repository/dirjournal/open.go", "\tif e.doubtful != nil {", "\te.doubtful = nil\n\tif e.doubtful != nil {"},
	},
	"journal: an outcome shows before its commit": {
		{"repository/dirjournal/queue.go", "\tcase k.queued != nil:", "\tcase k.queued != nil && !k.queued.sealed:"},
	},
	"journal: a segment that has more than its beginning is replaced": {
		{"repository/dirjournal/open.go", "if e.bare && replaceable(e.header) {", "if replaceable(e.header) {"},
	},
	"journal: the first segment of a killed process is taken for durable": {
		{"repository/dirjournal/open.go", "if e.bare && !replaceable(e.header) && !created {", "if false {"},
	},
	"engine: an altered bin is taken for what was published": {
		{"repository/generation.go", "case blobOf(data) != b.blob:", "case false:"},
	},
	"engine: an item is published before one that waits for the same path": {
		{"repository/plan.go", "held[path] = true", "held[path] = false"},
	},
	"engine: the timestamp is swapped before the snapshot is written": mutation.SwapBeforeSnapshot,
	"engine: a burnt version is used again":                           mutation.BurntVersionAgain,
	"engine: the commit is recorded before the swap": {
		{"repository/publisher.go", "\tif err := p.cfg.Store.Swap(ctx, timestampName, p.state.timestamp, s.Timestamp); err != nil {", "\told := p.state.timestamp\n\tearly, err := p.state.record(KindCommit, s.generation, nil, nil)\n\tif err == nil {\n\t\terr = p.append(ctx, early)\n\t}\n\tif err != nil {\n\t\treturn err\n\t}\n\tif err := p.cfg.Store.Swap(ctx, timestampName, old, s.Timestamp); err != nil {"},
		{"repository/publisher.go", "\trec, err := p.state.record(KindCommit, s.generation, nil, nil)\n\tif err != nil {\n\t\treturn fatal(err)\n\t}\n\tif err := p.append(ctx, rec); err != nil {\n\t\treturn fmt.Errorf(\"commit generation %d: %w\", s.generation, err)\n\t}\n", ""},
	},
	"engine: a sealed generation isn't finished": {
		{"repository/open.go", "\t\tif err := p.finish(ctx); err != nil {\n\t\t\treturn err\n\t\t}\n", "\t\tp.state.sealed = nil\n"},
	},
	"engine: a document's name is not written again": {
		{"repository/publisher.go", "\tfor _, f := range p.state.unwritten {\n", "\tfor _, f := range p.state.unwritten {\n\t\tif _, err := p.cfg.Store.Get(ctx, f.Name); err == nil {\n\t\t\tcontinue\n\t\t}\n"},
	},
}

// restorations are mistakes that show when something was lost.
var restorations = map[string][]mutation.Edit{
	"restoration: files appear before their generation is reserved": {
		{"repository/restore.go", "\trec, err := p.state.record(KindIntent, gen, nil, nil)\n\tif err != nil {\n\t\treturn err\n\t}\n\treturn p.append(ctx, rec)\n", "\tp.state.planned = gen\n\treturn nil\n"},
	},
	"restoration: bins are published as they were": {
		{"repository/restore.go", "\t\tplan.renew(i)\n", "\t\t_ = i\n"},
	},
	"restoration: offline documents aren't written again": {
		{"repository/restore.go", "\ts.unwritten = allFiles(history.files, s.unwritten)\n", "\t_ = allFiles\n"},
	},
}

// TestMutations shows that the checks can fail: each mutation is noticed. It
// compiles and runs the command for each, and so runs only where it is asked for.
func TestMutations(t *testing.T) {
	mutation.RequireNoticed(t, mutations, "-n", "6000", "-first")
	mutation.RequireNoticed(t, restorations, "-history", "lost", "-first")
}
