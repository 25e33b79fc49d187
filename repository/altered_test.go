package repository_test

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// Nothing is built on a file that was altered in the store. Who can only write the store gets nothing
// signed. Each kind of file is altered by one byte, by another file of the same kind, and emptied.
func TestStoreThatWasAltered(t *testing.T) {
	alterations := map[string]func(data []byte) []byte{
		"one byte": func(data []byte) []byte {
			data = bytes.Clone(data)
			data[len(data)/2] ^= 1
			return data
		},
		"one blank": func(data []byte) []byte { return append(bytes.Clone(data), ' ') },
		"emptied":   func([]byte) []byte { return nil },
	}
	for how, alter := range alterations {
		t.Run(how, func(t *testing.T) {
			inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
				e.publish(files("x", 10)...)
				alterWhileClosed := func(name string) (back func()) {
					t.Helper()
					e.close()
					data, err := e.store.Get(t.Context(), name)
					require.NoError(t, err)
					e.put(name, alter(data))
					return func() { e.put(name, data) }
				}

				// Documents and the timestamp are compared when the repository is opened.
				for _, name := range []string{"1.root.json", "1.targets.json", "1.bins.json", "timestamp.json"} {
					back := alterWhileClosed(name)
					before := e.store.Names()
					_, err := repository.Open(t.Context(), e.config())
					require.ErrorIs(t, err, repository.ErrDiverged, name)
					require.Equal(t, before, e.store.Names(), name)
					e.journal.Close()
					back()
					e.open()
				}

				// A bin is compared when it is read, and waits.
				role := e.roleOf("packages/x/x-1.tar.gz")
				name, _ := e.newest(role)
				back := alterWhileClosed(name)
				e.open()
				r := e.add(file("packages/x/x-1.tar.gz", "again"))
				e.run(func() {
					time.Sleep(10 * time.Second)
					e.requireProblems("error: 1 bins are quarantined, and their items wait: " + role + ": " + name + ": published file missing or altered in the store")
					back()
					e.wait(r, repository.Published)
				})

				// A snapshot is never read: each one is made from the journal.
				name, _ = e.newest("snapshot")
				back = alterWhileClosed(name)
				e.open()
				e.publish(file("later", "1"))
				back()
				for _, name := range e.store.Names() {
					if name != "timestamp.json" {
						e.store.Forget(name)
					}
				}
				e.altered = "timestamp.json"
				_, snapshot := e.newest("snapshot")
				parsed, err := roles.ParseSnapshot(snapshot)
				require.NoError(t, err)
				versions := map[string]int64{}
				for m, err := range parsed.Meta() {
					require.NoError(t, err)
					versions[m.Role] = m.Version
				}
				row := func(bin string) int64 {
					name, _ := e.newest(bin)
					version, _, _ := ledger.ParseName(name)
					return version
				}
				require.Equal(t, map[string]int64{"targets": 1, "bins": 1, "bins-0": row("bins-0"), "bins-1": row("bins-1")}, versions)
			})
		})
	}
}

// A thief of journal and store, who has no key, alters a bin and the digest that the journal has of it.
// The publisher doesn't sign what he put into it. The signature of the bin shows it, which is its own.
func TestStoreAndJournalThatWereAltered(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		role := e.roleOf("packages/x/x-1.tar.gz")
		e.close()
		name, original := e.newest(role)
		forged := bytes.Replace(original, []byte(`"packages/x/x-1.tar.gz"`), []byte(`"packages/x/x-1.evil.gz"`), 1)
		require.NotEqual(t, original, forged)
		e.put(name, forged)

		lead, _, err := e.journal.Handle().Lead(t.Context())
		require.NoError(t, err)
		var state ledger.State
		for step, err := range lead.Read(t.Context(), ledger.FromCheckpoint) {
			require.NoError(t, err)
			if step.Record != nil {
				require.NoError(t, state.Apply(*step.Record))
			}
		}
		require.NoError(t, lead.Release(t.Context()))
		row, ok := state.Table.Row(role)
		require.True(t, ok)
		row.SHA256, row.Length = sha256.Sum256(forged), int32(len(forged))
		state.Table.Set("bins").Rows[role[len(role)-1]-'0'] = row
		journal := e.journal
		e.journal = storetest.NewJournal()
		lead, epoch, err := e.journal.Handle().Lead(t.Context())
		require.NoError(t, err)
		for _, err := range lead.Read(t.Context(), ledger.FromCheckpoint) {
			require.NoError(t, err)
		}
		checkpoint, err := state.Next(epoch, state.Generation, time.Now(), state.Checkpoint())
		require.NoError(t, err)
		require.NoError(t, lead.Append(t.Context(), checkpoint))
		require.NoError(t, lead.Release(t.Context()))

		e.open()
		r := e.add(file("packages/x/x-1.tar.gz", "again"))
		e.run(func() {
			time.Sleep(10 * time.Second)
			e.requireProblems("error: 1 bins are quarantined, and their items wait: " + role + ": " + name +
				": published file missing or altered in the store: the journal has its digest, and its signature is wrong")
		})
		_, err = e.repo.Outcome(t.Context(), r.ID())
		require.NoError(t, err)
		newest, _ := e.newest(role)
		require.Equal(t, name, newest, "nothing was made of it")
		e.close()

		e.journal = journal
		e.put(name, original)
		e.store.Forget(name)
		delete(e.want, "packages/x/x-1.tar.gz")
		e.note(repository.Item{Add: files("x", 10)})
		e.open()
		e.check()
	})
}
