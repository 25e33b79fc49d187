package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
)

const smallest = `{
  // A comment.
  "listen": "127.0.0.1:0",
  "store": {"dir": "/s"}, "journal": {"dir": "/j"},
  "documents": "/d",
  "keys": {"snapshot": "file:/k", "timestamp": ["file:/k", "file:/l"]}
}
`

func configOf(t *testing.T, text string) (config, error) {
	file := filepath.Join(t.TempDir(), "c.json")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return readConfig(file)
}

func TestConfig(t *testing.T) {
	c, err := configOf(t, smallest)
	require.NoError(t, err)
	require.Equal(t, map[string]uris{"snapshot": {"file:/k"}, "timestamp": {"file:/k", "file:/l"}}, c.Keys)

	c, err = configOf(t, strings.Replace(smallest, `"documents"`, `"standby": true, "publish": {"bin_lifetime": "7d", "max_pending": 3}, "documents"`, 1))
	require.NoError(t, err)
	require.True(t, c.Standby)
	require.Equal(t, 7*24*time.Hour, c.Publish.repository().BinLifetime)
	require.Equal(t, 3, c.Publish.repository().MaxPending)

	for _, test := range []struct{ old, new, says string }{
		{`"documents"`, `"Documents"`, "line 5: Documents: unknown member: here can be listen, token_file, "},
		{`{"dir": "/j"}`, `{"dirs": "/j"}`, "line 4: journal.dirs: unknown member: here can be dir, postgres"},
		{`"documents": "/d",`, `"documents": "/d", "listen": "x",`, "line 5: listen: this member appears twice"},
		{`"/d"`, `7`, "line 5: documents: this is a JSON number, and a string is wanted"},
		{`"/d"`, `null`, "line 5: documents: null is no value: leave the member out"},
		{`{"dir": "/j"}`, `"/j"`, "line 4: journal: an object in braces is wanted"},
		{`"file:/k",`, `7,`, "line 6: keys.snapshot: want a URI"},
		{`["file:/k", "file:/l"]`, `[]`, "line 6: keys.timestamp: want a URI"},
		{`"snapshot"`, `"timestamp"`, "line 6: keys.timestamp: this member appears twice"},
		{`"documents"`, `"standby": 1, "documents"`, "line 5: standby: this is a JSON number, and true or false is wanted"},
		{`"documents"`, `"publish": {"max_delay": 7}, "documents"`, `line 5: publish.max_delay: want a time such as "90s"`},
		{`"documents"`, `"publish": {"max_delay": "9999999d"}, "documents"`, `line 5: publish.max_delay: want a time`},
		{`"documents"`, `"publish": {"max_pending": 1.5}, "documents"`, `line 5: publish.max_pending: this is a JSON number 1.5, and a whole number is wanted`},
		{`"/d",`, `"/d"`, "line 6: this is not JSON"},
		{"}\n}\n", "}\n}\n7", "line 8: this is not JSON"},
		{"}\n}\n", "}\n", "line 7: this is not JSON"},

		{`"127.0.0.1:0"`, `""`, `listen: missing`},
		{`"127.0.0.1:0"`, `"127.0.0.1"`, `listen: address 127.0.0.1: missing port`},
		{`"127.0.0.1:0"`, `":80"`, "listen: :80 can be reached from other machines: configure a token_file"},
		{`"127.0.0.1:0"`, `"0.0.0.0:80"`, "can be reached from other machines"},
		{`"127.0.0.1:0"`, `"[::]:80"`, "can be reached from other machines"},
		{`"127.0.0.1:0"`, `"localhost.example.com:80"`, "can be reached from other machines"},
		{`{"dir": "/j"}`, `{}`, `journal: give either a folder`},
		{`{"dir": "/j"}`, `{"dir": "/j", "postgres": {"url": "postgres://h/d"}}`, `journal: give either a folder`},
		{`{"dir": "/j"}`, `{"postgres": {"url": "postgres://h/d"}}`, `store.dir: a folder is on one machine, and publishers on others can use journal.postgres: use a bucket (store.s3 or store.gcs), or say "one_machine": true if`},
		{`"documents"`, `"archive": {"delete": true}, "documents"`, `archive.every: give a time of at least a minute`},
		{`"documents"`, `"archive": {"every": "1d"}, "documents"`, `archive: name a folder in "to", or say "delete": true`},
		{`{"dir": "/s"}, "journal": {"dir": "/j"},`, `{"gcs": {"bucket": "b"}}, "journal": {"postgres": {"url": "postgres://h/d"}}, "archive": {"every": "1d", "to": "/a"},`, `archive.to: a journal in PostgreSQL archives into no folder`},
		{`{"dir": "/j"}`, `{"postgres": {}}`, `journal.postgres: give one of url, url_file and url_env`},
		{`{"dir": "/j"}`, `{"postgres": {"url": "postgres://u:p@h/d"}}`, `journal.postgres.url: a password does not belong in this file`},
		{`{"dir": "/j"}`, `{"postgres": {"url": "host=h password=p"}}`, `journal.postgres.url: a password does not belong in this file`},
		{`{"dir": "/s"}`, `{"gcs": {}}`, `store.gcs.bucket: missing`},
		{`{"dir": "/s"}`, `{"gcs": {"bucket": "b"}, "s3": {"bucket": "b"}}`, `store: give one of a folder`},
		{`{"dir": "/s"}`, `{"s3": {}}`, `store.s3.bucket: missing`},
		{`{"dir": "/j"}`, `{"dir": "j"}`, `journal.dir: "j" is not an absolute path`},
		{`"/d"`, `""`, "documents: missing: name a folder"},
		{`"snapshot": "file:/k", "timestamp": ["file:/k", "file:/l"]`, ``, `keys: missing`},
		{`"documents"`, `"clients": {}, "documents"`, "clients.listen: missing"},
		{`"documents"`, `"ceremony": {"folder": "/c"}, "documents"`, `ceremony.install: "": say automatic`},
		{`"documents"`, `"ceremony": {"folder": "/c", "install": "operator", "listen": "10.0.0.1:1"}, "documents"`, "ceremony.listen: 10.0.0.1:1 can be reached"},
		{`"documents"`, `"ceremony": {"folder": "/c", "install": "operator", "token_file": "/t"}, "documents"`, "ceremony.token_file: it is for ceremony.listen"},
	} {
		require.Contains(t, smallest, test.old)
		_, err := configOf(t, strings.Replace(smallest, test.old, test.new, 1))
		require.ErrorContains(t, err, test.says, test.new)
		require.ErrorContains(t, err, "c.json", test.new)
	}
	_, err = readConfig(filepath.Join(t.TempDir(), "missing.json"))
	require.ErrorContains(t, err, "missing.json")
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte(`{"publish": {"max_delay": "7d"}, "ceremony": {"folder": "/c"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c config
		if decodeConfig(data, &c) == nil {
			_ = c.check()
		}
	})
}

// A bucket of which nothing says where clients read it is named, unless the publisher serves the clients.
func TestCheckUntriedBucket(t *testing.T) {
	s := newSite(t)
	delete(s.config, "clients")
	for place, warns := range map[string]bool{
		`{"s3": {"bucket": "b"}}`:                                true,
		`{"gcs": {"bucket": "b"}}`:                               true,
		`{"s3": {"bucket": "b", "public_url": "http://x.org/"}}`: false,
		`{"dir": "/nowhere/s"}`:                                  false,
	} {
		s.config["store"] = json.RawMessage(place)
		var out strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // the bucket isn't asked
		_ = run(ctx, []string{"-check", s.configFile()}, &out, io.Discard)
		require.Equal(t, warns, strings.Contains(out.String(), "clients     what they see of the bucket can't be tried: set public_url"), out.String())
	}
}

func TestCheck(t *testing.T) {
	s := newSite(t)
	check := func() (string, error) {
		var out strings.Builder
		err := run(t.Context(), []string{"-check", s.configFile()}, &out, &out)
		return out.String(), err
	}
	text, err := check()
	require.NoError(t, err)
	for _, want := range []string{
		"listens     127.0.0.1:0 for the index and operators, without a token, for this machine only\n",
		"signs       snapshot with key " + s.online.Public().ID() + "\n",
		"documents   1 root, and bins, targets, in " + s.path("documents") + "\n",
		"published   nothing yet: the first start creates the repository of the documents\n",
	} {
		require.Contains(t, text, want)
	}
	require.NoDirExists(t, s.path("journal"))

	s.start().stop()
	text, err = check()
	require.NoError(t, err)
	require.Contains(t, text, "published   generation 1, signed ")

	// While a publisher runs, and after the store was put back.
	r := s.start()
	old := s.read("metadata/timestamp.json")
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	_, err = check()
	require.NoError(t, err)
	r.stop()
	newest := s.read("metadata/timestamp.json")
	s.write("metadata/timestamp.json", old, 0o644)
	_, err = check()
	require.ErrorIs(t, err, repository.ErrDiverged)
	require.ErrorContains(t, err, "generation 2 is published, and the store's timestamp.json is another one: start the publisher")
	_, err = start(t.Context(), s.configFile(), discard)
	require.ErrorContains(t, err, "RestoreStore is -restore store")
	require.ErrorContains(t, run(t.Context(), []string{"-restore", "tail", s.configFile()}, io.Discard, io.Discard), "RestoreStore is -restore store")

	s.write("metadata/timestamp.json", newest, 0o644)
	s.config["archive"] = map[string]any{"every": "1d", "to": s.path("nowhere")}
	_, err = check()
	require.ErrorContains(t, err, "archive.to: stat "+s.path("nowhere"))
	_, err = start(t.Context(), s.configFile(), discard)
	require.ErrorContains(t, err, "make the folder")
	delete(s.config, "archive")

	s.config["token_file"] = s.path("token")
	s.write("passphrase", []byte("wrong\n"), 0o600)
	text, err = check()
	require.ErrorContains(t, err, "token_file: ")
	require.ErrorContains(t, err, "keys.bins-*: open key file:")
	require.Contains(t, text, "published ")
}
