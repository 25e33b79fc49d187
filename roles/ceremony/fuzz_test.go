package ceremony_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

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
