package main

import (
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
)

// client is a TUF client that was given version 1 of root and a URL, as a package
// manager would have them built in. What it verified it keeps in a folder of its
// own. It is for one run: a client that comes back is a new one with the same folder.
type client struct {
	*updater.Updater
	cfg     *config.UpdaterConfig
	form    delegation.Form
	traffic traffic
}

func newClient(x *index, url, dir string) (*client, error) {
	root, err := x.metadata.Get(x.ctx, "1.root.json")
	if err != nil {
		return nil, err
	}
	c := &client{form: x.layout.Form()}
	if c.cfg, err = config.New(url+"/metadata", root); err != nil {
		return nil, err
	}
	c.cfg.RemoteTargetsURL = url + "/targets"
	c.cfg.LocalMetadataDir, c.cfg.LocalTargetsDir = filepath.Join(dir, "metadata"), filepath.Join(dir, "files")
	overHTTP := fetcher.NewDefaultFetcher()
	overHTTP.SetHTTPClient(&http.Client{Timeout: time.Minute})
	c.traffic = traffic{fetcher: overHTTP, bytes: map[string]int64{}}
	c.cfg.Fetcher = &c.traffic
	if err := c.cfg.EnsurePathsExist(); err != nil {
		return nil, err
	}
	c.Updater, err = updater.New(c.cfg)
	return c, err
}

// find returns what the metadata says of a path, once every role on the way from
// root to it has been verified.
func (c *client) find(path string) (*metadata.TargetFiles, error) {
	if c.form == delegation.Explicit {
		return c.findByHand(path)
	}
	return c.GetTargetInfo(path)
}

// download fetches the file at a path and returns its size, or an error if it is
// not what the metadata says.
func (c *client) download(path string) (int64, error) {
	info, err := c.find(path)
	if err != nil {
		return 0, err
	}
	name := filepath.Join(c.cfg.LocalTargetsDir, hex.EncodeToString(info.Hashes["sha256"]))
	if _, _, err := c.DownloadTarget(info, name, ""); err != nil {
		return 0, err
	}
	stat, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return stat.Size(), nil
}
