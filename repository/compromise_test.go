package repository_test

import (
	"bytes"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// compromise is a repository whose online keys were stolen.
type compromise struct {
	*env
	root1    []byte
	good     *storetest.MemStore // a mirror's copy of the last generation before the attack
	attacker repotest.Attacker
	clients  map[string]string // folders of clients, by what they saw
	bin      func(path string) string
}

// inCompromise lets f attack and recover a repository in which time is fake.
func inCompromise(t *testing.T, f func(t *testing.T, c *compromise)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &compromise{env: newEnv(t, 8, delegation.Succinct), clients: map[string]string{}}
		c.create()
		c.publish(files("x", 30)...)
		c.visits("an old generation")
		c.publish(file("packages/y/y-1.whl", "y"), file("packages/x/x-3.tar.gz", "replaced"))
		c.run(func() { c.wait(c.remove("packages/x/x-4.tar.gz"), repository.Published) })
		c.visits("the last generation before the attack")
		c.close()
		c.root1 = c.ceremony.Documents().Roots[0]
		c.good = c.store.Clone()
		c.attacker = repotest.Attacker{
			Bins: c.ceremony.Bins, Online: c.ceremony.Online, Store: c.store, Expires: time.Now().Add(100 * 24 * time.Hour),
		}
		c.bin = func(path string) string { l := layout(t); return l.Name(l.Find(path)) }
		f(t, c)
	})
}

// visits notes that a client came now. It looks for every path.
func (c *compromise) visits(saw string) {
	c.t.Helper()
	c.clients[saw] = c.t.TempDir()
	_, err := repotest.Visit(c.t, c.store, c.clients[saw], time.Now(), c.paths()...)
	require.NoError(c.t, err)
}

func (c *compromise) paths() []string {
	return slices.Concat(slices.Collect(maps.Keys(c.want)), slices.Collect(maps.Keys(c.gone)), []string{evil})
}

const evil = "packages/evil/evil-1.whl"

// attack publishes other targets: one is new, one has other content, one is removed.
func (c *compromise) attack(version int64) {
	c.t.Helper()
	edits := map[string]*roles.Target{"packages/x/x-0.tar.gz": nil}
	for _, forged := range []roles.Target{file(evil, "evil"), file("packages/y/y-1.whl", "backdoor")} {
		edits[forged.Path] = &forged
	}
	c.attacker.Publish(c.t, version, func(bin string) (out []roles.TargetEdit) {
		for path, target := range edits {
			if c.bin(path) == bin {
				out = append(out, roles.TargetEdit{Path: path, Target: target})
			}
		}
		return out
	})
	c.visits(fmt.Sprintf("the attacker's version %d", version))
}

// differences are the lines that Compare has for what the attacker published.
var differences = []string{
	"packages/evil/evil-1.whl: published, and not known: 4 bytes, sha256 " + file("", "evil").Hashes["sha256"],
	"packages/x/x-0.tar.gz: known, and not published: 2 bytes, sha256 " + file("", "x0").Hashes["sha256"],
	"packages/y/y-1.whl: published 8 bytes, sha256 " + file("", "backdoor").Hashes["sha256"] + ", known 1 bytes, sha256 " + file("", "y").Hashes["sha256"],
}

func lines(t *testing.T, differences iter.Seq2[repository.Difference, error]) []string {
	t.Helper()
	out := []string{}
	for d, err := range differences {
		require.NoError(t, err)
		out = append(out, d.String())
	}
	slices.Sort(out)
	return out
}

func (c *compromise) clientView(store repository.Getter) *repository.View {
	c.t.Helper()
	v, err := repository.ClientView(c.t.Context(), store, c.root1)
	require.NoError(c.t, err)
	return v
}

func (c *compromise) ledgerView() *repository.View {
	c.t.Helper()
	v, err := repository.LedgerView(c.t.Context(), c.store, c.journal.Handle())
	require.NoError(c.t, err)
	return v
}

// newKeys is the ceremony after a compromise: root gets new keys for timestamp and snapshot, and bins
// one for the bins, all without the old ones.
func (c *compromise) newKeys() repository.Documents {
	online, bins := c.ceremony.NewP256(), c.ceremony.NewEd25519()
	root := c.ceremony.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, online), repotest.Of(1, online)
	})
	c.cfg.Snapshot, c.cfg.Timestamp, c.cfg.Bins = online, online, bins
	return repository.Documents{
		Roots: [][]byte{root},
		Roles: map[string][]byte{"bins": c.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, bins) })},
	}
}

func (c *compromise) restoreStore(r repository.Restoration) error {
	var err error
	c.repo, err = repository.RestoreStore(c.t.Context(), c.config(), r)
	return err
}

