package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// TestMain lets a test run this binary as the quickstart itself.
func TestMain(m *testing.M) {
	if os.Getenv("QUICKSTART_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// someFiles makes a folder with files as an index may have them.
func someFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "pkg", "demo"), 0o755))
	for name, content := range map[string]string{
		"pkg/demo/demo-1.0.tar.gz": strings.Repeat("demo", 10_000),
		"pkg/demo/demo 1.1.zip":    "a space in its name",
		"pkg/demo/index.html":      "<html>",
		"pkg/demo/empty":           "",
		"README":                   "read me",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content), 0o644))
	}
	return dir
}

// quickstart runs the whole program and returns what it printed.
func quickstart(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var stdout bytes.Buffer
	err := run(t.Context(), args, &stdout, t.Output())
	for line := range strings.Lines(stdout.String()) {
		if !strings.Contains(line, os.TempDir()) { // which may be long
			require.LessOrEqualf(t, utf8.RuneCountInString(line), 101, "%q", line)
		}
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimSuffix(line, "\n"), "spaces at the end of a line")
	}
	return stdout.String(), err
}

func TestBothForms(t *testing.T) {
	for _, form := range []string{"succinct", "explicit"} {
		t.Run(form, func(t *testing.T) {
			out, err := quickstart(t, "-files", someFiles(t), "-bins", "16", "-form", form)
			require.NoError(t, err)
			for _, want := range []string{
				"5 files, 40.0 kB, in ",
				"root                  2 of 3",
				"│     └─ bins-0 … -f  1 of 1",
				"Create signed 16 empty bins and published generation 1 in ",
				"downloaded and verified 5 of 5 files, 40.0 kB, in ",
				"hash verification failed",
				"failed, not enough signatures, got 0, want 1",
				"The client says: target pkg/demo/index.html not found",
				`go run -C examples/operator . audit "$PWD/index"`,
			} {
				require.Contains(t, out, want)
			}
			require.Equal(t, form == "explicit", strings.Contains(out, "go-tuf 2.4.2 can't follow"))
			require.NotContains(t, out, "listening on")
		})
	}
}

func TestSkipsWhatClientsCannotAskFor(t *testing.T) {
	files := someFiles(t)
	require.NoError(t, os.WriteFile(filepath.Join(files, "50%"), nil, 0o644))
	out, err := quickstart(t, "-files", files, "-bins", "2")
	require.NoError(t, err)
	require.Contains(t, out, `skipped: target "50%": path: `)
	require.Contains(t, out, "verified 5 of 5 files")
}

// A second run goes on with what the first one left, whatever flags it leaves out.
func TestKeptFolder(t *testing.T) {
	files, dir := someFiles(t), filepath.Join(t.TempDir(), "index")
	out, err := quickstart(t, "-files", files, "-dir", dir, "-bins", "4", "-form", "explicit")
	require.NoError(t, err)
	revoked := regexp.MustCompile(`Revoked in generation (\d+), `)
	again := regexp.MustCompile(`Published that file again in generation (\d+), within .* s: the index is left with all its files\.`)
	generation := again.FindStringSubmatch(out)[1]
	n, err := strconv.Atoi(revoked.FindStringSubmatch(out)[1])
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(n+1), generation)
	for _, name := range []string{
		"metadata/1.root.json", "metadata/1.targets.json", "metadata/1.bins.json", "metadata/" + generation + ".snapshot.json", "metadata/timestamp.json",
		"targets/3f22095641508576e91dc7c6c7f7e08a093985d53ea998043c6619ad240dc92c.README",
		"keys/README.txt", "keys/root-1.pem", "keys/root-2.pem", "keys/root-3.pem", "keys/online-bins.pem", "keys/online-snapshot-timestamp.pem",
	} {
		require.FileExists(t, filepath.Join(dir, filepath.FromSlash(name)))
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "keys", "root-1.pem"))) // only the ceremony needs it

	out, err = quickstart(t, "-files", files, "-dir", dir)
	require.NoError(t, err)
	require.Contains(t, out, "Opened "+dir+" at generation "+generation+"; the offline keys are not needed.")
	require.Contains(t, out, "verified 5 of 5 files")
	require.Contains(t, out, "\n     go run -C examples/operator . audit "+strconv.Quote(dir)+"\n")

	// Any static file server will do.
	static := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer static.Close()
	store, err := dirstore.Open(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	layout, err := delegation.New("bins", 4, delegation.Explicit)
	require.NoError(t, err)
	c, err := newClient(&index{ctx: t.Context(), metadata: store, layout: layout}, static.URL, t.TempDir())
	require.NoError(t, err)
	for path, content := range map[string]string{
		"pkg/demo/demo 1.1.zip": "a space in its name",
		"pkg/demo/index.html":   "<html>", // which was revoked for a while
	} {
		size, err := c.download(path)
		require.NoError(t, err)
		require.EqualValues(t, len(content), size)
	}

	_, err = quickstart(t, "-files", files, "-dir", dir, "-bins", "8")
	require.EqualError(t, err, "-bins 8: the index in "+dir+" has 4 bins, and keeps them")
	_, err = quickstart(t, "-files", files, "-dir", dir, "-form", "succinct")
	require.EqualError(t, err, "-form succinct: the index in "+dir+" has bins of the explicit form, and keeps them")
}

