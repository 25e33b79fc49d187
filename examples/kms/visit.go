package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/web"
)

// visit serves the metadata and has go-tuf's client verify every file's.
func (t *tour) visit(ctx context.Context) (err error) {
	store, err := dirstore.Open(filepath.Join(t.dir, "metadata"))
	if err != nil {
		return err
	}
	root, err := store.Get(ctx, "1.root.json")
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: web.Handler(web.Config{Store: store, Logger: t.log})}
	go server.Serve(listener)
	defer func() { err = errors.Join(err, server.Close()) }()

	cfg, err := config.New(fmt.Sprintf("http://%s/metadata", listener.Addr()), root)
	if err != nil {
		return err
	}
	cfg.LocalMetadataDir = filepath.Join(t.dir, "client")
	cfg.LocalTargetsDir = filepath.Join(t.dir, "client", "files")
	if err := cfg.EnsurePathsExist(); err != nil {
		return err
	}
	client, err := updater.New(cfg)
	if err != nil {
		return err
	}
	if err := client.Refresh(); err != nil {
		return err
	}
	for _, path := range t.files {
		if _, err := client.GetTargetInfo(path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	t.say("   verified all %d files, up to root version %d.", len(t.files), client.GetTrustedMetadataSet().Root.Signed.Version)
	return nil
}