// checkRecovered requires that every client, whatever it saw, finds exactly what is known to be good, and
// that the repository goes on.
func (c *compromise) checkRecovered() {
	c.t.Helper()
	c.clients["nothing yet"] = c.t.TempDir()
	for saw, dir := range c.clients {
		found, err := repotest.Visit(c.t, c.store, dir, time.Now(), c.paths()...)
		require.NoError(c.t, err, "client that saw %s", saw)
		require.Equal(c.t, c.want, found, "client that saw %s", saw)
	}
	require.Empty(c.t, lines(c.t, repository.Compare(c.t.Context(), c.clientView(c.store), c.ledgerView())))
	if c.store != c.good { // under other keys
		require.Empty(c.t, lines(c.t, repository.Compare(c.t.Context(), c.clientView(c.store), c.clientView(c.good))))
	}
	c.publish(file("goes on", "1"))
	c.close()
	c.open()
	c.publish(file("goes on", "2"))
	for saw, dir := range c.clients {
		found, err := repotest.Visit(c.t, c.store, dir, time.Now(), c.paths()...)
		require.NoError(c.t, err, "client that saw %s", saw)
		require.Equal(c.t, c.want, found, "client that saw %s", saw)
	}
	c.close()
}

// This is the runbook in the package comment, "After a compromise". The attacker had the online keys and
// wrote to the store: the next generations, or versions so high that nothing fits above them.
func TestAfterCompromise(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string][]int64{
		"next generations":                  {5, 6},
		"a jump":                            {5, 1000},
		"the largest that all clients read": {5, 1<<53 - 1},
		"the largest that go-tuf reads":     {5, 1<<53 - 1, math.MaxInt64},
	} {
		for place, newStore := range map[string]bool{"in place": false, "in a new store": true} {
			t.Run(name+", "+place, func(t *testing.T) {
				inCompromise(t, func(t *testing.T, c *compromise) {
					for _, v := range versions {
						c.attack(v)
					}
					_, err := repository.Open(t.Context(), c.config())
					require.ErrorIs(t, err, repository.ErrDiverged)

					// 2: what differs, from the ledger and from a known-good copy.
					if versions[len(versions)-1] <= 1<<53-1 {
						published := c.clientView(c.store)
						require.Equal(t, differences, lines(t, repository.Compare(t.Context(), published, c.ledgerView())))
						require.Equal(t, differences, lines(t, repository.Compare(t.Context(), published, c.clientView(c.good))))
					}
					require.Empty(t, lines(t, repository.Compare(t.Context(), c.clientView(c.good), c.ledgerView())))

					// 3 and 4: new keys, and everything above all that is known.
					if newStore {
						c.store = storetest.NewStore()
						c.cfg.Store = c.store
					}
					if highest := versions[len(versions)-1]; highest > 1000 && highest <= 1<<53-1 { // a mirror still has it
						seen, err := c.attacker.Store.Get(t.Context(), "timestamp.json")
						require.NoError(t, err)
						c.cfg.Witness = seen
					}
					require.NoError(t, c.restoreStore(repository.Restoration{Documents: c.newKeys()}))
					s, err := c.repo.Status(t.Context())
					require.NoError(t, err)
					if versions[len(versions)-1] == 1000 && !newStore {
						require.EqualValues(t, 1001, s.Generation)
					} else {
						require.Less(t, s.Generation, int64(10), "the attacker's versions are not followed")
					}
					c.checkRecovered()
				})
			})
		}
	}
}

// The attacker also altered and deleted what was published, and took names. Compare says which roles
// clients refuse, and the ledger knows what is in them.
func TestAfterCompromiseOfFiles(t *testing.T) {
	inCompromise(t, func(t *testing.T, c *compromise) {
		c.attack(5)
		put := func(name string, data []byte) {
			require.NoError(t, c.store.Delete(t.Context(), name))
			if data != nil {
				require.NoError(t, c.store.Create(t.Context(), name, data))
			}
		}
		for i := range 8 { // of what the ledger says is published
			name, data := "", []byte(nil)
			for version := 4; data == nil; version-- {
				name = fmt.Sprintf("%d.bins-%d.json", version, i)
				data, _ = c.good.Get(t.Context(), name)
			}
			if i%2 == 0 {
				put(name, nil)
			} else {
				put(name, []byte("{}"))
			}
		}
		for _, name := range []string{"5.bins-1.json", "1.bins.json", "1.root.json", "2.root.json"} {
			put(name, []byte("{}"))
		}
		put("5.bins-2.json", nil)

		// What a client fails at is named.
		bins, err := c.good.Get(t.Context(), "1.bins.json")
		require.NoError(t, err)
		for _, step := range []struct {
			fails string
			now   []byte
		}{{"2.root.json", nil}, {"1.bins.json", bins}} {
			_, err := repository.ClientView(t.Context(), c.store, c.root1)
			require.ErrorContains(t, err, "client view: "+step.fails+": ")
			put(step.fails, step.now)
		}
		refused := []string{
			"bins-1: no target of this role can be found: 5.bins-1.json: clients can't use it: ",
			"bins-2: no target of this role can be found: 5.bins-2.json: clients can't use it: get 5.bins-2.json: does not exist",
		}
		want := slices.DeleteFunc(slices.Clone(differences), func(line string) bool {
			path, _, _ := strings.Cut(line, ":")
			return c.bin(path) == "bins-1" || c.bin(path) == "bins-2"
		})
		got := lines(t, repository.Compare(t.Context(), c.clientView(c.store), c.ledgerView()))
		require.Len(t, got, len(want)+2)
		for i, line := range refused {
			require.Contains(t, got[i], line)
		}
		require.Equal(t, want, got[2:])
		require.Empty(t, lines(t, repository.Compare(t.Context(), c.clientView(c.good), c.ledgerView())))

		// A known generation must be whole.
		for _, err = range repository.Compare(t.Context(), c.clientView(c.good), c.clientView(c.store)) {
			if err != nil {
				break
			}
		}
		require.ErrorContains(t, err, "5.bins-1.json: clients can't use it")

		// A name that must have other bytes is left to the operator.
		d := c.newKeys()
		put("2.root.json", []byte("{}"))
		for _, name := range []string{"1.root.json", "2.root.json"} {
			err := c.restoreStore(repository.Restoration{Documents: d})
			require.ErrorIs(t, err, repository.ErrConflict)
			require.ErrorContains(t, err, name)
			put(name, nil)
		}
		require.NoError(t, c.restoreStore(repository.Restoration{Documents: d}))
		c.checkRecovered()
	})
}

