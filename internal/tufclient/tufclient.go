// Package tufclient is what programs under load look at with go-tuf's client: which targets it finds,
// and whether a name of metadata ever had two contents.
//
//	contents := &tufclient.Contents{}
//	cfg.Fetcher = contents.Fetcher(fetcher.NewDefaultFetcher())
//	...
//	info, err := tufclient.Find(client, "a-1.whl") // nil: clients know that it is absent
package tufclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/roles"
)

// Contents has every content of metadata that was seen. The zero value is empty. It is safe for concurrent
// use.
type Contents struct {
	mu   sync.Mutex
	seen map[string][sha256.Size]byte
}

// See notes the content of a name. It returns an error if the name had another content before.
func (c *Contents) See(name string, data []byte) error {
	sum := sha256.Sum256(data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if was, ok := c.seen[name]; ok && was != sum {
		return fmt.Errorf("%s has two contents: %x and %x", name, was, sum)
	}
	if c.seen == nil {
		c.seen = map[string][sha256.Size]byte{}
	}
	c.seen[name] = sum
	return nil
}

// Fetcher notes what inner downloads. A timestamp is noted under its version, because its name is used again.
func (c *Contents) Fetcher(inner fetcher.Fetcher) fetcher.Fetcher { return &seeing{inner, c} }

type seeing struct {
	inner    fetcher.Fetcher
	contents *Contents
}

func (s *seeing) DownloadFile(url string, limit int64, timeout time.Duration) ([]byte, error) {
	data, err := s.inner.DownloadFile(url, limit, timeout)
	if err != nil {
		return nil, err
	}
	name := path.Base(url)
	if strings.HasPrefix(name, "timestamp.") {
		t, err := metadata.Timestamp().FromBytes(data)
		if err != nil {
			return nil, err
		}
		name = fmt.Sprintf("timestamp version %d", t.Signed.Version)
	}
	return data, s.contents.See(name, data)
}

// Find returns what the client knows of a target, or nil if it knows that there is none.
func Find(u *updater.Updater, path string) (*metadata.TargetFiles, error) {
	info, err := u.GetTargetInfo(path)
	if err != nil && err.Error() == fmt.Sprintf("target %s not found", path) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return info, nil
}

// Same reports whether a client found the length and the SHA-256 of want, and no other hash.
func Same(got *metadata.TargetFiles, want roles.Target) bool {
	return got.Length == want.Length && len(got.Hashes) == 1 && hex.EncodeToString(got.Hashes["sha256"]) == want.Hashes["sha256"]
}

// IsMissing reports whether an update failed because a file is not there.
func IsMissing(err error) bool {
	var status *metadata.ErrDownloadHTTP
	return errors.As(err, &status) && status.StatusCode == http.StatusNotFound
}
