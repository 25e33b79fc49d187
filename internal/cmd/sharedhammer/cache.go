package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// cache is what a CDN in front of the bucket does, by the rules of package s3store: it keeps what Cache-Control lets
// it keep, and no answer but a 200. While the bucket can't be reached a client waits.
type cache struct {
	origin string // URL in front of a path
	client *http.Client
	hits   atomic.Int64

	mu   sync.Mutex
	kept map[string]kept
	size int
}

type kept struct {
	data  []byte
	until time.Time // zero: for ever
}

const (
	cacheBytes = 64 << 20
	patience   = 2 * time.Minute // for a bucket that can't be reached
)

func newCache(origin string) *cache {
	return &cache{origin: origin, client: &http.Client{Timeout: 5 * time.Second}, kept: map[string]kept{}}
}

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if data, ok := c.look(r.URL.Path); ok {
		c.hits.Add(1)
		answer(w, http.StatusOK, data)
		return
	}
	for begun := time.Now(); ; {
		status, data, err := c.fetch(r)
		switch {
		case err == nil && status < 500:
			answer(w, status, data)
			return
		case r.Context().Err() != nil:
			return
		case time.Since(begun) > patience:
			http.Error(w, fmt.Sprintf("the bucket can't be reached: %d %v", status, err), http.StatusBadGateway)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func answer(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", repository.MediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (c *cache) look(path string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[path]
	if !ok || !k.until.IsZero() && time.Now().After(k.until) {
		return nil, false
	}
	return k.data, true
}

func (c *cache) fetch(r *http.Request) (int, []byte, error) {
	asked := time.Now() // what is kept is never younger than this
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, c.origin+r.URL.Path, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, response.Body); err != nil {
		return 0, nil, err
	}
	if response.ContentLength >= 0 && int64(data.Len()) != response.ContentLength {
		return 0, nil, errors.New("the answer is cut short")
	}
	if response.StatusCode == http.StatusOK {
		c.keep(r.URL.Path, data.Bytes(), asked, response.Header.Get("Cache-Control"))
	}
	return response.StatusCode, data.Bytes(), nil
}

func (c *cache) keep(path string, data []byte, asked time.Time, control string) {
	k := kept{data: data}
	if !strings.Contains(control, "immutable") {
		age := 0
		for directive := range strings.SplitSeq(control, ",") {
			if seconds, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
				age, _ = strconv.Atoi(seconds)
			}
		}
		if age == 0 {
			return
		}
		k.until = asked.Add(time.Duration(age) * time.Second)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size > cacheBytes {
		clear(c.kept)
		c.size = 0
	}
	c.kept[path] = k
	c.size += len(data)
}