func TestRefusals(t *testing.T) {
	files, other, empty := someFiles(t), someFiles(t), t.TempDir()
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-files", files, "-bins", "3"}, "3 bins: not a power of two from 2 to 65536"},
		{[]string{"-form", "both"}, `-form "both": want succinct or explicit`},
		{[]string{"now"}, `unexpected argument "now"`},
		{[]string{"-files", empty}, empty + ": no files to publish"},
		{[]string{"-files", files, "-dir", files}, "-files " + files + ": it is the folder of the index, or in it: give another"},
		{[]string{"-files", files, "-dir", other}, other + " holds other things, or what an interrupted first run left: give another -dir or remove it"},
	} {
		_, err := quickstart(t, test.args...)
		require.EqualError(t, err, test.want)
	}
	_, err := quickstart(t, "-h")
	require.NoError(t, err)
}

func TestModuleCacheWithoutArchives(t *testing.T) {
	t.Setenv("GOMODCACHE", t.TempDir())
	_, err := quickstart(t)
	require.ErrorContains(t, err, `that this program is built from (are they vendored?): run "go mod download" in the clone, or use -files FOLDER`)
}

// With -serve the program says once where it listens, serves, and ends with
// status 0 on an interrupt.
func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-files", someFiles(t), "-bins", "2", "-serve", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "QUICKSTART_TEST_MAIN=1")
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())

	// Read until the line comes; no more output follows it until the end.
	var out strings.Builder
	listening := regexp.MustCompile(`(?m)^listening on (http://127\.0\.0\.1:[0-9]+)$`)
	buf := make([]byte, 1024)
	for listening.FindString(out.String()) == "" || !strings.HasSuffix(out.String(), "\n") {
		n, err := stdout.Read(buf)
		out.Write(buf[:n])
		require.NoError(t, err, out.String())
	}
	url := listening.FindStringSubmatch(out.String())[1]
	require.Contains(t, get(t, url+"/metadata/timestamp.json"), `"_type":"timestamp"`)
	require.Contains(t, get(t, url+"/metadata/1.root.json"), `"_type":"root"`)

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	rest, err := io.ReadAll(stdout)
	require.NoError(t, err)
	require.Empty(t, string(rest))
	require.NoError(t, cmd.Wait())
	require.Len(t, listening.FindAllString(out.String(), -1), 1)
}

// A client that does not notice, or stumbles over something else, must not pass
// for one that withstands.
func TestWithstandWhatIsNoAttack(t *testing.T) {
	p := &printer{w: io.Discard}
	files, err := listFiles(p, someFiles(t), "")
	require.NoError(t, err)
	opts, err := parseOptions([]string{"-bins", "2"}, io.Discard)
	require.NoError(t, err)
	x, err := openIndex(t.Context(), p, opts, filepath.Join(t.TempDir(), "index"), t.Output())
	require.NoError(t, err)
	defer func() { require.NoError(t, x.close()) }()
	require.NoError(t, x.serve(""))
	require.NoError(t, x.publish(p, files))

	altersFile := attacks(files[0])[0]
	_, err = x.withstand(altersFile, t.TempDir(), file{path: "unknown"})
	require.EqualError(t, err, "the client failed for another reason: target unknown not found")
	for _, a := range attacks(files[0]) {
		_, err = x.withstand(a, t.TempDir(), files[0])
		require.NoError(t, err)
		a.alter = func(body []byte) []byte { return body }
		_, err = x.withstand(a, t.TempDir(), files[0])
		require.EqualError(t, err, "the client accepts it", a.what)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode, url)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}
