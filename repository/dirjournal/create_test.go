package dirjournal

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
)

// A disk is empty, or has what a new file system has. Whatever happens at any operation of
// OpenOrCreate, and of the first Enqueue, the same call goes on, and what is then accepted
// survives the loss of power.
func TestOpenOrCreateUnderFaults(t *testing.T) {
	for name, prepare := range map[string]func(d *simDisk) (dir string){
		"empty disk": func(*simDisk) string { return "/srv/index/journal" },
		"new volume": func(d *simDisk) string {
			d.Put("/journal", nil)
			d.Put("/journal/lost+found", nil)
			return "/journal"
		},
	} {
		cases := 0
		for _, fault := range faults {
			for seed := range uint64(6) {
				for at := 1; ; at++ {
					where := fmt.Sprintf("%s, fault %d at operation %d, seed %d", name, fault, at, seed)
					d := startOn(crashfs.New(seed))
					dir := prepare(d)
					d.InjectNext(at, fault)
					j, err := openOrCreateOn(d, dir)
					if err == nil {
						err = queueUp(t.Context(), j, "a")
						j.Close()
						if d.Ops() < at {
							break
						}
					}
					accepted := err == nil
					if d.restart(); seed > 0 {
						d.powerLoss(d.AnyCut())
					}
					for _, id := range []string{"b", "c"} {
						j, err = openOrCreateOn(d, dir)
						require.NoError(t, err, where)
						require.NoError(t, queueUp(t.Context(), j, id), where)
						d.powerLoss(loseAll)
						j.Close()
					}
					j, err = openOn(d, dir)
					require.NoError(t, err, where)
					outcomes, err := j.Outcomes(t.Context(), "a", "b", "c")
					require.NoError(t, err)
					require.NoError(t, j.Close())
					if accepted {
						require.Equal(t, repository.Accepted, outcomes[0].State, where)
					}
					require.Equal(t, repository.Accepted, outcomes[1].State, where)
					require.Equal(t, repository.Accepted, outcomes[2].State, where)
					cases++
				}
			}
		}
		require.Greater(t, cases, 400, name)
	}
}

// A process is killed in OpenOrCreate, and any operation of the next one fails. What the third
// one does is durable.
func TestOpenOrCreateSyncFailsAfterKill(t *testing.T) {
	const dir = "/srv/index/journal"
	recoveries := 0
	for at := 1; ; at++ {
		killed := newSimDisk()
		killed.InjectNext(at, crashfs.KillBefore)
		if j, err := openOrCreateOn(killed, dir); err == nil {
			j.Close()
			if killed.Ops() < at {
				break
			}
		}
		killed.restart()
		for failing := 1; ; failing++ {
			where := fmt.Sprintf("killed at operation %d, failed then at %d", at, failing)
			d := startOn(killed.Clone(uint64(failing)))
			before := d.Ops()
			d.InjectNext(failing, crashfs.Fail)
			j, err := openOrCreateOn(d, dir)
			if err == nil {
				j.Close()
				if d.Ops()-before < failing {
					break
				}
			}
			d.restart()
			j, err = openOrCreateOn(d, dir)
			require.NoError(t, err, where)
			require.NoError(t, queueUp(t.Context(), j, "a"), where)
			d.powerLoss(loseAll)
			j.Close()
			j, err = openOn(d, dir)
			require.NoError(t, err, where)
			b, err := j.Backlog(t.Context())
			require.NoError(t, err)
			require.NoError(t, j.Close())
			require.Equal(t, 1, b.Pending, where)
			recoveries++
		}
	}
	require.Greater(t, recoveries, 200)
}

// What is not a journal, or is a damaged one, is never replaced by a new one.
func TestOpenOrCreateRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	_, err := OpenOrCreate(dir)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, "the directory holds notes.txt")

	all := journalOf(t, enqueue("a"), reopen, enqueue("b"), reopen)
	for name, lost := range map[string]string{
		"segment 000000000002.seg: offset": segmentName(2), "segment 000000000001.seg: it is missing": segmentName(1),
	} {
		d := restore(all)
		d.Drop("/journal/" + lost)
		before := d.files()
		_, err = openOrCreateOn(d, "/journal")
		require.Error(t, err, name)
		require.ErrorContains(t, err, "open journal /journal: ", name)
		require.Equal(t, before, d.files(), name)
	}

	// A file of that name is no new file system's.
	d := newSimDisk()
	d.Put("/journal", nil)
	d.Put("/journal/lost+found", []byte{})
	_, err = openOrCreateOn(d, "/journal")
	require.ErrorContains(t, err, "the directory holds lost+found")
}

// Who finds the journal locked is told who has it, if that is known.
func TestHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := Create(dir)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, lockName))
	require.NoError(t, err)
	var n note
	require.NoError(t, json.Unmarshal(text, &n))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, note{os.Getpid(), host, n.Since}, n)
	require.Equal(t, time.UTC, n.Since.Location())
	for _, open := range []func(string) (*Journal, error){Open, OpenOrCreate} {
		_, err = open(dir)
		require.ErrorIs(t, err, repository.ErrLocked)
		require.ErrorContains(t, err, fmt.Sprintf("open journal %s: locked by another publisher: process %d on %q has it since %s: lock ",
			dir, os.Getpid(), host, n.Since.Format("2006-01-02 15:04:05Z")))
	}

	// The note may be torn or missing.
	for _, torn := range []string{"", "{\"pid\":4", "\x00\x00", "{}", "null"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, lockName), []byte(torn), 0o600))
		_, err = Open(dir)
		require.ErrorIs(t, err, repository.ErrLocked)
		require.ErrorContains(t, err, "locked by another publisher: lock ")
	}
	require.NoError(t, os.Remove(filepath.Join(dir, lockName)))
	_, err = Open(dir)
	require.ErrorIs(t, err, repository.ErrLocked)
	require.NoError(t, j.Close())

	// Once it is closed, nobody has it.
	j, err = Open(dir)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	text, err = os.ReadFile(filepath.Join(dir, lockName))
	require.NoError(t, err)
	require.Empty(t, text)
}

// A new file system's directory is no obstacle, wherever the journal is opened.
func TestLostAndFound(t *testing.T) {
	for _, create := range []func(string) (*Journal, error){Create, OpenOrCreate} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, disk.LostAndFound), 0o700))
		j, err := create(dir)
		require.NoError(t, err)
		require.NoError(t, j.Close())
		require.DirExists(t, filepath.Join(dir, disk.LostAndFound))
		_, err = pendingIn(t, dir)
		require.NoError(t, err)
	}
}
