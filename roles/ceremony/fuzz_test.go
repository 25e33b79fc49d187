package ceremony_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// Whatever is read as a request can be shown, merged and made again as it was.
func FuzzParseRequest(f *testing.F) {
	t := &testing.T{}
	w := newWorld(t, "Ada", "Bob", "Cleo")
	first := w.request(w.first(2))
	f.Add(first.Bytes())
	w.publish(first, w.people[0], w.people[1])
	f.Add(w.request(w.next(nil)).Bytes())
	p := w.next(func(s *roles.RootSpec) { s.Root = of(1, w.people[0].key, newKey(t)) })
	p.Lowers, p.Compromise = []string{"root"}, true
	f.Add(w.request(p).Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := ceremony.ParseRequest(file)
		if err != nil {
			return
		}
		again, err := ceremony.NewRequest(r.Proposal())
		require.NoError(t, err)
		require.Equal(t, r.Digest(), again.Digest())
		require.Equal(t, r.Steps(), again.Steps())
		progress, err := r.Merge()
		require.NoError(t, err)
		require.Len(t, progress.Documents, len(r.Steps()))
		var page bytes.Buffer
		require.NoError(t, ceremony.Sheet{Request: r, Made: now, Progress: progress}.WriteText(&page))
		require.NoError(t, ceremony.Sheet{Request: r, Made: now}.WriteHTML(&page))
		_ = r.Check(ceremony.Notebook{}, now)
	})
}

// Whatever is read as a response is refused or counted, and never makes a document
// complete that its holders didn't sign.
func FuzzParseResponse(f *testing.F) {
	t := &testing.T{}
	w := newWorld(t, "Ada", "Bob", "Cleo")
	r := w.request(w.first(2))
	answers := w.sign(r, w.people[0], w.people[1])
	f.Add(answers[0].Bytes())
	f.Add(answers[1].Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		response, err := ceremony.ParseResponse(file)
		if err != nil {
			return
		}
		require.NotEmpty(t, response.Marks())
		require.NotEmpty(t, response.KeyIDs())
		progress, err := r.Merge(response)
		if err != nil {
			return
		}
		require.False(t, progress.Complete(), "one key of two")
		require.LessOrEqual(t, len(progress.Documents[0].Quorums[0].Signed), 1)
	})
}

func FuzzParseCard(f *testing.F) {
	file, err := ceremony.NewCard(f.Context(), newKey(&testing.T{}), "Ada")
	require.NoError(f, err)
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		if h, err := ceremony.ParseCard(file); err == nil {
			require.NotEmpty(t, h.Name)
			require.NotEmpty(t, h.Key.ID())
		}
	})
}

func FuzzParseNotebook(f *testing.F) {
	f.Add(ceremony.Notebook{}.Bytes())
	f.Add(ceremony.Notebook{Trusted: &ceremony.Mark{Role: "root", Version: 3}, Signed: []ceremony.Mark{{Role: "bins", Version: 1}}}.Bytes())
	f.Fuzz(func(t *testing.T, file []byte) {
		n, err := ceremony.ParseNotebook(file)
		if err != nil {
			return
		}
		again, err := ceremony.ParseNotebook(n.Bytes())
		require.NoError(t, err)
		require.Equal(t, n.Bytes(), again.Bytes())
	})
}

// Whatever others wrote, the next document keeps it, and says nothing else about targets and keys.
func FuzzNextTargets(f *testing.F) {
	key := newKey(f).Public()
	bins := roles.Authority{Keys: []*keys.PublicKey{key}, Threshold: 1}
	entry := `{"keytype":"ed25519","keyval":{"public":"` + key.Value() + `"},"scheme":"ed25519","x":[1,{"y":null}]}`
	head := `{"_type":"targets","spec_version":"1.0.0","version":1,"expires":"2031-01-31T00:00:00Z","targets":{}`
	f.Add([]byte(head + `}`))
	f.Add([]byte(head + `,"x-\u2028":-9007199254740993}`))
	f.Add([]byte(head + `,"delegations":{"keys":{"` + key.ID() + `":` + entry + `},"roles":[{"name":"bins","keyids":["` + key.ID() + `"],"threshold":1,"terminating":true,"paths":["*"],"x":"\"\\"}]}}`))
	f.Add([]byte(head + `,"delegations":{"x":1,"keys":{},"succinct_roles":{"keyids":[],"threshold":1,"bit_length":2,"name_prefix":"bins"}}}`))
	f.Fuzz(func(t *testing.T, signed []byte) {
		last, err := roles.Parse[metadata.TargetsType]([]byte(`{"signatures":[],"signed":` + string(signed) + `}`))
		if err != nil {
			return
		}
		fresh, err := delegation.NewTargets(last.Version()+1, expires, bins)
		if err != nil {
			return // beyond the last version
		}
		next, err := ceremony.NextTargets(last, fresh)
		require.NoError(t, err)
		require.NoError(t, delegation.CheckTargets(next))
		require.Equal(t, fresh.Expires(), next.Expires())
		is, err := roles.DelegatedAuthority(next, "bins")
		require.NoError(t, err)
		require.Len(t, is.Keys, 1)
		require.True(t, is.Keys[0].Same(key))
		again, err := ceremony.NextTargets(last, next)
		require.NoError(t, err)
		require.Equal(t, next.Bytes(), again.Bytes())
	})
}
