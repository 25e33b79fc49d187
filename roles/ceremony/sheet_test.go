package ceremony_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/columns"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func TestSheet(t *testing.T) {
	w := newWorld(t, "Ada", "Bob", "Cleo <b>")
	w.publish(w.request(w.first(2)), w.people[0], w.people[1])
	p := w.next(func(s *roles.RootSpec) { s.Root = of(1, w.people[0].key, w.people[2].key) })
	p.Reason, p.Lowers, p.Compromise = "Bob's key was stolen & <sold>", []string{"root"}, true
	r := w.request(p)
	progress, err := r.Merge(w.sign(r, w.people[0])...)
	require.NoError(t, err)
	sheet := ceremony.Sheet{Request: r, Made: now, Progress: progress}

	var text, page bytes.Buffer
	require.NoError(t, sheet.WriteText(&text))
	require.NoError(t, sheet.WriteHTML(&page))
	for _, line := range strings.Split(text.String(), "\n") {
		require.LessOrEqual(t, columns.Width(line), 78, line)
	}
	id := func(i int) string { return w.people[i].key.Public().ID() }
	halves := func(i int, indent string) string {
		d, err := ceremony.ParseDigest(id(i))
		require.NoError(t, err)
		groups := d.Groups()
		return strings.Join(groups[:4], " ") + "\n" + indent + strings.Join(groups[4:], " ")
	}
	for _, want := range []string{
		"Record of a key ceremony: root version 2\n",
		"Made    2030-01-31 12:00 UTC\nReason  Bob's key was stolen & <sold>\n",
		"!! A COMPROMISE IS DECLARED",
		"\n!! FEWER MUST SIGN from then on: root.\n",
		"DIGEST OF THIS REQUEST: COMPARE IT GROUP BY GROUP\n\n   1. ",
		"BASED ON ROOT VERSION 1\n\n   digest of root version 1:\n   1. ",
		"ROOT VERSION 2\n\n   digest of root version 2:\n   1. ",
		"expires 2031-01-31 12:00 UTC; root 1: 1 of 2 signed; root 2: 1 of 1 signed\n",
		"   root        key removed: " + id(1)[:8] + "  Bob\n   root        threshold: 1 of 2 (was 2 of 3) [!]\n",
		"   [signed] Ada\n            " + halves(0, "            ") + "\n",
		"   [      ] Bob\n            " + halves(1, "            ") + "\n",
		"Beware:  any one holder of a root key can change everything alone\n",
		"\nALL KEYS\n\n",
		"      " + id(2)[:8] + "  Cleo <b>\n",
	} {
		require.Contains(t, text.String(), want)
	}
	var ids []string
	for _, p := range w.people {
		ids = append(ids, p.key.Public().ID())
	}
	for _, step := range r.Steps() {
		for _, s := range step.Signers {
			for _, k := range s.Keys {
				ids = append(ids, k.KeyID)
			}
		}
	}
	for _, id := range ids {
		d, err := ceremony.ParseDigest(id)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(text.String(), "\n   "+d.String()+"\n      "), "the whole ID, once")
		groups := d.Groups()
		require.Contains(t, page.String(), strings.Join(groups[:4], " ")+`</span> <span class="half">`+strings.Join(groups[4:], " ")+"</span> </td><td>")
	}
	for _, g := range r.Digest().Groups() {
		require.Equal(t, 1, strings.Count(text.String(), g))
		require.Equal(t, 1, strings.Count(page.String(), g))
	}
	require.NotContains(t, page.String(), "<sold>")
	require.NotContains(t, page.String(), "Cleo <b>")
	groups := r.Digest().Groups()
	require.Contains(t, page.String(), "<td><small>1</small>"+groups[0]+"</td>")
	require.Contains(t, page.String(), "</tr><tr><td><small>5</small>"+groups[4]+"</td>")
	mark := r.Steps()[0].Digest.Groups()
	require.Contains(t, page.String(), "Digest of root version 2:<table><tr><td><small>1</small>"+mark[0]+"</td>")
	require.Contains(t, page.String(), "</tr><tr><td><small>5</small>"+mark[4]+"</td>")
	require.Contains(t, page.String(), `<p class="alarm">FEWER MUST SIGN from then on: root.</p>`)
	require.Contains(t, page.String(), "<strong>threshold: 1 of 2 (was 2 of 3) [!]</strong>")
	require.Contains(t, page.String(), "<tr><td>Ada<br>")
	require.Equal(t, 1, strings.Count(page.String(), "<td>signed</td><td></td><td></td>"))
	require.Contains(t, page.String(), "Bob&#39;s key was stolen &amp; &lt;sold&gt;")
}
