package repository_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

const smallOrder = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"

// edited is a document without signatures, whose signed part is as edit leaves it.
func edited[T metadata.RootType | metadata.TargetsType](t *testing.T, file []byte, edit func(signed map[string]any)) *roles.Document[T] {
	t.Helper()
	var whole struct {
		Signed map[string]any `json:"signed"`
	}
	decoder := json.NewDecoder(bytes.NewReader(file))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&whole))
	edit(whole.Signed)
	signed, err := json.Marshal(whole.Signed)
	require.NoError(t, err)
	d, err := roles.Parse[T](fmt.Appendf(nil, `{"signatures":[],"signed":%s}`, signed))
	require.NoError(t, err)
	return d
}

// alias lists the first key of a role under a second ID, "alias", in its role too.
func alias(lists, role map[string]any) {
	listed, ids := lists["keys"].(map[string]any), role["keyids"].([]any)
	listed["alias"] = listed[ids[0].(string)]
	role["keyids"] = append(ids, "alias")
}

// weaken lists a key for which anyone can sign.
func weaken(lists, role map[string]any) {
	lists["keys"].(map[string]any)["weak"] = map[string]any{
		"keytype": "ed25519", "scheme": "ed25519", "keyval": map[string]any{"public": smallOrder}}
	role["keyids"] = append(role["keyids"].([]any), "weak")
}

// A key under two IDs, and one for which anyone can sign, are refused by whatever takes a document, in
// each role that a document names keys for. Nothing is changed.
func TestKeysAreCheckedAtEveryGate(t *testing.T) {
	type spoil func(lists, role map[string]any)
	ofRoot := func(role string) func(t *testing.T, c *repotest.Ceremony, d *repository.Documents, s spoil) {
		return func(t *testing.T, c *repotest.Ceremony, d *repository.Documents, s spoil) {
			last := len(d.Roots) - 1
			root := edited[metadata.RootType](t, d.Roots[last], func(signed map[string]any) {
				s(signed, signed["roles"].(map[string]any)[role].(map[string]any))
			})
			d.Roots[last] = c.SignRoot(root.Bytes())
		}
	}
	delegated := func(by string) func(t *testing.T, c *repotest.Ceremony, d *repository.Documents, s spoil) {
		return func(t *testing.T, c *repotest.Ceremony, d *repository.Documents, s spoil) {
			doc := edited[metadata.TargetsType](t, d.Roles[by], func(signed map[string]any) {
				lists := signed["delegations"].(map[string]any)
				if succinct, ok := lists["succinct_roles"].(map[string]any); ok {
					s(lists, succinct)
					return
				}
				for _, r := range lists["roles"].([]any) {
					s(lists, r.(map[string]any))
				}
			})
			if by == "targets" {
				d.Roles[by] = c.SignTargets(doc)
			} else {
				d.Roles[by] = c.SignBins(doc)
			}
		}
	}
	for document, alter := range map[string]func(t *testing.T, c *repotest.Ceremony, d *repository.Documents, s spoil){
		"root, role root": ofRoot("root"), "root, role targets": ofRoot("targets"),
		"root, role snapshot": ofRoot("snapshot"), "root, role timestamp": ofRoot("timestamp"),
		"targets, role bins": delegated("targets"), "bins": delegated("bins"),
	} {
		for name, form := range bothForms {
			for fault, s := range map[string]struct {
				spoil
				words string
			}{
				"twice": {alias, "are the same key: some clients would count its holder twice"},
				"weak":  {weaken, `public key "weak": an Ed25519 key of small order`},
			} {
				t.Run(document+" "+name+" "+fault, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						e := newEnv(t, 2, form)
						refused := func(err error) {
							t.Helper()
							require.ErrorContains(t, err, s.words)
							role, _, _ := strings.Cut(document, ",")
							require.ErrorContains(t, err, role+" version ")
						}
						good, bad := e.ceremony.Documents(), e.ceremony.Documents()
						alter(t, e.ceremony, &bad, s.spoil)
						_, err := repository.Create(t.Context(), e.config(), bad)
						refused(err)
						require.Empty(t, e.store.Names())
						e.journal.Close()

						repo, err := repository.Create(t.Context(), e.config(), good)
						require.NoError(t, err)
						e.repo = repo
						e.publish(file("a", "1"))
						e.ceremony.NextRoot(nil)
						e.ceremony.NextTargets(nil)
						e.ceremony.NextBins(nil)
						good, bad = e.ceremony.Documents(), e.ceremony.Documents()
						alter(t, e.ceremony, &bad, s.spoil)
						before := e.store.Names()
						refused(e.install(bad))
						refused(e.repo.InstallAfterCompromise(t.Context(), bad))
						require.Equal(t, before, e.store.Names())
						e.close()

						_, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{Documents: bad, Past: 9})
						refused(err)
						e.journal.Close()
						require.Equal(t, before, e.store.Names())
						journal := e.journal
						e.journal = storetest.NewJournal()
						_, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Documents: bad, Root: good.Roots[0]})
						refused(err)
						e.journal = journal

						e.open()
						require.NoError(t, e.install(good))
						e.check()
						e.close()
					})
				})
			}
		}
	}
}

