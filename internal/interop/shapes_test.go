package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// followers are the clients that can follow each form of bins. go-tuf 2.4.2 can't follow
// explicit ones.
var followers = map[delegation.Form][]string{
	delegation.Succinct: {"go-tuf", "python-tuf"},
	delegation.Explicit: {"python-tuf", "tuf-js"},
}

// Clients find the targets of all roles in each shape of repository, from creation through
// uploads, removals, newer documents and renewals, and nothing that was removed.
func TestClientsFollowShapes(t *testing.T) {
	for _, shape := range append(repotest.Shapes(), repotest.PEP458(delegation.Succinct), repotest.PEP458(delegation.Explicit)) {
		t.Run(shape.Name, func(t *testing.T) {
			for _, name := range followers[shape.Form] {
				t.Run(name, func(t *testing.T) {
					do := doGoTUF
					if install, ok := clients[name]; ok {
						do = install(t).do
					}
					followShape(t, shape, do)
				})
			}
		})
	}
}

func followShape(t *testing.T, shape repotest.Shape, do func(*testing.T, visit) (report, string)) {
	layout, err := delegation.New("bins", 4, shape.Form)
	require.NoError(t, err)
	x := &index{t: t, ceremony: repotest.NewCeremony(t, layout, time.Now())}
	// The clients' clocks are right. The publisher's is slow by half of a bin's lifetime,
	// until it is put right and all bins are due.
	var slow atomic.Int64
	slow.Store(int64(12 * time.Hour))
	cfg := repository.Config{
		Now:         func() time.Time { return time.Now().Add(-time.Duration(slow.Load())) },
		BinLifetime: 24 * time.Hour,
	}
	if shape.Signers != nil {
		cfg.Signers = shape.Signers(x.ceremony)
	}
	docs := repository.Documents{Roles: shape.Documents(x.ceremony, 1)}
	docs.Roots = x.ceremony.Documents().Roots
	x.serve(cfg, docs)

	state := t.TempDir()
	check := func() {
		t.Helper()
		status, err := x.repo.Status(t.Context())
		require.NoError(t, err)
		got, stderr := do(t, x.visit(state))
		require.Equal(t, report{Found: x.found(), Missing: x.gone, Refused: []refused{}}, got, stderr)
		requireVersions(t, state, int64(len(x.ceremony.Documents().Roots)), status.Generation)
	}
	x.gone = []string{"never/there"}
	x.list(shape, 1)
	check()

	var add []roles.Target
	for i := range 16 {
		add = append(add, x.put(fmt.Sprintf("packages/demo/demo-%d.tar.gz", i), fmt.Sprint("demo ", i), ""))
	}
	for _, path := range shape.Online {
		add = append(add, x.put(path, "the content of "+path, ""))
	}
	x.publish(2, add)
	x.requireTargetsInAllRoles()
	check()

	remove := append([]string{add[0].Path}, shape.Online[:min(len(shape.Online), 1)]...)
	x.publish(3, []roles.Target{x.put(add[1].Path, "another demo", `{"reason": "a replacement"}`)}, remove...)
	check()

	x.ceremony.NextRoot(nil)
	next := repository.Documents{Roots: x.ceremony.Documents().Roots, Roles: shape.Documents(x.ceremony, 2)}
	require.NoError(t, x.repo.Install(t.Context(), next))
	x.list(shape, 2)
	check()

	// All online roles are signed again. Run may do so before it publishes, or at once.
	old := x.versions()
	slow.Store(0)
	receipt, err := x.repo.Add(t.Context(), x.put("renewed", "renewed", ""))
	require.NoError(t, err)
	_, err = receipt.Wait(t.Context())
	require.NoError(t, err)
	for role, meta := range x.versions() {
		if next.Roles[strings.TrimSuffix(role, ".json")] == nil || role == "targets.json" && cfg.Signers["targets"] != nil {
			require.Greater(t, meta.Version, old[role].Version, role)
		}
	}
	check()

	state = t.TempDir() // a client that comes now
	check()
}

// list notes what the documents of a version list, and keeps these files.
func (x *index) list(shape repotest.Shape, version int64) {
	if shape.Listed == nil {
		return
	}
	now := shape.Listed(version)
	for path, content := range now {
		x.put(path, content, "")
	}
	for path := range x.want {
		if _, ok := shape.Listed(version - 1)[path]; ok && now[path] == "" {
			delete(x.want, path)
			x.gone = append(x.gone, path)
		}
	}
}

// requireTargetsInAllRoles makes sure that clients look for something in each role: those
// that don't delegate have targets.
func (x *index) requireTargetsInAllRoles() {
	for name, meta := range x.versions() {
		doc, err := roles.Parse[metadata.TargetsType](x.get(fmt.Sprintf("%d.%s", meta.Version, name)))
		require.NoError(x.t, err)
		if doc.Signed().Delegations == nil {
			require.NotEmpty(x.t, doc.Signed().Targets, name)
		}
	}
}

// doGoTUF is a visit of a go-tuf client.
func doGoTUF(t *testing.T, v visit) (report, string) {
	root, err := os.ReadFile(v.Root)
	require.NoError(t, err)
	cfg, err := config.New(v.URL+"/metadata", root)
	require.NoError(t, err)
	cfg.RemoteTargetsURL = v.URL + "/targets"
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(v.State, "metadata"), filepath.Join(v.State, "targets")
	client, err := updater.New(cfg)
	require.NoError(t, err)
	r := report{Found: []file{}, Missing: []string{}, Refused: []refused{}}
	if err := client.Refresh(); err != nil {
		r.Refresh = err.Error()
		return r, ""
	}
	for _, path := range v.Paths {
		f, err := download(client, path)
		switch {
		case err == nil:
			f.Custom = canonical(t, f.Custom)
			r.Found = append(r.Found, f)
		case err.Error() == "target "+path+" not found":
			r.Missing = append(r.Missing, path)
		default:
			r.Refused = append(r.Refused, refused{path, err.Error()})
		}
	}
	return r, ""
}

func download(client *updater.Updater, path string) (file, error) {
	info, err := client.GetTargetInfo(path)
	if err != nil {
		return file{}, err
	}
	_, content, err := client.DownloadTarget(info, "", "")
	if err != nil {
		return file{}, err
	}
	sum := sha256.Sum256(content)
	f := file{roles.Target{Path: info.Path, Length: info.Length, Hashes: map[string]string{}}, hex.EncodeToString(sum[:])}
	for algorithm, hash := range info.Hashes {
		f.Hashes[algorithm] = hash.String()
	}
	if info.Custom != nil {
		f.Custom = slices.Clone(json.RawMessage(*info.Custom))
	}
	return f, nil
}
