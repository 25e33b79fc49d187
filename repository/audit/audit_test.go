package audit_test

import (
	"context"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// published is a copy of a good repository, to be damaged and audited: three
// roots, four bins, and three generations, of which 3 is the last.
type published struct {
	*env
	files   fstest.MapFS // metadata
	targets fstest.MapFS
	paths   []string // of targets, each in a bin of its own, by bin
	cfg     audit.Config
}

// auditing gives each test of a table a damaged copy of one good repository.
func auditing(t *testing.T, f func(t *testing.T, fresh func() *published)) {
	for _, form := range []delegation.Form{delegation.Succinct, delegation.Explicit} {
		t.Run(form.String(), func(t *testing.T) {
			inBubble(t, 4, form, func(t *testing.T, e *env) {
				require.NoError(t, e.repo.Install(t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil), e.ceremony.NextRoot(nil)}}))
				good := published{env: e, targets: fstest.MapFS{}, paths: onePathEach(t, 4, form)}
				for i, p := range good.paths {
					e.publish(good.file(p, fmt.Sprint("content ", i)))
				}
				f(t, func() *published {
					p := good
					p.files, p.targets = fstest.MapFS{}, maps.Clone(good.targets)
					for _, name := range e.store.Names() {
						data, err := e.store.Get(t.Context(), name)
						require.NoError(t, err)
						p.files[name] = &fstest.MapFile{Data: data}
					}
					p.cfg = audit.Config{Targets: p.targets, Now: time.Now}
					return &p
				})
			})
		})
	}
}

// onePathEach finds a path for each bin.
func onePathEach(t *testing.T, bins int, form delegation.Form) []string {
	t.Helper()
	layout, err := delegation.New("bins", bins, form)
	require.NoError(t, err)
	paths := make([]string, bins)
	for i := 0; slices.Contains(paths, ""); i++ {
		p := fmt.Sprintf("packages/file-%d.whl", i)
		if bin := layout.Find(p); paths[bin] == "" {
			paths[bin] = p
		}
	}
	return paths
}

// file keeps a target file under both of its names.
func (p *published) file(name, content string) roles.Target {
	t := file(name, content)
	sum := sha512.Sum512([]byte(content))
	t.Hashes["sha512"] = hex.EncodeToString(sum[:])
	for _, h := range t.Hashes {
		p.targets[path.Join(path.Dir(name), h+"."+path.Base(name))] = &fstest.MapFile{Data: []byte(content)}
	}
	return t
}

// hashed is the name of a target's file.
func (p *published) hashed(target, algorithm string) string {
	return path.Join(path.Dir(target), p.want[target].Hashes[algorithm]+"."+path.Base(target))
}

