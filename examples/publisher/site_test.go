package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	clientconfig "github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// asProgram tells the test binary to be the publisher, with its arguments.
const asProgram = "BINDERY_TEST_PUBLISHER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(pgtest.Run(m))
}

// site is what an operator has before the publisher first starts: keys, documents that three people
// signed, and a configuration file.
type site struct {
	t       *testing.T
	dir     string
	holders []*keys.MemorySigner
	online  *keys.MemorySigner
	root    roles.RootSpec
	config  map[string]any
}

const thePassphrase = "correct horse"

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	return newSiteWith(t, dir, repotest.NewKeyFile(t, filepath.Join(dir, "online.pem"), thePassphrase))
}

func newSiteWith(t *testing.T, dir string, online *keys.MemorySigner) *site {
	t.Helper()
	s := &site{t: t, dir: dir, online: online}
	for range 3 {
		key, err := keys.GenerateEd25519()
		require.NoError(t, err)
		s.holders = append(s.holders, key)
	}
	people := roles.Authority{Threshold: 2}
	for _, k := range s.holders {
		people.Keys = append(people.Keys, k.Public())
	}
	index := roles.Authority{Threshold: 1, Keys: []*keys.PublicKey{online.Public()}}
	s.root = roles.RootSpec{Version: 1, Expires: inAYear(), Root: people, Targets: people, Snapshot: index, Timestamp: index}
	for _, folder := range []string{"documents", "ceremonies"} {
		require.NoError(t, os.Mkdir(s.path(folder), 0o755))
	}
	root, err := roles.NewRoot(s.root)
	require.NoError(t, err)
	targets, err := delegation.NewTargets(1, inAYear(), people)
	require.NoError(t, err)
	layout, err := delegation.New(delegation.BinsRole, 4, delegation.Succinct)
	require.NoError(t, err)
	bins, err := layout.NewRole(1, inAYear(), index)
	require.NoError(t, err)
	for _, k := range s.holders[:2] {
		root, err = root.Sign(t.Context(), k)
		require.NoError(t, err)
		targets, err = targets.Sign(t.Context(), k)
		require.NoError(t, err)
		bins, err = bins.Sign(t.Context(), k)
		require.NoError(t, err)
	}
	s.write("documents/1.root.json", root.Bytes(), 0o644)
	s.write("documents/1.targets.json", targets.Bytes(), 0o644)
	s.write("documents/1.bins.json", bins.Bytes(), 0o644)
	s.write("passphrase", []byte(thePassphrase+"\n"), 0o600)
	key := "file:" + s.path("online.pem")
	s.config = map[string]any{
		"listen": "127.0.0.1:0", "clients": map[string]any{"listen": "127.0.0.1:0"},
		"store": map[string]any{"dir": s.path("metadata")}, "journal": map[string]any{"dir": s.path("journal")},
		"documents": s.path("documents"), "passphrase_file": s.path("passphrase"),
		"keys":    map[string]any{"bins-*": key, "snapshot": key, "timestamp": []string{key}},
		"publish": map[string]any{"max_delay": "1ms"},
	}
	return s
}

func inAYear() time.Time { return time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0) }

func (s *site) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *site) write(name string, data []byte, perm os.FileMode) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), data, perm))
}

func (s *site) read(name string) []byte {
	s.t.Helper()
	data, err := os.ReadFile(s.path(name))
	require.NoError(s.t, err)
	return data
}

// configFile writes the configuration.
func (s *site) configFile() string {
	s.t.Helper()
	data, err := json.MarshalIndent(s.config, "", "  ")
	require.NoError(s.t, err)
	s.write("publisher.json", data, 0o644)
	return s.path("publisher.json")
}

// running is a publisher in this process.
type running struct {
	t      *testing.T
	url    map[string]string // by who is served
	hangup chan os.Signal
	stop   func()
	log    *output
	token  string
}

// output is what a program has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// spawn starts the publisher as a process of its own. Its end is sudden.
func (s *site) spawn() *running {
	s.t.Helper()
	self, err := os.Executable()
	require.NoError(s.t, err)
	return s.spawnProgram(self)
}

func (s *site) spawnProgram(program string) *running {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), program, s.configFile())
	cmd.Env = append(os.Environ(), asProgram+"=1")
	r := &running{t: s.t, log: &output{}}
	cmd.Stderr = r.log
	require.NoError(s.t, cmd.Start())
	r.stop = sync.OnceFunc(func() {
		require.NoError(s.t, cmd.Process.Kill())
		require.Error(s.t, cmd.Wait())
	})
	s.t.Cleanup(r.stop)
	for len(r.url) < 2 {
		time.Sleep(20 * time.Millisecond)
		r.url = urls(r.log.String())
		require.NotRegexp(s.t, `(?m)^publisher: `, r.log.String()) // why it ended
	}
	return r
}

