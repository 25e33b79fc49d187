package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

var testNow = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// stage is a folder in which people run the program.
type stage struct {
	t   *testing.T
	dir string
	now time.Time
}

func newStage(t *testing.T) *stage { return &stage{t, t.TempDir(), testNow} }

// What encrypting a key costs, on purpose, is paid once for each name and not in
// every test: these are the files that the program made, and what it read from them.
var (
	madeKeys = map[string][2][]byte{}
	readKeys = map[string]keys.Signer{}
)

// fileOpener is keys.FileOpener that pays once.
func fileOpener(ask func(context.Context, string) ([]byte, error)) keys.Opener {
	return func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
		var id string
		open := keys.FileOpener(func(ctx context.Context, prompt string) ([]byte, error) {
			passphrase, err := ask(ctx, prompt)
			if err == nil {
				var data []byte
				data, err = os.ReadFile(fileName(runtime.GOOS, place))
				id = string(data) + "\x00" + string(passphrase)
			}
			if _, known := readKeys[id]; err == nil && known {
				err = errKnown
			}
			return passphrase, err
		})
		key, err := open(ctx, place, public)
		if errors.Is(err, errKnown) {
			return readKeys[id], nil
		}
		if err == nil {
			readKeys[id] = key
		}
		return key, err
	}
}

var errKnown = errors.New("read before")

func (s *stage) clock() time.Time { return s.now }

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// run runs the program as if typed were typed, and returns what it shows. It fails the
// test if the exit status is another than want.
func (s *stage) run(want int, typed string, args ...string) (screen, errs string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(typed), out: &stdout, err: &stderr, clock: s.clock, fileOpener: fileOpener}
	status := a.run(s.t.Context(), args)
	require.Equalf(s.t, want, status, "%v\n%s%s", args, stdout.String(), stderr.String())
	return stdout.String(), stderr.String()
}

// keygen makes keys, whose passphrase is the holder's name. Ada's key is the program's
// and in a file that is encrypted. The others are made here: nothing in their files is read
// but by readKeys, for one file in each binary shows what encrypting does.
func (s *stage) keygen(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if made, ok := madeKeys[name]; ok {
			s.write(name+".key", string(made[0]))
			s.write(name+".key.card.json", string(made[1]))
			continue
		}
		if name == "Ada" {
			s.run(done, name+"\n", "keygen", "-name", name, "-passphrase-fd", "0", s.path(name+".key"))
		} else {
			key, err := keys.GenerateEd25519()
			require.NoError(s.t, err)
			card, err := ceremony.NewCard(s.t.Context(), key, name)
			require.NoError(s.t, err)
			s.write(name+".key", "the key of "+name+", not encrypted")
			s.write(name+".key.card.json", string(card))
			readKeys["the key of "+name+", not encrypted\x00"+name] = key
		}
		key, err := os.ReadFile(s.path(name + ".key"))
		require.NoError(s.t, err)
		card, err := os.ReadFile(s.card(name))
		require.NoError(s.t, err)
		madeKeys[name] = [2][]byte{key, card}
	}
}

func (s *stage) card(name string) string { return s.path(name + ".key.card.json") }

func (s *stage) request() string { return s.path("repo/open/request.json") }

// init begins a ceremony with these holders and the online keys web and bins.
func (s *stage) init(threshold string, holders ...string) {
	s.t.Helper()
	args := []string{"init", "-dir", s.path("repo"), "-threshold", threshold, "-bins", "4",
		"-online", s.card("web"), "-online-bins", s.card("bins")}
	for _, h := range holders {
		args = append(args, "-holder", s.card(h))
	}
	s.run(done, "", args...)
}

// digest is that of the open request.
func (s *stage) digest() ceremony.Digest {
	s.t.Helper()
	r, err := readRequest(s.request())
	require.NoError(s.t, err)
	return r.Digest()
}

// sign has a holder sign the open request, and returns the response and the screen.
func (s *stage) sign(name string, more ...string) (response, screen string) {
	s.t.Helper()
	response = s.path(name + ".response.json")
	_ = os.Remove(response)
	args := append([]string{"sign", "-key", s.path(name + ".key"), "-out", response,
		"-confirm", s.digest().Groups()[6], "-passphrase-fd", "0"}, more...)
	screen, _ = s.run(done, name+"\n", append(args, s.request())...)
	return response, screen
}

// merge merges what holders sign one after the other; the last one completes it.
func (s *stage) merge(names ...string) merged {
	s.t.Helper()
	var result struct{ Result merged }
	for i, name := range names {
		want := incomplete
		if i == len(names)-1 {
			want = done
		}
		response, _ := s.sign(name)
		out, _ := s.run(want, "", "merge", "-json", "-dir", s.path("repo"), response)
		result.Result = merged{}
		require.NoError(s.t, json.Unmarshal([]byte(out), &result))
	}
	return result.Result
}
