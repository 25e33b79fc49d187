package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/roles"
)

var forms = []delegation.Form{delegation.Succinct, delegation.Explicit}

// paths are what CheckPath lets through and clients might stumble over.
var paths = []string{
	"simple/demo/index.html",
	"1.root.json", "timestamp.json", "a/bins-0.json",
	"42",
	".hidden/..file", "a.../-b", "_/~tilde",
	" first", "in the middle/of a name",
	"größe/ñandú/日本語-1.0-py3-none-any.whl",
	strings.Repeat("n", 190),
	strings.Repeat(strings.Repeat("d", 99)+"/", 8) + strings.Repeat("n", 95),
	"odd/x+y", "odd/x~y", "odd/x&y", "odd/x=y", "odd/x;y", "odd/x:y", "odd/x@y",
	"odd/x[y]", "odd/x{y}", "odd/x(y)", "odd/x*y", "odd/**", "odd/x'y", `odd/x"y`, "odd/x`y",
	"odd/x<y>", "odd/x|y", "odd/x^y", "odd/x,y", "odd/x$y", "odd/x!y",
}

// Each client, knowing only root 1, follows the repository through its
// generations and a new root.
func TestClientsFollow(t *testing.T) {
	each(t, func(t *testing.T, x *index, c client) {
		state := t.TempDir()
		check := func(root, timestamp int64) {
			t.Helper()
			got, stderr := c.do(t, x.visit(state))
			require.Equal(t, report{Found: x.found(), Missing: x.gone, Refused: []refused{}}, got, stderr)
			requireVersions(t, state, root, timestamp)
		}

		x.fill()
		check(2, 3)

		x.publish(4, []roles.Target{x.put("42", "43", ""), x.put("new", "new", "")}, "timestamp.json")
		x.publish(5, []roles.Target{x.put("gone", "again", "")}, "new")
		x.gone = x.gone[1:] // it is back
		check(2, 5)
		check(2, 5) // nothing new
	})
}

// No client takes a bin that was altered, or an older one, and all other
// targets are there nevertheless.
func TestClientsRefuseBins(t *testing.T) {
	each(t, func(t *testing.T, x *index, c client) {
		x.fill()
		name, version := x.bin("replaced")
		current := fmt.Sprintf("%d.%s.json", version, name)
		refuse := func(lie []byte, reason string) {
			t.Helper()
			reason = refusal(reason, name, version, version-1)
			require.NotEqual(t, string(x.get(current)), string(lie))
			x.served.lies = map[string][]byte{current: lie}
			want := report{Missing: []string{}, Refused: []refused{}}
			v := x.visit(t.TempDir())
			for _, path := range v.Paths {
				file, there := x.want[path]
				switch {
				case x.layout.Find(path) == x.layout.Find("replaced"):
					want.Refused = append(want.Refused, refused{path, reason})
				case there:
					want.Found = append(want.Found, file)
				default:
					want.Missing = append(want.Missing, path)
				}
			}
			got, stderr := c.do(t, v)
			require.Equal(t, want, got, stderr)
		}

		hash := []byte(x.want["replaced"].Hashes["sha256"])
		refuse(bytes.Replace(x.get(current), hash, bytes.Repeat([]byte("0"), len(hash)), 1), c.refusals.altered)
		refuse(x.get(fmt.Sprintf("%d.%s.json", version-1, name)), c.refusals.older)
	})
}

// No client goes back to an earlier generation.
func TestClientsRefuseRollback(t *testing.T) {
	each(t, func(t *testing.T, x *index, c client) {
		earlier := x.get("timestamp.json")
		x.fill()
		state := t.TempDir()
		got, stderr := c.do(t, x.visit(state))
		require.Equal(t, "", got.Refresh, stderr)

		x.served.lies = map[string][]byte{"timestamp.json": earlier}
		got, stderr = c.do(t, x.visit(state))
		require.Equal(t, report{
			Refresh: refusal(c.refusals.rollback, "", 3, 1),
			Found:   []file{}, Missing: []string{}, Refused: []refused{},
		}, got, stderr)
		requireVersions(t, state, 2, 3)
	})
}

// each runs the test with each client, on an index of its own in each form.
func each(t *testing.T, test func(t *testing.T, x *index, c client)) {
	for name, install := range clients {
		t.Run(name, func(t *testing.T) {
			c := install(t)
			for _, form := range forms {
				t.Run(form.String(), func(t *testing.T) { test(t, newIndex(t, form), c) })
			}
		})
	}
}

// fill publishes generations 2 and 3, with a new root between them that other
// people sign.
func (x *index) fill() {
	var add []roles.Target
	for _, path := range paths {
		add = append(add, x.put(path, "the content of "+path, ""))
	}
	add = append(add,
		x.put("empty", "", ""),
		x.put("two/hashes", "two hashes", "", "sha512"),
		x.put(strings.Repeat("h", 126), "a long name and two hashes", "", "sha512"),
		x.put("custom", "custom", `{"größe": ["日本", "𝒳", "\"\\/", "<&>\u2028"], "n": 9007199254740991, "a": {"": [], "b": {}, "t": true}}`),
		x.put("replaced", "first", ""),
		x.put("gone", "gone", ""),
	)
	x.publish(2, add)

	x.ceremony.NextRoot(func(root *roles.RootSpec) {
		root.Root = repotest.Of(2, x.ceremony.NewEd25519(), x.ceremony.NewP256())
	})
	require.NoError(x.t, x.repo.Install(x.t.Context(), x.ceremony.Documents()))
	x.publish(3, []roles.Target{x.put("replaced", "second", `{"reason": "a replacement"}`)}, "gone")
}

// refusal is what a client says in this case.
func refusal(text, bin string, want, got int64) string {
	return strings.NewReplacer("BIN", bin, "WANT", fmt.Sprint(want), "GOT", fmt.Sprint(got)).Replace(text)
}

// requireVersions looks at what a client keeps as trusted.
func requireVersions(t *testing.T, state string, root, timestamp int64) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(state, "metadata", "root.json"))
	require.NoError(t, err)
	r, err := metadata.Root().FromBytes(content)
	require.NoError(t, err)
	require.Equal(t, root, r.Signed.Version)
	content, err = os.ReadFile(filepath.Join(state, "metadata", "timestamp.json"))
	require.NoError(t, err)
	ts, err := metadata.Timestamp().FromBytes(content)
	require.NoError(t, err)
	require.Equal(t, timestamp, ts.Signed.Version)
}
