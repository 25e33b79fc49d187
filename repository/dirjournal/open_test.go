package dirjournal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/repository"
)

// TestOpenRefuses: Open says what is wrong and changes nothing.
func TestOpenRefuses(t *testing.T) {
	good := journalOf(t, enqueue("a"))
	with := func(name, data string) map[string]string {
		all := maps.Clone(good)
		all[name] = data
		return all
	}
	ofFormat := func(version uint32) []byte {
		data := []byte(good[second])
		binary.BigEndian.PutUint32(data[8:], version)
		binary.BigEndian.PutUint32(data[60:], crc32.Checksum(data[:60], castagnoli))
		return data
	}
	newer, older := ofFormat(3), ofFormat(1)
	for _, test := range []struct {
		name  string
		files map[string]string
		is    error
		want  string
	}{
		{"empty", map[string]string{}, fs.ErrNotExist, "not a journal: it has no segments"},
		{"something else", map[string]string{"1.root.json": "{}", "1.seg": "x", "000000000001.seg.bak": ""}, fs.ErrNotExist, "not a journal"},
		{"no segment's content", with(second, "{\"signed\":{}}"+good[second]), nil, "segment 000000000002.seg: not a journal segment: wrong first bytes"},
		{"newer", with(second, string(newer)), nil, "segment 000000000002.seg: written by a newer version of Bindery, which must be used: format 3, and this program reads format 2 only"},
		{"older", with(second, string(older)), nil, "segment 000000000002.seg: written by an older version of Bindery, which must be used: format 1, and this program reads format 2 only"},
	} {
		d := restore(test.files)
		_, err := openOn(d, "/journal")
		require.ErrorContains(t, err, "open journal /journal: "+test.want, test.name)
		if test.is != nil {
			require.ErrorIs(t, err, test.is, test.name)
		}
		// A copy from a backup mends damage, and nothing else.
		require.Equal(t, test.name == "no segment's content", strings.Contains(err.Error(), "backup"), test.name)
		require.Equal(t, test.files, d.files(), test.name)
		require.Zero(t, d.Locks(), test.name)
	}

	d := newSimDisk()
	_, err := openOn(d, "/journal")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Zero(t, d.Ops())
}

func TestOpenLocked(t *testing.T) {
	j, d := newJournal(t, defaults)
	before := d.files()
	_, err := openOn(d, "/journal")
	require.ErrorIs(t, err, repository.ErrLocked)
	require.ErrorContains(t, err, "lock /journal: locked")
	_, err = createOn(d, "/journal")
	require.ErrorIs(t, err, fs.ErrExist)
	require.Equal(t, before, d.files())
	require.NoError(t, queueUp(t.Context(), j, "a"))
}

func TestOpenWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may do everything")
	}
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := Create(dir)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	for _, mode := range []fs.FileMode{0, 0o500} {
		require.NoError(t, os.Chmod(dir, mode))
		_, err = Open(dir)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, dir)
	}
	require.NoError(t, os.Chmod(dir, 0o700))
	_, err = pendingIn(t, dir)
	require.NoError(t, err)
}

// TestOpenCopy: a copy of the segments alone is a journal.
func TestOpenCopy(t *testing.T) {
	all := journalOf(t, enqueue("a"), reopen, enqueue("b"))
	delete(all, lockName)
	got, err := pending(t, restore(all))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, got)
}

func TestCreateRefuses(t *testing.T) {
	good := journalOf(t)
	for want, all := range map[string]map[string]string{
		"create journal /journal: it is a journal already: open it, or call OpenOrCreate in place of Create: ": good,
		"create journal /journal: the directory holds notes.txt":                                               {"notes.txt": "x"},
	} {
		d := restore(all)
		_, err := createOn(d, "/journal")
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, want)
		require.Equal(t, all, d.files())
	}

	// A used first segment, whatever became of the others.
	d := restore(map[string]string{"000000000001.seg": string(example())})
	_, err := createOn(d, "/journal")
	require.ErrorIs(t, err, fs.ErrExist)

	dir := filepath.Join(t.TempDir(), "missing", "journal")
	_, err = Create(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, filepath.Dir(dir))
}