// audit returns all findings, in order of their names, but for what every repository of this form has.
func (p *published) audit() []audit.Finding {
	p.t.Helper()
	var out []audit.Finding
	for f, err := range audit.Run(p.t.Context(), audit.FS(p.files), p.cfg) {
		require.NoError(p.t, err)
		if f.Check != "clients" {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b audit.Finding) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// replace changes text in a file, which must be there once.
func (p *published) replace(name, old, new string) {
	p.t.Helper()
	text := string(p.files[name].Data)
	require.Equal(p.t, 1, strings.Count(text, old), "%q in %s: %s", old, name, text)
	p.files[name] = &fstest.MapFile{Data: []byte(strings.Replace(text, old, new, 1))}
}

// bin edits and signs a bin in place.
func (p *published) bin(name string, edit func(b *roles.Bin) *roles.Bin) {
	p.t.Helper()
	b, err := roles.ParseBin(p.files[name].Data)
	require.NoError(p.t, err)
	data, err := edit(b).Sign(p.t.Context(), p.ceremony.Bins)
	require.NoError(p.t, err)
	p.files[name] = &fstest.MapFile{Data: data}
}

// resign makes what change does to a bin's text be signed by its key.
func (p *published) resign(name, old, new string) {
	p.t.Helper()
	p.replace(name, old, new)
	p.bin(name, func(b *roles.Bin) *roles.Bin { return b })
}

// snapshot signs the current snapshot again, with edits, and the timestamp too.
func (p *published) snapshot(old, new string, edits ...roles.MetaEdit) {
	p.t.Helper()
	const name = "5.snapshot.json"
	if old != "" {
		p.replace(name, old, new)
	}
	s, err := roles.ParseSnapshot(p.files[name].Data)
	require.NoError(p.t, err)
	if len(edits) > 0 {
		s, err = s.Edit(s.Version(), s.Expires(), edits)
		require.NoError(p.t, err)
	}
	data, err := s.Sign(p.t.Context(), p.ceremony.Online)
	require.NoError(p.t, err)
	p.files[name] = &fstest.MapFile{Data: data}
	p.timestamp(5, data)
}

// timestamp makes version 5 of the timestamp name another snapshot.
func (p *published) timestamp(snapshotVersion int64, snapshot []byte) {
	p.t.Helper()
	ts, err := roles.NewTimestamp(5, time.Now().Add(24*time.Hour), snapshotVersion, snapshot)
	require.NoError(p.t, err)
	ts, err = ts.Sign(p.t.Context(), p.ceremony.Online)
	require.NoError(p.t, err)
	p.files["timestamp.json"] = &fstest.MapFile{Data: ts.Bytes()}
}

func finding(s audit.Severity, check, name, target, problem string) audit.Finding {
	return audit.Finding{Severity: s, Check: check, Name: name, Target: target, Problem: problem}
}

const (
	isError   = audit.Error
	isWarning = audit.Warning
	isNote    = audit.Note
)

// requireFindings compares all but the problems, of which want holds a part.
func requireFindings(t *testing.T, want, got []audit.Finding) {
	t.Helper()
	plain := slices.Clone(got)
	for i := range plain {
		if i < len(want) && strings.Contains(plain[i].Problem, want[i].Problem) {
			plain[i].Problem = want[i].Problem
		}
	}
	require.Equal(t, want, plain)
}

func TestAuditOfAGoodRepository(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		require.Empty(t, fresh().audit())

		log := fresh().journalLog(t)
		p := fresh()
		p.cfg.Journal = log
		require.Empty(t, p.audit())
	})
}

// Nothing is wrong, and yet one kind of client finds nothing.
func TestAuditSaysWhichClientsFindNothing(t *testing.T) {
	auditing(t, func(t *testing.T, fresh func() *published) {
		var all []audit.Finding
		for f, err := range audit.Run(t.Context(), audit.FS(fresh().files), audit.Config{}) {
			require.NoError(t, err)
			all = append(all, f)
		}
		who := "tough doesn't know succinct bins"
		if strings.HasSuffix(t.Name(), "explicit") {
			who = "go-tuf 2.4.2 compares path_hash_prefixes in a wrong way"
		}
		requireFindings(t, []audit.Finding{finding(isNote, "clients", "1.bins.json", "", who)}, all)
	})
	f := newForeign(t)
	f.others = 8000
	var all []audit.Finding
	for f, err := range audit.Run(t.Context(), audit.FS(f.sign()), audit.Config{}) {
		require.NoError(t, err)
		if f.Check == "clients" {
			all = append(all, f)
		}
	}
	requireFindings(t, []audit.Finding{finding(isNote, "clients", "20.snapshot.json", "", "it names 8003 roles: tuf-js clients")}, all)
}

// journalLog is what the journal says now.
func (p *published) journalLog(t *testing.T) readBack {
	t.Helper()
	var log readBack
	for step, err := range p.journal.Handle().Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		log = append(log, step)
	}
	return log
}

// readBack is a journal that was read.
type readBack []ledger.Step

func (h readBack) Read(context.Context, ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		for _, step := range h {
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Every kind of damage to the files yields what was done, and nothing else.
func TestAuditOfDamage(t *testing.T) {
	for name, c := range damages {
		t.Run(name, func(t *testing.T) {
			auditing(t, func(t *testing.T, fresh func() *published) {
				p := fresh()
				requireFindings(t, c(p), p.audit())
			})
		})
	}
}