// What is risky in who may sign is named when documents come into force. What stays a risk is a problem
// for as long as they are.
func TestRisksOfHolders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		var log bytes.Buffer
		e.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		logged := func(level, words string) {
			t.Helper()
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "level="+level) && strings.Contains(line, words) {
					return
				}
			}
			require.Fail(t, "not logged: "+words, log.String())
		}
		e.create()
		require.NotContains(t, log.String(), "root keys")
		require.NotContains(t, log.String(), "SHA-256")
		logged("WARN", "all 2 of 2 keys of targets must sign: once one is lost, its next version needs other keys")
		logged("WARN", "all 2 of 2 keys of bins must sign")
		e.requireProblems("warning: Run isn't running")

		// All must sign, and one key is a machine's.
		c := e.ceremony
		online := c.Online.Public()
		root := c.NextRoot(func(r *roles.RootSpec) {
			r.Root.Keys = append(r.Root.Keys[:1:1], online)
			r.Root.Threshold = 2
		})
		log.Reset()
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
		stolen := "key " + online.ID() + ", which signs timestamp, snapshot online, is one of the 2 keys of root, of which 2 must sign"
		lost := "all 2 of 2 root keys must sign: once one is lost, there can never be another root"
		logged("WARN", stolen)
		logged("WARN", lost)
		e.requireProblems("warning: "+stolen, "warning: "+lost, "warning: Run isn't running")
		read, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		require.Len(t, read.Problems, 2, "a reader sees them too")
		e.close()
		e.open()
		e.requireProblems("warning: "+stolen, "warning: "+lost, "warning: Run isn't running")

		// The online key of the bins, among those of the people of targets.
		root = c.NextRoot(func(r *roles.RootSpec) {
			r.Root.Keys = append(r.Root.Keys[:1:1], c.NewEd25519().Public(), c.NewEd25519().Public())
			r.Targets.Keys = append(r.Targets.Keys, c.Bins.Public())
		})
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{root}}))
		e.requireProblems("warning: key "+c.Bins.Public().ID()+", which signs bins-* online, is one of the 3 keys of targets, of which 2 must sign", "warning: Run isn't running")

		// A root that expires in seconds, under a key ID that tough refuses.
		root = c.NextRoot(func(r *roles.RootSpec) {
			r.Expires = time.Now().UTC().Truncate(time.Second).Add(5 * time.Second)
			r.Targets.Keys = r.Targets.Keys[:2]
		})
		short := edited[metadata.RootType](t, root, func(signed map[string]any) {
			listed, role := signed["keys"].(map[string]any), signed["roles"].(map[string]any)["root"].(map[string]any)
			old := role["keyids"].([]any)[0].(string)
			listed["odd"] = listed[old]
			delete(listed, old)
			role["keyids"].([]any)[0] = "odd"
		})
		log.Reset()
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{c.SignRoot(short.Bytes())}}))
		logged("WARN", `an offline document expires soon: hold a ceremony" role=root`)
		logged("WARN", "lists keys under IDs that are not the SHA-256 of their entries: tough clients refuse the whole document\" role=root version=4 keys=[odd]")
		e.requireProblems("warning: root version 4 expires at ", "warning: Run isn't running")
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{c.NextRoot(nil)}}))
		e.requireProblems("warning: Run isn't running")

		// The only holder is all that must sign.
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{c.NextRoot(func(r *roles.RootSpec) {
			r.Root.Keys, r.Root.Threshold = r.Root.Keys[:1:1], 1
		})}}))
		only := "there is one root key: once it is lost, there can never be another root"
		logged("WARN", only)
		e.requireProblems("warning: "+only, "warning: Run isn't running")
		e.altered = "4.root.json" // the audit warns of its key ID, too
		e.check()
		e.close()
	})
}

// What other programs write next to a key is no reason to refuse it.
func TestKeysWithMembersOfOthers(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(file("a", "1"))
		root := edited[metadata.RootType](t, e.ceremony.NextRoot(nil), func(signed map[string]any) {
			for _, k := range signed["keys"].(map[string]any) {
				k := k.(map[string]any)
				k["keyid_hash_algorithms"] = []string{"sha256", "sha512"}
				k["x-tuf-on-ci-keyowner"] = "@ada"
				k["x-rstuf-key-name"] = "Ada"
			}
		})
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.SignRoot(root.Bytes())}}))
		e.publish(file("b", "1"))
		e.close()
		e.open()
		e.requireProblems("warning: Run isn't running")
	})
}
