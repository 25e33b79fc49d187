package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/web"
)

// Metadata and target files in two folders are served.
func Example() {
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	metadata, err := dirstore.OpenOrCreate(filepath.Join(dir, "metadata"))
	if err != nil {
		log.Fatal(err)
	}
	targets, err := dirstore.OpenOrCreateTargets(filepath.Join(dir, "targets"))
	if err != nil {
		log.Fatal(err)
	}
	target, err := targets.Put(context.Background(), "demo/demo-1.0.tar.gz", strings.NewReader("hello"))
	if err != nil {
		log.Fatal(err)
	}

	files, err := os.OpenRoot(filepath.Join(dir, "targets")) // no symbolic link leads out of it
	if err != nil {
		log.Fatal(err)
	}
	defer files.Close()
	server := httptest.NewServer(web.Handler(web.Config{
		Store: metadata,
		Files: web.Dir(files.FS()),
		Stall: time.Minute,
	}))
	defer server.Close()

	answer, err := http.Get(server.URL + "/targets/demo/" + target.Hashes["sha256"] + ".demo-1.0.tar.gz")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.StatusCode, string(content))
	// Output: 200 hello
}

// blobs is an index that keeps each content once, in a folder under its SHA-256.
type blobs struct{ dir *os.Root }

func (b blobs) Open(_ context.Context, path, algorithm, hash string) (io.ReadSeekCloser, error) {
	if algorithm != "sha256" {
		return nil, fs.ErrNotExist
	}
	return b.dir.Open(hash)
}

// The files of an index are found by their hash, wherever it keeps them.
func ExampleFiles() {
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if err := os.WriteFile(filepath.Join(dir, hash), []byte("hello"), 0o644); err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()

	handler := web.Handler(web.Config{Files: blobs{root}, FilesBelowMetadata: true})
	for _, name := range []string{"/targets/demo/" + hash + ".demo-1.0.tar.gz", "/metadata/targets/" + hash + ".x", "/targets/" + hash} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", name, nil))
		fmt.Println(answer.Code, strings.TrimSpace(answer.Body.String()))
	}
	// Output:
	// 200 hello
	// 200 hello
	// 404 Not Found
}

// An upload is answered once clients can see it, or with what became of it.
func ExampleStatusCode() {
	var repo *repository.Repository
	remove := func(w http.ResponseWriter, r *http.Request) {
		receipt, err := repo.Remove(r.Context(), r.PathValue("path"))
		if err == nil {
			_, err = receipt.Wait(r.Context())
			if errors.Is(err, context.DeadlineExceeded) {
				w.WriteHeader(http.StatusAccepted) // it is durable, and will be published
				return
			}
		}
		if err != nil {
			status := web.StatusCode(err)
			if status == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "10")
			}
			http.Error(w, err.Error(), status)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("DELETE /files/{path...}", remove)

	fmt.Println(web.StatusCode(fmt.Errorf("submit: %w", repository.ErrBusy)))
	// Output: 503
}

// Documents that people signed are sent to an address of the loopback interface.
func ExampleAdmin() {
	var repo *repository.Repository
	admin := &http.Server{Addr: "localhost:8081", Handler: web.Admin(repo, nil), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(admin.ListenAndServe())
	// curl -F document=@8.root.json -F document=@7.targets.json http://localhost:8081/
}
