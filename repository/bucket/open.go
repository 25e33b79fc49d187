package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Open opens a bucket, which must exist, after trying it. It writes, swaps, reads, lists and deletes one small
// object of its own, 1.bindery-probe-ID.json, whose random ID no other Open has. The bucket is refused
//
//   - if it ignores a condition: two publishers would overwrite each other's files;
//   - if a missing name isn't 404 for clients at Config.PublicURL: most stop on anything but 404;
//   - if what is at Config.PublicURL isn't this bucket, or a cache there keeps a 404;
//   - if any request fails.
//
// Without Config.PublicURL, Open can't know what clients see, and logs a warning that says so.
//
// Open costs 10 small requests, and 2 at PublicURL. If the process is killed meanwhile, the small object
// stays.
func Open(ctx context.Context, service Service, cfg Config) (*Store, error) {
	s, err := newStore(service, cfg)
	if err != nil {
		return nil, err
	}
	if err := s.probe(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", s, err)
	}
	clear(s.swapped)
	if cfg.PublicURL == "" {
		s.cfg.Logger.WarnContext(ctx, "what clients see of the bucket was not tried, because PublicURL is not set: if they read from the bucket and a missing name is 403 and not 404 for them, they fail. Set PublicURL to where they read",
			"bucket", s.String(), "clients need", cfg.ClientsNeed)
	}
	return s, nil
}

func (s *Store) probe(ctx context.Context) (err error) {
	name := "1.bindery-probe-" + strings.ToLower(rand.Text()) + ".json"
	one, two, other := []byte(`{"probe":1}`), []byte(`{"probe":2}`), []byte(`{"probe":"other"}`)
	foreign := Condition{Tag: foreignTag}

	for _, err := range s.List(ctx) {
		if err != nil {
			return err
		}
		break
	}
	have, err := s.look(ctx, name)
	if err != nil {
		return err
	}
	if have != nil {
		return fmt.Errorf("there is a name that nobody made, %s: this answers every name with something", name)
	}
	if err := s.clientsMiss(ctx, name); err != nil {
		return err
	}
	defer func() {
		// Also if ctx ended: the object would stay for ever.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
		defer cancel()
		if removed := s.Delete(ctx, name); err == nil {
			err = removed
		}
	}()
	if err := s.mustRefuse(ctx, name, other, "that has a certain ETag or generation, and is missing", foreign); err != nil {
		return err
	}
	if err := s.Create(ctx, name, one); err != nil {
		return err
	}
	if err := s.mustRefuse(ctx, name, other, "that must be missing, and exists", Missing); err != nil {
		return err
	}
	if err := s.mustRefuse(ctx, name, other, "that has another ETag or generation", foreign); err != nil {
		return err
	}
	if err := s.Swap(ctx, name, one, two); err != nil {
		return fmt.Errorf("with the ETag or generation that the service gave: %w", err)
	}
	if have, err = s.look(ctx, name); err != nil {
		return err
	}
	if have == nil || !bytes.Equal(have.Data, two) {
		return fmt.Errorf("%s doesn't hold what was just written: the service isn't consistent, so use another one", name)
	}
	return s.clientsFind(ctx, name, two)
}

// foreignTag is no object's: neither the MD5 of anything of ours, nor a generation, which is a time.
const foreignTag = "1"

// mustRefuse makes a write whose condition isn't met.
func (s *Store) mustRefuse(ctx context.Context, name string, data []byte, of string, c Condition) error {
	_, err := s.write(ctx, name, data, c)
	switch {
	case err == nil:
		return fmt.Errorf("the service ignores the condition of a write: it replaced a name %s; two publishers would overwrite each other's files, so use another service", of)
	case errors.Is(err, ErrRefused):
		return nil
	}
	return fmt.Errorf("a write under a condition: %w", err)
}

// clientsMiss asks for a missing name as clients do.
func (s *Store) clientsMiss(ctx context.Context, name string) error {
	if s.cfg.PublicURL == "" {
		return nil
	}
	status, _, err := s.asClient(ctx, name)
	switch {
	case err != nil:
		return err
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("clients get %d, not 404, for a missing name at %s, and most stop on anything but 404: grant everybody %s", status, s.cfg.PublicURL, s.cfg.ClientsNeed)
	case status != http.StatusNotFound:
		return fmt.Errorf("clients get %d, not 404, for a missing name at %s: have it answer 404 (see Config.PublicURL)", status, s.cfg.PublicURL)
	}
	return nil
}

// clientsFind asks for a name that clientsMiss asked for before it existed.
func (s *Store) clientsFind(ctx context.Context, name string, data []byte) error {
	if s.cfg.PublicURL == "" {
		return nil
	}
	status, body, err := s.asClient(ctx, name)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return fmt.Errorf("clients at %s don't find a name that was just written: a cache there keeps the 404 that it got before (it must keep none of any metadata), or it isn't this bucket (Config.PublicURL)", s.cfg.PublicURL)
	case status != http.StatusOK:
		return fmt.Errorf("clients get %d at %s for a name that exists: grant everybody %s", status, s.cfg.PublicURL, s.cfg.ClientsNeed)
	case !bytes.Equal(body, data):
		return fmt.Errorf("clients at %s get other bytes than the bucket has: is it this bucket (Config.PublicURL)?", s.cfg.PublicURL)
	}
	return nil
}

func (s *Store) asClient(ctx context.Context, name string) (status int, body []byte, err error) {
	client := &http.Client{Timeout: s.cfg.Timeout}
	for try := 1; ; try++ {
		status, body, err = get(ctx, client, s.cfg.PublicURL+name)
		if err == nil && status < 500 || try >= s.cfg.Attempts {
			break
		}
		if err := pause(ctx, try); err != nil {
			return 0, nil, err
		}
	}
	if err != nil {
		err = fmt.Errorf("ask as clients do (Config.PublicURL): %w", err)
	}
	return status, body, err
}

func get(ctx context.Context, client *http.Client, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	return response.StatusCode, body, err
}