// TestCreateAgain kills a Create at every operation; the next one completes it, or
// finds a journal that Open opens.
func TestCreateAgain(t *testing.T) {
	for at := 1; ; at++ {
		d := newSimDisk()
		d.InjectNext(at, crashfs.KillBefore)
		_, err := createOn(d, "/journal")
		if err == nil {
			require.Equal(t, 19, at, "a Create has 18 operations")
			return
		}
		d.powerLoss(keepAll)
		_, openErr := pending(t, d)
		if openErr != nil {
			require.ErrorIs(t, openErr, fs.ErrNotExist)
			j, err := createOn(d, "/journal/")
			require.NoError(t, err)
			require.NoError(t, j.Close())
		}
		got, err := pending(t, d)
		require.NoError(t, err)
		require.Empty(t, got)
	}
}

// TestSyncFailsAfterKill: a Create is killed, and any operation of the next process
// fails. What the third one does is durable.
func TestSyncFailsAfterKill(t *testing.T) {
	started := func(d *simDisk) (*Journal, error) {
		j, err := openOn(d, "/journal")
		if errors.Is(err, fs.ErrNotExist) {
			return createOn(d, "/journal")
		}
		return j, err
	}
	recoveries := 0
	for _, kill := range []crashfs.Fault{crashfs.KillBefore, crashfs.KillAfter} {
		for at := 1; ; at++ {
			killed := newSimDisk()
			killed.InjectNext(at, kill)
			if j, err := createOn(killed, "/journal"); err == nil {
				j.Close()
				if killed.Ops() < at {
					break
				}
			}
			killed.restart()
			for failing := 1; ; failing++ {
				where := fmt.Sprintf("fault %d at operation %d, then at %d", kill, at, failing)
				d := startOn(killed.Clone(uint64(failing)))
				before := d.Ops()
				d.InjectNext(failing, crashfs.Fail)
				j, err := started(d)
				if err == nil {
					j.Close()
					if d.Ops()-before < failing {
						break
					}
				}
				d.restart()
				j, err = started(d)
				require.NoError(t, err, where)
				require.NoError(t, queueUp(t.Context(), j, "a"), where)
				d.powerLoss(loseAll)
				got, err := pending(t, d)
				require.NoError(t, err, where)
				require.Equal(t, []string{"a"}, got, where)
				recoveries++
			}
		}
	}
	require.Greater(t, recoveries, 300)
}

// TestOpenManyTimes: however often a journal is opened and led in vain, that leaves
// two segments at most, and all that was in it.
func TestOpenManyTimes(t *testing.T) {
	for name, steps := range map[string][]step{
		"nothing":           {},
		"items":             {enqueue("a"), enqueue("b")},
		"a leader":          {enqueue("a"), takeOver},
		"records":           {enqueue("a", "b"), takeOver, record(intent, 1), record(seal, 1, "a")},
		"a checkpoint":      {enqueue("a"), takeOver, record(checkpoint, 0)},
		"more behind it":    {takeOver, record(checkpoint, 0), enqueue("a")},
		"opened since then": {takeOver, record(checkpoint, 0), reopen},
	} {
		all := journalOf(t, steps...)
		d := restore(all)
		want, err := pending(t, d)
		require.NoError(t, err)
		after := segments(t, d)
		require.LessOrEqual(t, len(after), len(all)-1+2, name)
		for range 30 {
			got, err := pending(t, d)
			require.NoError(t, err)
			require.Equal(t, want, got, name)
		}
		require.Equal(t, after, segments(t, d), name)
		files := d.files()
		for file, data := range all {
			require.Contains(t, files[file], data[min(len(data), headerSize+frameHead):], "%s: a frame in %s", name, file)
		}
		p := &process{open: func() (repository.Journal, error) { return openOn(d, "/journal") }}
		require.NoError(t, reopen(p))
		require.NoError(t, takeOver(p))
		before := p.epoch
		require.NoError(t, reopen(p))
		require.NoError(t, takeOver(p))
		require.Equal(t, before+1, p.epoch, name)
		require.NoError(t, p.j.Close())
	}
}