var listening = regexp.MustCompile(`msg=listening for=(\w+) address=(\S+)`)

// urls are the addresses in a log.
func urls(log string) map[string]string {
	found := map[string]string{}
	for _, m := range listening.FindAllStringSubmatch(log, -1) {
		found[m[1]] = "http://" + m[2]
	}
	return found
}

func (s *site) start() *running {
	s.t.Helper()
	r := &running{t: s.t, hangup: make(chan os.Signal), log: &output{}}
	d, err := start(s.t.Context(), s.configFile(), slog.New(slog.NewTextHandler(r.log, nil)))
	require.NoError(s.t, err)
	r.url = urls(r.log.String())
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx, r.hangup) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s.t, <-ended)
	})
	s.t.Cleanup(r.stop)
	return r
}

// reload reloads, and returns once that is done: the second reload begins then, and waits for nobody.
func (r *running) reload() {
	r.hangup <- syscall.SIGHUP
	r.hangup <- syscall.SIGHUP
}

// do sends a request to the publisher and returns the answer, which must have the status.
func (r *running) do(method, path, body string, want int) string {
	r.t.Helper()
	return r.ask(forIndex, method, path, body, want)
}

func (r *running) ask(who, method, path, body string, want int) string {
	r.t.Helper()
	status, _, text := r.try(who, method, path, body)
	require.Equal(r.t, want, status, "%s %s: %s", method, path, text)
	return text
}

func (r *running) try(who, method, path, body string) (int, http.Header, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url[who]+path, strings.NewReader(body))
	require.NoError(r.t, err)
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, resp.Header, string(data)
}

// until asks again and again, until the answer has the status.
func (r *running) until(path string, want int) string {
	r.t.Helper()
	for {
		status, _, text := r.try(forIndex, "GET", path, "")
		if status == want {
			return text
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.t.Context().Done():
			require.FailNow(r.t, "the test ended before", "%s: %d %s", path, status, text)
		}
	}
}

// adds is the body of an item that adds a target.
func adds(path string, n int) string {
	return fmt.Sprintf(`{"add":[{"path":%q,"length":%d,"hashes":{"sha256":"%064x"}}]}`, path, n, n)
}

// find returns the length of a target, as a TUF client that knows the first root finds it, or -1.
func (s *site) find(url, path string) int64 { return s.findAll(url, path)[0] }

// findAll is find for many paths, with one client.
func (s *site) findAll(url string, paths ...string) (lengths []int64) {
	s.t.Helper()
	cfg, err := clientconfig.New(url+"/metadata", s.read("documents/1.root.json"))
	require.NoError(s.t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = s.t.TempDir(), s.t.TempDir()
	client, err := updater.New(cfg)
	require.NoError(s.t, err)
	require.NoError(s.t, client.Refresh())
	for _, path := range paths {
		info, err := client.GetTargetInfo(path)
		if err != nil {
			require.ErrorContains(s.t, err, "not found")
			lengths = append(lengths, -1)
			continue
		}
		lengths = append(lengths, info.Length)
	}
	return lengths
}

// nextRoot is the unsigned root after the last one, with another expiry.
func (s *site) nextRoot() []byte {
	s.t.Helper()
	s.root.Version++
	s.root.Expires = s.root.Expires.AddDate(0, 0, 1)
	doc, err := roles.NewRoot(s.root)
	require.NoError(s.t, err)
	return doc.Bytes()
}

func (s *site) signRoot(file []byte) []byte {
	s.t.Helper()
	doc, err := roles.Parse[metadata.RootType](file)
	require.NoError(s.t, err)
	for _, k := range s.holders[:2] {
		doc, err = doc.Sign(s.t.Context(), k)
		require.NoError(s.t, err)
	}
	return doc.Bytes()
}

// nextTargets is version 2 of targets.
func (s *site) nextTargets() []byte {
	s.t.Helper()
	doc, err := delegation.NewTargets(2, inAYear(), s.root.Targets)
	require.NoError(s.t, err)
	for _, k := range s.holders[:2] {
		doc, err = doc.Sign(s.t.Context(), k)
		require.NoError(s.t, err)
	}
	return doc.Bytes()
}

var discard = slog.New(slog.DiscardHandler)