// The journal can't be trusted either. What is known to be good is a mirror's copy.
func TestAfterCompromiseOfTheJournal(t *testing.T) {
	t.Parallel()
	for _, version := range []int64{5, 1000, 1<<53 - 1} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			inCompromise(t, func(t *testing.T, c *compromise) {
				c.attack(version)
				require.Equal(t, differences, lines(t, repository.Compare(t.Context(), c.clientView(c.store), c.clientView(c.good))))
				c.store, c.journal = c.good, storetest.NewJournal()
				c.cfg.Store = c.store
				r := repository.Restoration{Root: c.root1, Documents: c.newKeys()}
				if version <= 1000 {
					r.Past = version
				}
				var err error
				c.repo, err = repository.RestoreJournal(t.Context(), c.config(), r)
				require.NoError(t, err)
				s, err := c.repo.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, max(5, r.Past+1), s.Generation)
				c.checkRecovered()
			})
		})
	}
}

// Which keys must change: those of timestamp and snapshot, without an overlap. With less the
// restoration goes above all versions if it can. If it can't it refuses, or, where it can't know,
// warns: clients that saw the raised versions fail for ever.
func TestFastForwardNeedsNewKeys(t *testing.T) {
	t.Parallel()
	type keeps struct{ timestamp, snapshot bool }
	none := keeps{}
	for name, keep := range map[string]keeps{
		"the timestamp's key stays": {true, false},
		"the snapshot's key stays":  {false, true},
		"both stay":                 {true, true},
		"none stays":                none,
	} {
		for _, version := range []int64{1000, 1<<53 - 1} {
			t.Run(fmt.Sprintf("%s, version %d", name, version), func(t *testing.T) {
				inCompromise(t, func(t *testing.T, c *compromise) {
					old := c.ceremony.Online
					c.attack(version)
					d := c.newKeys()
					next := c.cfg.Snapshot
					authority := func(keep bool) roles.Authority {
						if keep { // next to the new one
							return repotest.Of(1, next, old)
						}
						return repotest.Of(1, next)
					}
					d.Roots = append(d.Roots, c.ceremony.NextRoot(func(r *roles.RootSpec) {
						r.Timestamp, r.Snapshot = authority(keep.timestamp), authority(keep.snapshot)
					}))
					var log bytes.Buffer
					c.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))

					err := c.restoreStore(repository.Restoration{Documents: d})
					switch {
					case keep == none:
						require.NoError(t, err)
						c.checkRecovered()
						return
					case version > 1000 && keep.timestamp:
						require.ErrorContains(t, err, "replaces the keys of timestamp and of snapshot")
						require.ErrorContains(t, c.restoreStore(repository.Restoration{Past: version}), "leave that version out of Past")
					case version > 1000:
						require.ErrorContains(t, err, "9007199254740991.snapshot.json is signed by a key in force")
					case keep.timestamp:
						require.ErrorIs(t, err, repository.ErrDiverged)
						require.ErrorContains(t, err, "set Past to 1000")
						require.NoError(t, c.restoreStore(repository.Restoration{Past: version}))
					default:
						require.NoError(t, err)
					}
					require.Equal(t, keep.timestamp != keep.snapshot, bytes.Contains(log.Bytes(), []byte("and not of both")), log.String())
					if version == 1000 {
						c.checkRecovered()
						return
					}

					// Nothing of the attacker's is left to be seen: the clients fail.
					c.store = c.good
					c.cfg.Store = c.store
					if err := c.restoreStore(repository.Restoration{}); err != nil {
						require.NoError(t, c.restoreStore(repository.Restoration{Documents: d}))
					}
					for saw, dir := range c.clients {
						_, err := repotest.Visit(t, c.store, dir, time.Now(), c.paths()...)
						if saw == fmt.Sprintf("the attacker's version %d", version) {
							require.ErrorContains(t, err, "version")
						} else {
							require.NoError(t, err, saw)
						}
					}
					// The next root helps them.
					c.close()
					require.NoError(t, c.restoreStore(repository.Restoration{Documents: c.newKeys()}))
					c.checkRecovered()
				})
			})
		}
	}
}