// TestOpenChangesNothing: to open a journal that was closed, or whose newest frame is durable
// for another reason, and to read it, takes no operation on the disk; a killed one's newest
// frame is written again first.
func TestOpenChangesNothing(t *testing.T) {
	all := killed(t, enqueue("a"), enqueue("b"))
	torn := maps.Clone(all)
	torn[second] += all[second][headerSize:][:frameHead] // of a frame 3, but for its number
	begun := maps.Clone(all)
	head := header{}.appendFrame(nil, frame{3, []byte("x")})
	begun[second] += string(head[:frameHead])
	for name, test := range map[string]struct {
		files   map[string]string
		changes bool
		cut     string
	}{
		"created":           {files: journalOf(t)},
		"closed":            {files: journalOf(t, enqueue("a"), enqueue("b"))},
		"closed twice":      {files: journalOf(t, enqueue("a"), enqueue("b"), reopen)},
		"led":               {files: journalOf(t, enqueue("a"), enqueue("b"), reopen, takeOver)},
		"led only":          {files: journalOf(t, takeOver)},
		"checkpoint":        {files: journalOf(t, enqueue("a", "b"), takeOver, record(checkpoint, 0))},
		"killed":            {files: all, changes: true},
		"killed, torn":      {files: torn, changes: true, cut: "segment " + second + ": the last 16 bytes, from offset 462 on, are not a whole frame 3"},
		"killed in frame 3": {files: begun, cut: "segment " + second + ": the last 16 bytes, from offset 462 on, are not a whole frame 3"},
	} {
		d := restore(test.files)
		d.Inject(func(crashfs.Op) crashfs.Fault { return crashfs.Fail }) // a full disk
		j, err := openOn(d, "/journal")
		if test.changes {
			require.ErrorIs(t, err, syscall.ENOSPC, name)
			require.NotErrorIs(t, err, repository.ErrUnknown)
			require.Zero(t, d.Locks())
			d.Inject(nil)
			j, err = openOn(d, "/journal")
			require.NoError(t, err)
			require.Equal(t, test.cut, j.Cut())
			require.NoError(t, j.Close())
			continue
		}
		require.NoError(t, err, name)
		require.Zero(t, d.Ops(), name)
		require.Equal(t, test.cut, j.Cut())
		b, err := j.Backlog(t.Context())
		require.NoError(t, err)
		if name != "created" && name != "led only" {
			require.Equal(t, 2, b.Pending, name)
		}
		require.ErrorIs(t, queueUp(t.Context(), j, "c"), syscall.ENOSPC)
		_, _, err = j.Lead(t.Context())
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, test.files, d.files(), name)
		d.Inject(nil)
		require.NoError(t, queueUp(t.Context(), j, "c"))
		_, _, err = j.Lead(t.Context())
		require.NoError(t, err)
		d.powerLoss(loseAll)
		j.Close()
		got, err := pending(t, d)
		require.NoError(t, err)
		require.Len(t, got, b.Pending+1, name)
	}
}

func TestNames(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, err := Create(dir)
	require.NoError(t, err)
	require.NoError(t, queueUp(t.Context(), j, "a"))
	leaderOf(t, j)
	require.NoError(t, j.Close())
	got, err := pendingIn(t, dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, got)

	var names []string
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
		info, err := e.Info()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
	}
	slices.Sort(names)
	require.Equal(t, []string{"000000000001.seg", "000000000002.seg", "000000000003.seg", "lock"}, names)
}
