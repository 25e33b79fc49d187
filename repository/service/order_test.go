package service

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/ondisk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// The tests in this file are about "The right order" of the package comment: one for each
// number. Each does it right, and shows what happens otherwise.

// index is an index with its own storage, which go-tuf's client reads.
type index struct {
	*Service
	t       *testing.T
	m       *memory
	storage map[string]string // content by the name under which it is served
}

func inIndex(t *testing.T, f func(t *testing.T, x *index)) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(t)
		x := &index{Service: started(t, m.config()), t: t, m: m, storage: map[string]string{}}
		f(t, x)
		require.NoError(t, x.Close())
	})
}

// hashed is the name under which clients ask for a target.
func hashed(target roles.Target) string {
	i := strings.LastIndexByte(target.Path, '/') + 1
	return target.Path[:i] + target.Hashes["sha256"] + "." + target.Path[i:]
}

// keep stores content under HASH.NAME.
func (x *index) keep(path, content string) roles.Target {
	target := file(path, content)
	x.storage[hashed(target)] = content
	return target
}

func (x *index) delete(target roles.Target) { delete(x.storage, hashed(target)) }

// DownloadFile implements go-tuf's Fetcher.
func (x *index) DownloadFile(rawURL string, _ int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if name, ok := strings.CutPrefix(u.Path, "/metadata/"); ok {
		if data, err := x.m.store.Get(x.t.Context(), name); err == nil {
			return data, nil
		}
	} else if content, ok := x.storage[strings.TrimPrefix(u.Path, "/files/")]; ok {
		return []byte(content), nil
	}
	return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: rawURL}
}

// client is a client that has fetched the metadata of the present generation.
type client struct {
	*updater.Updater
	t *testing.T
}

func (x *index) client() *client { return x.clientOf(true) }

func (x *index) clientOf(hashNames bool) *client {
	x.t.Helper()
	root, err := x.m.store.Get(x.t.Context(), "1.root.json")
	require.NoError(x.t, err)
	cfg, err := config.New("https://index.invalid/metadata/", root)
	require.NoError(x.t, err)
	dir := x.t.TempDir()
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = dir, filepath.Join(dir, "targets")
	cfg.RemoteTargetsURL, cfg.PrefixTargetsWithHash, cfg.Fetcher = "https://index.invalid/files/", hashNames, x
	u, err := updater.New(cfg)
	require.NoError(x.t, err)
	require.NoError(x.t, u.Refresh())
	return &client{u, x.t}
}

// find looks a path up in the client's metadata.
func (c *client) find(path string) *metadata.TargetFiles {
	c.t.Helper()
	found, err := c.GetTargetInfo(path)
	require.NoError(c.t, err)
	return found
}

func (c *client) download(found *metadata.TargetFiles) (string, error) {
	_, data, err := c.DownloadTarget(found, filepath.Join(c.t.TempDir(), "file"), "")
	return string(data), err
}

// 1: the file is stored before Add.
func TestOrderOfStoring(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		publish(t, x.Service, x.keep("a/a.whl", "right"))
		c := x.client()
		content, err := c.download(c.find("a/a.whl"))
		require.NoError(t, err)
		require.Equal(t, "right", content)

		publish(t, x.Service, file("b/b.whl", "stored too late"))
		c = x.client()
		_, err = c.download(c.find("b/b.whl"))
		require.ErrorContains(t, err, "404")
	})
}

// 1: and it is durable. The power fails when Add has returned: file and item are both there.
func TestOrderOfStoringDurably(t *testing.T) {
	d := crashfs.New(1)
	fsys := d.Start()
	targets, err := ondisk.Targets.OpenOrCreate(fsys, "/index/files")
	require.NoError(t, err)
	journal, err := ondisk.Journal.OpenOrCreate(fsys, "/index/journal")
	require.NoError(t, err)
	m := newMemory(t)
	cfg := m.config()
	cfg.Open = func(ctx context.Context) (repository.Config, error) {
		c, err := m.open(ctx)
		c.Journal = journal
		return c, err
	}
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	target, err := targets.Put(t.Context(), "a/a.whl", strings.NewReader("right"))
	require.NoError(t, err)
	r, err := s.Add(t.Context(), target)
	require.NoError(t, err)
	d.PowerCut(crashfs.Cut{})
	s.Close()

	content, ok := d.Read("/index/files/" + hashed(target))
	require.True(t, ok)
	require.Equal(t, "right", string(content))
	journal, err = ondisk.Journal.Open(d.Start(), "/index/journal")
	require.NoError(t, err)
	s = started(t, cfg)
	require.NoError(t, s.Drain(t.Context()))
	o, err := s.Outcome(t.Context(), r.ID())
	require.NoError(t, err)
	require.Equal(t, repository.Published, o.State)
	require.NoError(t, s.Close())
}

