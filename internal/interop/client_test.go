package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
)

// A client is a program that reads a visit and writes a report.
type client struct {
	command     []string
	environment []string
	refusals    refusals
}

// refusals are the client's errors when a bin was altered, when it is an older
// one, and when the timestamp is, with BIN, WANT and GOT for the name of the bin
// and the versions.
type refusals struct{ altered, older, rollback string }

// clients has the ways to install each client, which may skip the test.
var clients = map[string]func(t *testing.T) client{
	"python-tuf": func(t *testing.T) client {
		return client{
			command: []string{NeedPython(t, "python"), "-I", Script(t, "python/client.py")},
			refusals: refusals{
				altered:  "UnsignedMetadataError: BIN was signed by 0/1 keys",
				older:    "BadVersionNumberError: Expected BIN vWANT, got vGOT.",
				rollback: "BadVersionNumberError: New timestamp version GOT must be >= WANT",
			},
		}
	},
	"tuf-js": func(t *testing.T) client {
		node, modules := needJS(t)
		return client{
			command:     []string{node, Script(t, "js/client.cjs")},
			environment: []string{"NODE_PATH=" + modules},
			refusals: refusals{
				altered:  "RuntimeError: Unable to load targets error Error: BIN was signed by 0/1 keys",
				older:    "RuntimeError: Unable to load targets error Error: Version GOT of BIN does not match snapshot version WANT",
				rollback: "BadVersionError: New timestamp version GOT is less than current version WANT",
			},
		}
	},
}

// A visit is one process of a client: it refreshes, and then finds and
// downloads every path.
type visit struct {
	URL   string   `json:"url"`   // of the handler
	Root  string   `json:"root"`  // the file of root 1, where trust begins
	State string   `json:"state"` // the client's own directory, kept between visits
	Paths []string `json:"paths"`
}

// A report tells what became of each path, in the order of the visit's.
type report struct {
	Refresh string    `json:"refresh"` // why the refresh failed; no path was asked for then
	Found   []file    `json:"found"`
	Missing []string  `json:"missing"`
	Refused []refused `json:"refused"`
}

// A file is what the client takes a target for, and the SHA-256 of what it
// downloaded.
type file struct {
	roles.Target
	Content string `json:"content"`
}

type refused struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

// do returns the client's report of a visit, and what it wrote about its errors.
func (c client) do(t *testing.T, v visit) (report, string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := json.Marshal(v)
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, c.command[0], c.command[1:]...)
	cmd.Env = append(append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"), c.environment...)
	cmd.Stdin = bytes.NewReader(request)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var r report
	require.NoError(t, json.Unmarshal(out, &r), string(out))
	for i, f := range r.Found {
		r.Found[i].Custom = canonical(t, f.Custom)
	}
	return r, stderr.String()
}
