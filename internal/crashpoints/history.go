package crashpoints

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
)

// History is what an index does, from the creation of its repository on.
type History struct {
	Name  string
	Steps []Step

	documents    repository.Documents
	layout       delegation.Bins
	bins, online keys.Signer
	signers      map[string][]keys.Signer
	claimed      string        // a path that people sign, or ""
	checkpoint   int           // bytes
	cache        int64         // bytes; negative: none
	batch        int64         // bytes; zero: the default
	thorough     bool          // every sync fails at every moment
	budget       int           // of renewals a minute; zero: none
	grace        time.Duration // for which caches serve, and a client runs; zero: the default
	collects     bool          // superseded files are deleted at once

	last repository.Documents // without the keys that are replaced
}

// Step is what happens next, in the order of its fields: time passes; a bin's file is altered or
// restored; items are submitted; documents are installed, and others are refused that would come too
// early; rotations are ready or begin; the process ends, perhaps the store is
// lost, and another process opens the repository; or everything accepted is published. Items whose
// bin is altered are not waited for. If nothing is queued, the bins are renewed.
type Step struct {
	Wait            time.Duration
	Alter           string
	Heal            healing
	Submit          []repository.Item
	Install         repository.Documents
	TooEarly        repository.Documents // clients behind caches need what they drop
	Ready           bool                 // all rotations are, before anything is installed
	Rotate          []string             // roles
	Lose            loss
	Reopen, Publish bool
	Decide          bool // like Publish, but nothing is to be signed
}

// noon is the time at which every history begins.
var noon = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

// author writes a history.
type author struct {
	*History
	ceremony *repotest.Ceremony
	items    int
}

// bins is the number of bins of every repository.
const bins = 2

func newAuthor(t require.TestingT, name string, form delegation.Form, checkpoint int) *author {
	layout, err := delegation.New("bins", bins, form)
	require.NoError(t, err)
	c := repotest.NewSeededCeremony(t, layout, noon, sha256.Sum256([]byte(name)))
	return &author{&History{
		Name: name, documents: c.Documents(), layout: layout, bins: c.Bins, online: c.Online, checkpoint: checkpoint,
	}, c, 0}
}

func (a *author) step(s Step) { a.Steps = append(a.Steps, s) }

// submit makes an item that differs from all others.
func (a *author) submit(add, remove []string) repository.Item {
	a.items++
	it := repository.Item{ID: fmt.Sprintf("item-%04d", a.items), Remove: remove}
	for _, path := range add {
		it.Add = append(it.Add, repotest.File(path, it.ID))
	}
	return it
}

func file(n int) string { return fmt.Sprintf("packages/p%d/file.whl", n) }

func (a *author) add(paths ...int) repository.Item {
	var all []string
	for _, n := range paths {
		all = append(all, file(n))
	}
	return a.submit(all, nil)
}

func (a *author) remove(n int) repository.Item { return a.submit(nil, []string{file(n)}) }

// Scripted returns the histories that together have everything that a repository does: one for
// each form of bins and pace of checkpoints, and those with trouble, conditions, other shapes and
// restorations.
func Scripted(t require.TestingT) []*History {
	var all []*History
	for _, form := range []delegation.Form{delegation.Succinct, delegation.Explicit} {
		for _, checkpoint := range []int{1 << 20, 1} {
			a := newAuthor(t, fmt.Sprintf("scripted-%v-%d", form, checkpoint), form, checkpoint)
			a.step(Step{Submit: []repository.Item{a.add(1, 2), a.add(3)}, Publish: true})
			a.step(Step{Submit: []repository.Item{a.add(1), a.add(1), a.add(4)}})                                                                           // replaced, twice
			a.step(Step{Submit: []repository.Item{a.remove(3), a.add(5), a.remove(99)}, Publish: true})                                                     // two generations
			a.step(Step{Wait: 5 * 24 * time.Hour, Publish: true})                                                                                           // renewal alone
			a.step(Step{Install: repository.Documents{Roots: [][]byte{a.ceremony.NextRoot(nil)}}})                                                          // a commit of its own
			a.step(Step{Submit: []repository.Item{a.add(6)}, Reopen: true})                                                                                 // pending over a restart
			a.step(Step{Install: repository.Documents{Roles: map[string][]byte{"targets": a.ceremony.NextTargets(nil), "bins": a.ceremony.NextBins(nil)}}}) // takes the pending one along
			a.step(Step{Wait: 13 * time.Hour, Submit: []repository.Item{a.remove(6), a.add(3)}, Publish: true})
			all = append(all, a.History)
		}
	}
	all[0].thorough = true // it needs every segment to the end
	all = append(all, troubled(t, "troubled-replaced", 1<<20, -1, 1, replaced), troubled(t, "troubled-rebuilt", 1, 1, 0, rebuilt))
	all = append(all, conditional(t, "conditions", 1<<20), claimed(t, "claimed"), rotated(t, "rotated"), online(t, "online", delegation.Succinct))
	all = append(all, collected(t, "collected", 1<<20), collected(t, "collected-checkpoints", 1), rebuiltFromBase(t, "collected-base", 1))
	return append(all, lossy(t, "lost", 1<<20, wholeStore), lossy(t, "older", 1, newest), lossy(t, "journal", 1<<20, wholeJournal))
}

// Random returns a longer history from a seed.
func Random(t require.TestingT, seed uint64, n int) *History {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	a := newAuthor(t, fmt.Sprintf("random-%d-%d", seed, n), delegation.Succinct, []int{1, 3000, 1 << 20}[r.IntN(3)])
	for range 12 {
		var s Step
		for range r.IntN(6) {
			switch r.IntN(5) {
			case 0:
				s.Submit = append(s.Submit, a.remove(r.IntN(8)))
			case 1:
				if n := len(s.Submit); n > 0 {
					s.Submit = append(s.Submit, a.again(s.Submit[r.IntN(n)]))
				}
				s.Submit = append(s.Submit, ifAbsent(a.add(r.IntN(8))))
			case 2:
				first := r.IntN(8)
				s.Submit = append(s.Submit, a.add(first, (first+1+r.IntN(7))%8))
			default:
				s.Submit = append(s.Submit, a.add(r.IntN(8)))
			}
		}
		switch r.IntN(8) {
		case 0:
			s.Reopen = true
		case 1:
			s.Install.Roots = [][]byte{a.ceremony.NextRoot(nil)}
		case 2:
			s.Install.Roles = map[string][]byte{"targets": a.ceremony.NextTargets(nil)}
		case 3:
			s.Install.Roles = map[string][]byte{"bins": a.ceremony.NextBins(nil)}
		case 4: // stays pending
		default:
			s.Publish = len(s.Submit) > 0
		}
		if r.IntN(3) == 0 {
			s.Wait = time.Duration(r.IntN(6*24)) * time.Hour
		}
		a.step(s)
	}
	return a.History
}
