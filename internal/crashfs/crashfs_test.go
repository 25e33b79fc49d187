package crashfs_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
)

var (
	loseAll = crashfs.Cut{}
	keepAny = crashfs.Cut{Names: crashfs.Any, Data: crashfs.Any}
)

// outcomes returns how often each state is left by many seeds.
func outcomes(t *testing.T, f func(t *testing.T, d *crashfs.Disk) string) map[string]int {
	all := map[string]int{}
	for seed := range uint64(300) {
		all[f(t, crashfs.New(seed))]++
	}
	return all
}

func names(d *crashfs.Disk) string {
	found := ""
	for _, name := range []string{"/a", "/b", "/dir/c"} {
		if data, ok := d.Read(name); ok {
			found += fmt.Sprintf("%s=%s ", name, data)
		}
	}
	return found
}

// Content needs a sync and the name one of its directory, each without the other
// is lost; and what a killed process wrote is readable until then.
func TestDurable(t *testing.T) {
	d := crashfs.New(1)
	p := d.Start()
	f, err := p.Create("/a", 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte("A"))
	require.NoError(t, err)
	require.NoError(t, p.SyncDir("/"))
	require.NoError(t, disk.WriteFile(p, "/b", []byte("B"), 0o600))
	d.Kill()
	require.Equal(t, "/a=A /b=B ", names(d))
	_, err = f.Write([]byte("more"))
	require.ErrorIs(t, err, crashfs.ErrKilled)

	p = d.Start()
	data, err := disk.ReadFile(p, "/a", 10)
	require.NoError(t, err)
	require.Equal(t, "A", string(data))
	require.NoError(t, p.SyncDir("/"))
	d.PowerCut(loseAll)
	require.Equal(t, "/a= /b=B ", names(d), "the content of a was never synced")
}

// Names are lost in any subset; a rename within a directory is one change, one
// between directories are two; with a directory goes what is in it.
func TestNames(t *testing.T) {
	found := outcomes(t, func(t *testing.T, d *crashfs.Disk) string {
		p := d.Start()
		require.NoError(t, disk.WriteFile(p, "/a", []byte("A"), 0o600))
		require.NoError(t, p.SyncDir("/"))
		require.NoError(t, p.Rename("/a", "/b"))
		d.PowerCut(keepAny)
		return names(d)
	})
	require.Len(t, found, 2)
	require.Positive(t, found["/a=A "])
	require.Positive(t, found["/b=A "])

	found = outcomes(t, func(t *testing.T, d *crashfs.Disk) string {
		p := d.Start()
		require.NoError(t, disk.WriteFile(p, "/a", []byte("A"), 0o600))
		require.NoError(t, p.Mkdir("/dir", 0o700))
		require.NoError(t, p.SyncDir("/"))
		require.NoError(t, p.Rename("/a", "/dir/c"))
		d.PowerCut(keepAny)
		return names(d)
	})
	require.Len(t, found, 4)

	found = outcomes(t, func(t *testing.T, d *crashfs.Disk) string {
		p := d.Start()
		require.NoError(t, p.Mkdir("/dir", 0o700))
		require.NoError(t, disk.WriteFile(p, "/dir/c", []byte("C"), 0o600))
		require.NoError(t, p.SyncDir("/dir"))
		d.PowerCut(keepAny)
		return names(d)
	})
	require.Len(t, found, 2)
}

// Unsynced bytes are torn anywhere, and pages kept in any subset.
func TestTorn(t *testing.T) {
	const page = 4096
	lengths, pages := map[int]bool{}, map[string]bool{}
	for seed := range uint64(2000) {
		d := crashfs.New(seed)
		p := d.Start()
		f, err := p.Create("/a", 0o600)
		require.NoError(t, err)
		require.NoError(t, p.SyncDir("/"))
		_, err = f.Write(bytes.Repeat([]byte("x"), 3*page))
		require.NoError(t, err)
		d.PowerCut(keepAny)
		data, ok := d.Read("/a")
		require.True(t, ok)
		lengths[len(data)] = true
		if len(data) == 3*page {
			pages[fmt.Sprint(data[page-1], data[2*page-1], data[3*page-1])] = true
		}
	}
	require.Greater(t, len(lengths), 500)
	require.Len(t, pages, 8)
}

// After a failed sync the next one succeeds, and what the first lost stays lost;
// reads show the old bytes or the new ones.
func TestFailedSync(t *testing.T) {
	type state struct{ visible, durable string }
	found := map[state]int{}
	for seed := range uint64(300) {
		d := crashfs.New(seed)
		p := d.Start()
		f, err := p.Create("/a", 0o600)
		require.NoError(t, err)
		require.NoError(t, p.SyncDir("/"))
		_, err = f.Write([]byte("A"))
		require.NoError(t, err)
		d.InjectNext(1, crashfs.Fail)
		require.ErrorIs(t, f.Sync(), crashfs.ErrFault)
		require.NoError(t, f.Sync())
		visible, _ := d.Read("/a")
		d.PowerCut(crashfs.Cut{Names: crashfs.All, Data: crashfs.All})
		durable, _ := d.Read("/a")
		found[state{string(visible), string(durable)}]++
	}
	require.Len(t, found, 3)
	require.Positive(t, found[state{"A", "A"}])
	require.Positive(t, found[state{"A", "\x00"}])
	require.Positive(t, found[state{"\x00", "\x00"}])

	dirs := outcomes(t, func(t *testing.T, d *crashfs.Disk) string {
		p := d.Start()
		require.NoError(t, disk.WriteFile(p, "/a", []byte("A"), 0o600))
		d.InjectNext(1, crashfs.Fail)
		require.ErrorIs(t, p.SyncDir("/"), crashfs.ErrFault)
		require.NoError(t, p.SyncDir("/"))
		require.Equal(t, "/a=A ", names(d))
		d.PowerCut(loseAll)
		return names(d)
	})
	require.Len(t, dirs, 2)
}

// A copy goes its own way.
func TestClone(t *testing.T) {
	d := crashfs.New(1)
	p := d.Start()
	f, err := p.Create("/a", 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte("A"))
	require.NoError(t, err)
	c := d.Clone(2)
	_, err = f.Write([]byte("A"))
	require.NoError(t, err)
	require.Equal(t, "/a=A ", names(c))
	c.PowerCut(loseAll)
	require.Empty(t, names(c))
	require.Equal(t, "/a=AA ", names(d))
}

// A lock ends with its process.
func TestLock(t *testing.T) {
	d := crashfs.New(1)
	p := d.Start()
	require.NoError(t, disk.WriteFile(p, "/a", nil, 0o600))
	_, err := p.Lock("/a")
	require.NoError(t, err)
	_, err = p.Lock("/a")
	require.ErrorIs(t, err, disk.ErrLocked)
	d.Kill()
	_, err = d.Start().Lock("/a")
	require.NoError(t, err)
}
