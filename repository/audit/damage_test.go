package audit_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/roles"
)

type found = []audit.Finding

// The last generation is 5: 1 was the empty one, each of 2 to 5 changed one bin.
const snapshotName = "5.snapshot.json"

// damages say what they do to a good repository, and what must be found.
var damages = map[string]func(p *published) found{
	"root of the middle missing": func(p *published) found {
		delete(p.files, "2.root.json")
		return found{finding(isError, "missing", "2.root.json", "", "it does not exist: clients that trust an older root")}
	},
	"first roots missing": func(p *published) found {
		delete(p.files, "1.root.json")
		delete(p.files, "2.root.json")
		return found{finding(isError, "missing", "1.root.json", "", "roots 1 to 2 do not exist")}
	},
	"root 1 missing": func(p *published) found {
		delete(p.files, "1.root.json")
		return found{finding(isWarning, "missing", "1.root.json", "", "nobody can begin with it")}
	},
	"root of another version": func(p *published) found {
		p.files["2.root.json"] = p.files["1.root.json"]
		return found{finding(isError, "version", "2.root.json", "", "it is version 1")}
	},
	"newest root altered": func(p *published) found {
		p.replace("3.root.json", `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "signature", "3.root.json", "", "by the keys of root 3: 0 of 2 signatures")}
	},
	"newest root truncated": func(p *published) found {
		p.replace("3.root.json", `"spec_version"`, `"`)
		return found{finding(isError, "format", "3.root.json", "", "root: ")}
	},
	"root too large": func(p *published) found {
		p.files["3.root.json"] = &fstest.MapFile{Data: []byte(string(p.files["3.root.json"].Data) + strings.Repeat(" ", 512_000))}
		return found{finding(isError, "size", "3.root.json", "", "and clients read 512000")}
	},
	"all roots missing": func(p *published) found {
		for _, name := range []string{"1.root.json", "2.root.json", "3.root.json"} {
			delete(p.files, name)
		}
		return found{finding(isError, "missing", "1.root.json", "", "there is other metadata and no root: no client can begin or go on: restore every root")}
	},
	// The root is to blame, and not each of the files that it says nothing of.
	"newest root of another repository": func(p *published) found {
		p.files["3.root.json"] = strangersRoots(p, 3)[2]
		return found{finding(isError, "signature", "3.root.json", "", "by the keys of root 2: 0 of 2 signatures")}
	},
	"last two roots of another repository": func(p *published) found {
		stranger := strangersRoots(p, 3)
		p.files["2.root.json"], p.files["3.root.json"] = stranger[1], stranger[2]
		return found{
			finding(isError, "signature", "2.root.json", "", "by the keys of root 1: 0 of 2 signatures"),
			finding(isError, "signature", "3.root.json", "", "timestamp, snapshot and targets are signed by the keys of root version 1, and none by keys that this root lists"),
		}
	},
	"root of the middle of another repository": func(p *published) found {
		p.files["2.root.json"] = strangersRoots(p, 2)[1]
		return found{finding(isError, "signature", "2.root.json", "", "by the keys of root 1: 0 of 2 signatures")}
	},
	"all roots of another repository": func(p *published) found {
		for i, f := range strangersRoots(p, 3) {
			p.files[fmt.Sprintf("%d.root.json", i+1)] = f
		}
		return found{finding(isError, "signature", "3.root.json", "", "none of timestamp, snapshot and targets is signed by a key that this root lists for it")}
	},
	"timestamp missing": func(p *published) found {
		delete(p.files, "timestamp.json")
		return found{finding(isError, "missing", "timestamp.json", "", "clients ask for it")}
	},
	"timestamp altered": func(p *published) found {
		p.replace("timestamp.json", `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "signature", "timestamp.json", "", "0 of 1 signatures")}
	},
	"timestamp of another snapshot": func(p *published) found {
		p.timestamp(4, p.files["4.snapshot.json"].Data)
		last := p.binName(3)
		return found{
			finding(isNote, "orphan", last, "", "clients see version 1"),
			finding(isNote, "orphan", snapshotName, "", "clients see version 4"),
		}
	},
	"snapshot missing": func(p *published) found {
		delete(p.files, snapshotName)
		return found{finding(isError, "missing", snapshotName, "", "clients ask for it")}
	},
	"snapshot altered": func(p *published) found {
		p.replace(snapshotName, `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "hash", snapshotName, "", "its sha256 is ")}
	},
	"snapshot longer": func(p *published) found {
		p.replace(snapshotName, `"spec_version":"1.0.34"`, `"spec_version":"1.0.34" `)
		return found{finding(isError, "length", snapshotName, "", "bytes, and the metadata that refers to it says")}
	},
	"snapshot by another version": func(p *published) found {
		p.files["6.snapshot.json"] = p.files[snapshotName]
		p.timestamp(6, p.files[snapshotName].Data)
		return found{finding(isError, "version", "6.snapshot.json", "", "it is version 5")}
	},
	"a name vanished from the snapshot": func(p *published) found {
		p.snapshot(`"bins-2.json":{"version":4},`, "")
		return found{ // and no orphans: what isn't followed may be in use
			finding(isError, "missing", snapshotName, "", `it doesn't name the role "bins-2", which bins delegates to`),
			finding(isError, "version", snapshotName, "", "it doesn't name bins-2.json, which 4.snapshot.json does"),
		}
	},
	"a version went down": func(p *published) found {
		p.snapshot("", "", roles.MetaEdit{Role: "bins-0", Version: 1})
		return found{
			finding(isNote, "orphan", p.binName(0), "", "clients see version 1"),
			finding(isWarning, "version", snapshotName, "", "it names version 1 of bins-0, and 4.snapshot.json version 2"),
		}
	},
	"a role that nothing delegates to": func(p *published) found {
		p.snapshot("", "", roles.MetaEdit{Role: "old-0", Version: 7})
		return found{finding(isNote, "delegation", "7.old-0.json", "", "nothing delegates to it")}
	},
	"targets missing": func(p *published) found {
		delete(p.files, "1.targets.json")
		return found{finding(isError, "missing", "1.targets.json", "", "clients ask for it")}
	},
	"targets altered": func(p *published) found {
		p.replace("1.targets.json", `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "signature", "1.targets.json", "", "0 of 2 signatures")}
	},
	"bins altered": func(p *published) found {
		p.replace("1.bins.json", `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "signature", "1.bins.json", "", "0 of 2 signatures")}
	},
	// Its bins are signed, but by whom can't be said.
	"bins of another repository": func(p *published) found {
		p.files["1.bins.json"] = &fstest.MapFile{Data: stranger(p).Documents().Roles["bins"]}
		refused := "the keys are those that 1.bins.json lists, which is refused itself: mend that first"
		return found{
			finding(isError, "signature", "1.bins.json", "", "0 of 2 signatures"),
			finding(isError, "signature", p.binName(0), "", refused),
			finding(isError, "signature", p.binName(1), "", refused),
			finding(isError, "signature", p.binName(2), "", refused),
			finding(isError, "signature", p.binName(3), "", refused),
		}
	},
	"bin missing": func(p *published) found {
		delete(p.files, p.binName(1))
		return found{finding(isError, "missing", p.binName(1), "", "clients ask for it")}
	},
	"bin altered": func(p *published) found {
		p.replace(p.binName(1), `"spec_version":"1.0.34"`, `"spec_version":"1.0.33"`)
		return found{finding(isError, "signature", p.binName(1), "", "0 of 1 signatures")}
	},
	"bin of another version": func(p *published) found {
		p.bin(p.binName(1), func(b *roles.Bin) *roles.Bin { return edited(p, b, 7, b.Expires()) })
		return found{finding(isError, "version", p.binName(1), "", "it is version 7")}
	},
	"bin is a pipe": func(p *published) found {
		p.files[p.binName(1)] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
		return found{finding(isError, "unreadable", p.binName(1), "", "not a file")}
	},
	"target in the wrong bin": func(p *published) found {
		t := p.want[p.paths[0]]
		p.bin(p.binName(1), func(b *roles.Bin) *roles.Bin {
			return edited(p, b, b.Version(), b.Expires(), roles.TargetEdit{Path: t.Path, Target: &t})
		})
		return found{finding(isError, "misplaced", p.binName(1), t.Path, "bins doesn't delegate this path to bins-1")}
	},
	"target that clients refuse": func(p *published) found {
		p.resign(p.binName(1), `"length":9`, `"custom":{"a":null},"length":9`)
		return found{finding(isError, "target", p.binName(1), p.paths[1], "null")}
	},
	"length of a target": func(p *published) found {
		p.resign(p.binName(1), `"length":9`, `"length":8`)
		names := []string{p.hashed(p.paths[1], "sha256"), p.hashed(p.paths[1], "sha512")}
		slices.Sort(names)
		return found{
			finding(isError, "file", names[0], p.paths[1], "it has 9 bytes, and the metadata says 8"),
			finding(isError, "file", names[1], p.paths[1], "it has 9 bytes, and the metadata says 8"),
		}
	},
	"target file missing": func(p *published) found {
		name := p.hashed(p.paths[2], "sha512")
		delete(p.targets, name)
		return found{finding(isError, "file", name, p.paths[2], "it does not exist")}
	},
	"target file altered": func(p *published) found {
		name := p.hashed(p.paths[2], "sha256")
		p.targets[name] = &fstest.MapFile{Data: []byte("content!2")}
		return found{finding(isError, "file", name, p.paths[2], "its sha256 is ")}
	},
	"target file is a pipe": func(p *published) found {
		name := p.hashed(p.paths[2], "sha256")
		p.targets[name] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
		return found{finding(isError, "file", name, p.paths[2], "it is no file")}
	},
	"left behind": func(p *published) found {
		for _, name := range []string{"6.bins-0.json", "6.snapshot.json", "2.targets.json", "1.other.json", "root.json", "notes.txt", "01.root.json"} {
			p.files[name] = &fstest.MapFile{Data: []byte("{}")}
		}
		return found{
			finding(isNote, "orphan", "01.root.json", "", "without a version"),
			finding(isNote, "orphan", "1.other.json", "", "nothing refers to it"),
			finding(isNote, "orphan", "2.targets.json", "", "clients see version 1"),
			finding(isNote, "orphan", "6.bins-0.json", "", "clients see version 2"),
			finding(isNote, "orphan", "6.snapshot.json", "", "clients see version 5"),
			finding(isNote, "stray", "notes.txt", "", "not the name of any metadata"),
			finding(isNote, "orphan", "root.json", "", "without a version"),
		}
	},
	"nearly expired": func(p *published) found {
		at := time.Now().Add(20 * time.Hour)
		p.cfg.Now = func() time.Time { return at }
		return found{
			finding(isWarning, "expiry", snapshotName, "", "it expires at "),
			finding(isWarning, "expiry", "timestamp.json", "", "it expires at "),
		}
	},
	"a year later": func(p *published) found {
		at := time.Now().AddDate(1, 0, -1)
		p.cfg.Now, p.cfg.Soon = func() time.Time { return at }, time.Hour
		expired := "days ago, at "
		return found{
			finding(isError, "expiry", p.binName(0), "", ": clients refuse every target that they look for by way of it"),
			finding(isError, "expiry", p.binName(1), "", expired),
			finding(isError, "expiry", p.binName(2), "", expired),
			finding(isError, "expiry", p.binName(3), "", expired),
			finding(isError, "expiry", snapshotName, "", ": clients refuse everything, until a newer one is published"),
			finding(isError, "expiry", "timestamp.json", "", ": clients refuse everything, until a newer one is published"),
		}
	},
	"offline documents expire soon": func(p *published) found {
		p.cfg.Soon = 366 * 24 * time.Hour
		soon := "it expires at "
		return found{
			finding(isWarning, "expiry", "1.bins.json", "", soon),
			finding(isWarning, "expiry", "1.targets.json", "", soon),
			finding(isWarning, "expiry", "3.root.json", "", soon),
		}
	},
}

// binName is the current file of a bin.
func (p *published) binName(i int) string {
	return []string{"2.bins-0.json", "3.bins-1.json", "4.bins-2.json", "5.bins-3.json"}[i]
}

func edited(p *published, b *roles.Bin, version int64, expires time.Time, edits ...roles.TargetEdit) *roles.Bin {
	b, err := b.Edit(version, expires, edits)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// stranger signs for another repository of the same shape.
func stranger(p *published) *repotest.Ceremony {
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	if err != nil {
		p.t.Fatal(err)
	}
	return repotest.NewCeremony(p.t, layout, time.Now())
}

// strangersRoots are the first n roots of another repository.
func strangersRoots(p *published, n int) []*fstest.MapFile {
	c := stranger(p)
	out := []*fstest.MapFile{{Data: c.Documents().Roots[0]}}
	for len(out) < n {
		out = append(out, &fstest.MapFile{Data: c.NextRoot(nil)})
	}
	return out
}
