package dirstore_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// opened makes or opens a store of one kind and keeps something in it.
type opened func(fsys disk.FS, dir, name string) error

func openMetadata(fsys disk.FS, dir, name string) error {
	s, err := dirstore.OpenOrCreateOn(fsys, dir)
	if err != nil {
		return err
	}
	return s.Create(ctx, name, []byte(name))
}

func openTargets(fsys disk.FS, dir, name string) error {
	s, err := dirstore.OpenOrCreateTargetsOn(fsys, dir)
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, name, strings.NewReader(name))
	return err
}

var kinds = map[string]opened{"metadata": openMetadata, "targets": openTargets}

// holds reports whether the disk has a file of this name, perhaps after a hash.
func holds(d *crashfs.Disk, dir, name string) bool {
	for file := range d.Files() {
		if base, ok := strings.CutPrefix(file, dir+"/"); ok && (base == name || strings.HasSuffix(base, "."+name)) {
			return true
		}
	}
	return false
}

// A disk is empty, or has what a new file system has. Whatever happens at any operation of
// OpenOrCreate, and of the first file that is kept, the same call goes on, and what is then
// kept survives the loss of power.
func TestOpenOrCreateUnderFaults(t *testing.T) {
	for kind, open := range kinds {
		for name, prepare := range map[string]func(d *crashfs.Disk) (dir string){
			"empty disk": func(*crashfs.Disk) string { return "/srv/index/store" },
			"new volume": func(d *crashfs.Disk) string {
				d.Put("/store", nil)
				d.Put("/store/lost+found", nil)
				return "/store"
			},
		} {
			cases := 0
			for _, fault := range []crashfs.Fault{crashfs.Fail, crashfs.FailAfter, crashfs.KillBefore, crashfs.KillAfter} {
				for seed := range uint64(6) {
					for at := 1; ; at++ {
						where := fmt.Sprintf("%s, %s, fault %d at operation %d, seed %d", kind, name, fault, at, seed)
						d := crashfs.New(seed)
						dir := prepare(d)
						d.InjectNext(at, fault)
						kept := open(d.Start(), dir, "a") == nil
						if kept && d.Ops() < at {
							break
						}
						if d.Kill(); seed > 0 {
							d.PowerCut(d.AnyCut())
						}
						require.NoError(t, open(d.Start(), dir, "b"), where)
						d.PowerCut(crashfs.Cut{})
						require.NoError(t, open(d.Start(), dir, "c"), where)
						d.PowerCut(crashfs.Cut{})
						if kept {
							require.True(t, holds(d, dir, "a"), where)
						}
						require.True(t, holds(d, dir, "b"), where)
						require.True(t, holds(d, dir, "c"), where)
						cases++
					}
				}
			}
			require.Greater(t, cases, 200, name)
		}
	}
}

// A process is killed in OpenOrCreate, and any operation of the next one fails. What the third
// one keeps is durable.
func TestOpenOrCreateSyncFailsAfterKill(t *testing.T) {
	const dir = "/srv/index/store"
	recoveries := 0
	for at := 1; ; at++ {
		killed := crashfs.New(uint64(at))
		killed.InjectNext(at, crashfs.KillBefore)
		if openMetadata(killed.Start(), dir, "a") == nil && killed.Ops() < at {
			break
		}
		killed.Kill()
		for failing := 1; ; failing++ {
			where := fmt.Sprintf("killed at operation %d, failed then at %d", at, failing)
			d := killed.Clone(uint64(failing))
			before := d.Ops()
			d.InjectNext(failing, crashfs.Fail)
			if openMetadata(d.Start(), dir, "a") == nil && d.Ops()-before < failing {
				break
			}
			d.Kill()
			require.NoError(t, openMetadata(d.Start(), dir, "a"), where)
			d.PowerCut(crashfs.Cut{})
			require.True(t, holds(d, dir, "a"), where)
			recoveries++
		}
	}
	require.Greater(t, recoveries, 300)
}

// What is not a store, or is one of another kind, is never replaced by a new one.
func TestOpenOrCreateRefuses(t *testing.T) {
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o644))
	_, err := dirstore.OpenOrCreate(other)
	require.ErrorIs(t, err, fs.ErrExist)
	require.ErrorContains(t, err, `directory not empty: it has "notes.txt"`)
	require.NoDirExists(t, filepath.Join(other, ".bindery"))

	_, err = dirstore.OpenOrCreate(formatted(t, "bindery target store 1\n"))
	require.ErrorContains(t, err, "it is a target store")
	_, err = dirstore.OpenOrCreateTargets(formatted(t, format))
	require.ErrorContains(t, err, "it is a metadata store")
	_, err = dirstore.OpenOrCreate(formatted(t, ""))
	require.ErrorContains(t, err, "damaged .bindery/format")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	_, err = dirstore.OpenOrCreate(file)
	require.ErrorContains(t, err, "not a directory")

	// A file of that name is no new file system's.
	found := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(found, "lost+found"), nil, 0o644))
	_, err = dirstore.OpenOrCreate(found)
	require.ErrorIs(t, err, fs.ErrExist)
}

// A new file system's directory is no obstacle, and no file of the store.
func TestLostAndFound(t *testing.T) {
	for _, create := range []func(string) (*dirstore.Store, error){dirstore.Create, dirstore.OpenOrCreate} {
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, disk.LostAndFound), 0o700))
		s, err := create(dir)
		require.NoError(t, err)
		require.NoError(t, s.Create(ctx, "1.root.json", []byte("{}")))
		var names []string
		for i, err := range s.List(ctx) {
			require.NoError(t, err)
			names = append(names, i.Name)
		}
		require.Equal(t, []string{"1.root.json"}, names)
	}
}
