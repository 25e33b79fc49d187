package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// folder is where the person who prepares ceremonies keeps everything but keys:
//
//	names.json              what to call the keys: {"KEYID": "NAME"}
//	documents/              all finished documents: 1.root.json, 1.targets.json, …
//	open/request.json       what is being signed now
//	open/responses/         the responses to it that were merged
//	done/root-1-5b1c0a77/   a ceremony that is complete, as open was
//	given-up/…              one that was given up
type folder struct {
	dir   string
	names map[string]string
	docs  ceremony.Documents // the newest
	open  *openRequest       // or nil
}

// openRequest is a request with the responses so far.
type openRequest struct {
	request   *ceremony.Request
	responses []*ceremony.Response
	progress  ceremony.Progress
}

func (f *folder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// openFolder reads a folder, and verifies the documents in it.
func openFolder(dir string) (*folder, error) {
	if dir == "" {
		return nil, errors.New("say which folder with -dir")
	}
	f := &folder{dir: dir}
	var err error
	if f.names, err = readNames(f.path("names.json")); err != nil {
		return nil, err
	}
	if f.docs, err = readDocuments(f.path("documents")); err != nil {
		return nil, err
	}
	if _, err = os.Stat(f.path("open")); !errors.Is(err, fs.ErrNotExist) {
		if f.open, err = readOpen(f.path("open")); err != nil {
			return f, err
		}
	}
	// Of a request that is complete, some documents may be written and others not.
	if len(f.docs.Roots) > 0 && !f.isComplete() {
		if err := f.docs.Verify(); err != nil {
			return nil, fmt.Errorf("%s: %w", f.path("documents"), err)
		}
	}
	return f, nil
}

// isComplete reports whether the open request has all signatures: it was interrupted
// before its documents were written, and merge goes on with that.
func (f *folder) isComplete() bool { return f.open != nil && f.open.progress.Complete() }

func readOpen(dir string) (*openRequest, error) {
	request, err := readRequest(filepath.Join(dir, "request.json"))
	if err != nil {
		return nil, err
	}
	o := &openRequest{request: request}
	entries, err := os.ReadDir(filepath.Join(dir, "responses"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".json") {
			continue // a temporary file that was left, or what a file system adds ("._…")
		}
		name := filepath.Join(dir, "responses", e.Name())
		response, err := readResponse(name)
		if err != nil {
			return nil, err
		}
		if _, err := request.Merge(response); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		o.responses = append(o.responses, response)
	}
	o.progress, err = request.Merge(o.responses...)
	return o, err
}

func readRequest(name string) (*ceremony.Request, error) {
	return readAs(name, notPEM("request", ceremony.ParseRequest))
}

func readResponse(name string) (*ceremony.Response, error) {
	return readAs(name, notPEM("response", ceremony.ParseResponse))
}

// notPEM is a parser that says of a key that it is one.
func notPEM[T any](kind string, parse func([]byte) (T, error)) func([]byte) (T, error) {
	return func(data []byte) (T, error) {
		if block, _ := pem.Decode(data); block != nil {
			var none T
			return none, fmt.Errorf("this file is a PEM block of %q, and a %s is wanted", block.Type, kind)
		}
		return parse(data)
	}
}

// readAs reads a file of one kind; the error names the file.
func readAs[T any](name string, parse func([]byte) (T, error)) (T, error) {
	data, err := readFile(name)
	if err != nil {
		var none T
		return none, err
	}
	v, err := parse(data)
	if err != nil {
		err = fmt.Errorf("%s: %w", name, err)
	}
	return v, err
}

// readDocuments reads a folder of metadata: all roots from the first there is, and
// the newest targets and bins.
func readDocuments(dir string) (ceremony.Documents, error) {
	var d ceremony.Documents
	entries, err := os.ReadDir(dir)
	if err != nil {
		return d, err
	}
	versions := map[string][]int64{}
	for _, e := range entries {
		number, role, ok := strings.Cut(strings.TrimSuffix(e.Name(), ".json"), ".")
		version, err := strconv.ParseInt(number, 10, 64)
		if ok && err == nil && e.Name() == versioned(version, role) {
			versions[role] = append(versions[role], version)
		}
	}
	read := func(role string, version int64) []byte {
		data, rerr := readFile(filepath.Join(dir, versioned(version, role)))
		err = errors.Join(err, rerr)
		return data
	}
	slices.Sort(versions["root"])
	for _, v := range versions["root"] {
		d.Roots = append(d.Roots, read("root", v))
	}
	if all := versions["targets"]; len(all) > 0 {
		d.Targets = read("targets", slices.Max(all))
	}
	if all := versions["bins"]; len(all) > 0 {
		d.Bins = read("bins", slices.Max(all))
	}
	return d, err
}

// versioned is the name of a document's file (TUF specification, 6.2).
func versioned(version int64, role string) string { return fmt.Sprintf("%d.%s.json", version, role) }

// called is the name of a folder for a request: its first document, and the
// beginning of its digest.
func called(r *ceremony.Request) string {
	first := r.Marks()[0]
	return fmt.Sprintf("%s-%d-%s", first.Role, first.Version, r.Digest().Groups()[0])
}

// writeOpen writes the folder of a new request.
func writeOpen(dir string, r *ceremony.Request) error {
	return makeDir(dir, func(temporary string) error {
		if err := os.Mkdir(filepath.Join(temporary, "responses"), 0o755); err != nil {
			return err
		}
		return writeNew(filepath.Join(temporary, "request.json"), r.Bytes())
	})
}

// closeOpen moves what is open to another place ("done" or "given-up").
func (f *folder) closeOpen(to string) (string, error) {
	if err := os.MkdirAll(f.path(to), 0o755); err != nil {
		return "", err
	}
	dir := f.path(to, called(f.open.request))
	if _, err := os.Lstat(dir); err == nil {
		return "", fmt.Errorf("%s exists already: move it away", dir)
	}
	if err := os.Rename(f.path("open"), dir); err != nil {
		return "", err
	}
	f.open = nil
	return dir, errors.Join(disk.SyncName(dir), disk.SyncName(f.path(to)))
}

// writeDocuments writes finished documents, in the order of their publishing.
func (f *folder) writeDocuments(docs []ceremony.Document, marks []ceremony.Mark) ([]string, error) {
	var names []string
	for i, d := range docs {
		name := f.path("documents", versioned(marks[i].Version, d.Role))
		if err := writeNew(name, d.File); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}
