package ceremony_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

var (
	now     = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	expires = now.AddDate(1, 0, 0)
)

// person holds a key, and remembers.
type person struct {
	name     string
	key      keys.Signer
	notebook ceremony.Notebook
}

// world is a repository and the people around it.
type world struct {
	t       *testing.T
	people  []*person
	online  keys.Signer // snapshot and timestamp
	bins    keys.Signer // each bin
	layout  delegation.Bins
	names   map[string]string
	current ceremony.Documents
}

func newWorld(t *testing.T, names ...string) *world {
	t.Helper()
	w := &world{t: t, names: map[string]string{}}
	for _, name := range names {
		w.newPerson(name)
	}
	w.online, w.bins = newKey(t), newKey(t)
	w.names[w.online.Public().ID()], w.names[w.bins.Public().ID()] = "online", "online bins"
	var err error
	w.layout, err = delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	return w
}

func newKey(t testing.TB) keys.Signer {
	t.Helper()
	key, err := keys.GenerateEd25519()
	require.NoError(t, err)
	return key
}

func (w *world) newPerson(name string) *person {
	p := &person{name: name, key: newKey(w.t)}
	w.people = append(w.people, p)
	w.names[p.key.Public().ID()] = name
	return p
}

func of(threshold int, signers ...keys.Signer) roles.Authority {
	a := roles.Authority{Threshold: threshold}
	for _, s := range signers {
		a.Keys = append(a.Keys, s.Public())
	}
	return a
}

func (w *world) holders(threshold int) roles.Authority {
	a := roles.Authority{Threshold: threshold}
	for _, p := range w.people {
		a.Keys = append(a.Keys, p.key.Public())
	}
	return a
}

// offline are targets and bins signed by one-time keys.
type offline struct {
	authority roles.Authority // of targets
	docs      []ceremony.Document
	destroyed []ceremony.Destroyed
}

// signOnce makes targets and bins of this version.
func (w *world) signOnce(version int64, online roles.Authority) offline {
	w.t.Helper()
	targetsKeys, err := ceremony.NewOneTime("targets", 2)
	require.NoError(w.t, err)
	binsKeys, err := ceremony.NewOneTime("bins", 2)
	require.NoError(w.t, err)
	targets, err := delegation.NewTargets(version, expires, binsKeys.Authority())
	require.NoError(w.t, err)
	targets, err = targetsKeys.Sign(context.Background(), targets)
	require.NoError(w.t, err)
	bins, err := w.layout.NewRole(version, expires, online)
	require.NoError(w.t, err)
	bins, err = binsKeys.Sign(context.Background(), bins)
	require.NoError(w.t, err)
	return offline{
		authority: targetsKeys.Authority(),
		docs:      []ceremony.Document{{Role: "targets", File: targets.Bytes()}, {Role: "bins", File: bins.Bytes()}},
		destroyed: []ceremony.Destroyed{targetsKeys.Destroy(now), binsKeys.Destroy(now)},
	}
}

// first is the proposal for a new repository.
func (w *world) first(threshold int) ceremony.Proposal {
	w.t.Helper()
	o := w.signOnce(1, of(1, w.bins))
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires,
		Root: w.holders(threshold), Targets: o.authority,
		Snapshot: of(1, w.online), Timestamp: of(1, w.online),
	})
	require.NoError(w.t, err)
	return ceremony.Proposal{
		Reason: "a new repository", Names: w.names, Destroyed: o.destroyed,
		New: append([]ceremony.Document{{Role: "root", File: root.Bytes()}}, o.docs...),
	}
}

func (w *world) root() *roles.Document[metadata.RootType] {
	w.t.Helper()
	root, err := roles.Parse[metadata.RootType](w.current.Roots[len(w.current.Roots)-1])
	require.NoError(w.t, err)
	return root
}

// next is the proposal for a root with what change does to the last one.
func (w *world) next(change func(*roles.RootSpec)) ceremony.Proposal {
	w.t.Helper()
	return ceremony.Proposal{
		Reason: "a change", Names: w.names, Current: w.current,
		New: []ceremony.Document{{Role: "root", File: nextRoot(w.t, w.root(), change).Bytes()}},
	}
}

func nextRoot(t *testing.T, last *roles.Document[metadata.RootType], change func(*roles.RootSpec)) *roles.Document[metadata.RootType] {
	t.Helper()
	spec, err := ceremony.RootSpec(last)
	require.NoError(t, err)
	if change != nil {
		change(&spec)
	}
	root, err := ceremony.NextRoot(last, spec)
	require.NoError(t, err)
	return root
}

func (w *world) request(p ceremony.Proposal) *ceremony.Request {
	w.t.Helper()
	r, err := ceremony.NewRequest(p)
	require.NoError(w.t, err)
	return r
}

// sign has people answer.
func (w *world) sign(r *ceremony.Request, people ...*person) []*ceremony.Response {
	w.t.Helper()
	var all []*ceremony.Response
	for _, p := range people {
		response, notebook, err := r.Sign(context.Background(), p.key, p.notebook, now)
		require.NoErrorf(w.t, err, "%s", p.name)
		p.notebook = notebook
		all = append(all, response)
	}
	return all
}

// publish merges responses to a request that is then complete.
func (w *world) publish(r *ceremony.Request, people ...*person) {
	w.t.Helper()
	progress, err := r.Merge(w.sign(r, people...)...)
	require.NoError(w.t, err)
	require.True(w.t, progress.Complete())
	w.current.Roots = slices.Clone(w.current.Roots)
	for _, d := range progress.Files() {
		switch d.Role {
		case "root":
			w.current.Roots = append(w.current.Roots, d.File)
		case "targets":
			w.current.Targets = d.File
		case "bins":
			w.current.Bins = d.File
		}
	}
	require.NoError(w.t, w.current.Verify())
}