// 2: the file is listed after Wait.
func TestOrderOfListing(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		x.m.inject.Plan(faulty.On(faulty.Hang, "store.Create")) // a generation takes its time
		r, err := x.Add(t.Context(), x.keep("a/a.whl", "1"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		_, err = x.client().GetTargetInfo("a/a.whl") // listed too early
		require.ErrorContains(t, err, "not found")

		x.m.inject.Plan(nil)
		x.m.loseJournal() // what hangs ends
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		c := x.client()
		content, err := c.download(c.find("a/a.whl"))
		require.NoError(t, err)
		require.Equal(t, "1", content)
	})
}

// 3: a file is deleted after the grace.
func TestOrderOfRemoving(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		target := x.keep("a/a.whl", "1")
		publish(t, x.Service, target)
		before := x.client()
		found := before.find("a/a.whl")

		r, err := x.Remove(t.Context(), "a/a.whl")
		require.NoError(t, err)
		_, err = r.Wait(t.Context())
		require.NoError(t, err)
		_, err = x.client().GetTargetInfo("a/a.whl")
		require.ErrorContains(t, err, "not found")

		content, err := before.download(found) // within its run
		require.NoError(t, err)
		require.Equal(t, "1", content)
		x.delete(target)
		_, err = before.download(found) // deleted too early for it
		require.ErrorContains(t, err, "404")
	})
}

// 4: what changes under its name is served under HASH. names.
func TestOrderOfNames(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		const page = "simple/demo/index.html"
		write := func(content string) {
			x.storage[page] = content // the plain name has one content at a time
			publish(t, x.Service, x.keep(page, content))
		}
		write("demo-1.0")
		x.storage["demo/demo-1.0.whl"] = "archive"
		publish(t, x.Service, x.keep("demo/demo-1.0.whl", "archive"))
		byHash, byName := x.clientOf(true), x.clientOf(false)
		found, plain := byHash.find(page), byName.find(page)
		archive := byName.find("demo/demo-1.0.whl")

		write("demo-1.0 demo-2.0")
		content, err := byHash.download(found)
		require.NoError(t, err)
		require.Equal(t, "demo-1.0", content)
		_, err = byName.download(plain)
		require.Error(t, err, "the page changed under its plain name")
		content, err = byName.download(archive) // which never changes
		require.NoError(t, err)
		require.Equal(t, "archive", content)

		c := x.client()
		content, err = c.download(c.find(page))
		require.NoError(t, err)
		require.Equal(t, "demo-1.0 demo-2.0", content)
	})
}

// 5: a page and the file that it lists change in one item.
func TestOrderOfPages(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		const page, archive = "simple/demo/index.html", "demo/demo-1.0.whl"
		submit := func(it repository.Item) {
			t.Helper()
			r, err := x.Submit(t.Context(), it)
			require.NoError(t, err)
			_, err = r.Wait(t.Context())
			require.NoError(t, err)
		}
		// agree reports whether what the page lists is what clients find.
		agree := func() bool {
			t.Helper()
			c := x.client()
			content, err := c.download(c.find(page))
			require.NoError(t, err)
			_, err = c.GetTargetInfo(archive)
			return strings.Contains(content, archive) == (err == nil)
		}
		listed, archived := x.keep(page, archive), x.keep(archive, "archive")
		submit(repository.Item{Add: []roles.Target{listed, archived}})
		require.True(t, agree())
		submit(repository.Item{Add: []roles.Target{x.keep(page, "")}, Remove: []string{archive}})
		require.True(t, agree())

		submit(repository.Item{Add: []roles.Target{listed}}) // in another order
		require.False(t, agree())
		submit(repository.Item{Add: []roles.Target{archived}})
		require.True(t, agree())
	})
}

// 5: in two items without a Wait, the second may be published first.
func TestOrderOfTwoItems(t *testing.T) {
	inIndex(t, func(t *testing.T, x *index) {
		const page, archive = "simple/demo/index.html", "demo/demo-1.0.whl"
		publish(t, x.Service, x.keep(archive, "archive"))
		publish(t, x.Service, x.keep(page, archive))
		view, err := x.View(t.Context())
		require.NoError(t, err)
		var bin string // of the page
		for info, err := range x.m.store.List(t.Context()) {
			require.NoError(t, err)
			if version, role, _ := strings.Cut(info.Name, "."); version == strconv.FormatInt(view.Generation(), 10) && strings.HasPrefix(role, "bins-") {
				bin = role
			}
		}
		require.NotEmpty(t, bin)

		x.m.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && strings.HasSuffix(c.Name, "."+bin) {
				return faulty.Before
			}
			return faulty.None
		})
		emptied, err := x.Add(t.Context(), x.keep(page, ""))
		require.NoError(t, err)
		removed, err := x.Remove(t.Context(), archive)
		require.NoError(t, err)
		_, err = removed.Wait(t.Context())
		require.NoError(t, err)
		c := x.client()
		content, err := c.download(c.find(page))
		require.NoError(t, err)
		require.Equal(t, archive, content, "it lists what was removed")

		x.m.inject.Plan(nil)
		_, err = emptied.Wait(t.Context())
		require.NoError(t, err)
	})
}
