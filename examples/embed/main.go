// Command embed is an index of files that publishes TUF metadata: the least that an index
// does to be one that clients can verify. Copy it. Everybody may upload here: yours asks who it is.
//
//	PUT    /files/PATH    upload, answered once clients can see it; what is there is not overwritten
//	GET    /files/PATH    download without TUF
//	DELETE /files/PATH    remove
//	GET    /files/        the list of all files
//	GET    /health        Status as JSON; 503 if something is wrong now
//	GET    /metadata/, /targets/    what TUF clients read
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/passphrase"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/web"
	"github.com/bindery-tuf/bindery/roles"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		log.Fatalln("embed:", err)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("embed", flag.ContinueOnError)
	dir := flags.String("dir", "index", "folder that the index keeps everything in; it is made if it isn't there")
	documents := flags.String("documents", "documents", "folder with what people signed: 1.root.json and so on")
	bins := flags.String("bins", "", "URI of the key that signs the bins, such as file:/etc/index/bins.pem")
	online := flags.String("online", "", "URI of the key that signs snapshot and timestamp")
	secret := flags.String("passphrase", "passphrase", "file with the passphrase of both keys")
	address := flags.String("addr", "127.0.0.1:8080", "address to listen at")
	if err := flags.Parse(args); err != nil {
		return err
	} else if *bins == "" || *online == "" || flags.NArg() > 0 {
		return errors.New("give -bins and -online, and nothing but flags: -h lists them")
	}
	metadata, err := dirstore.OpenOrCreate(filepath.Join(*dir, "metadata"))
	files, err2 := dirstore.OpenOrCreateTargets(filepath.Join(*dir, "targets"))
	if err = errors.Join(err, err2); err != nil {
		return err
	}
	// open is called whenever the repository must be opened (again): keys first, the journal last.
	open := func(ctx context.Context) (cfg repository.Config, err error) {
		signers := keys.Resolver{"file": keys.FileOpener(passphrase.File(*secret))}
		if cfg.Bins, err = signers.Open(ctx, *bins, nil); err == nil {
			cfg.Snapshot, err = signers.Open(ctx, *online, nil)
		}
		cfg.DeleteTarget = files.Delete
		if cfg.Store, cfg.Timestamp = metadata, cfg.Snapshot; err == nil {
			cfg.Journal, err = dirjournal.OpenOrCreate(filepath.Join(*dir, "journal"))
		}
		return cfg, err
	}
	signed := func(context.Context) (repository.Documents, error) {
		return repository.ReadDocuments(os.DirFS(*documents))
	}
	publisher, err := service.Start(ctx, service.Config{Open: open, Documents: signed, Logger: slog.Default()})
	if err != nil {
		return err
	}
	x, mux := &index{publisher, files}, http.NewServeMux()
	mux.Handle("PUT /files/{path...}", handler(x.upload))
	mux.Handle("GET /files/{path...}", handler(x.get))
	mux.Handle("DELETE /files/{path...}", handler(x.remove))
	mux.Handle("GET /health", web.Health(publisher))
	mux.Handle("GET /", web.Handler(web.Config{Store: metadata, Files: files, Logger: slog.Default()}))
	return serve(ctx, *address, mux, publisher, out)
}

// serve ends with the context: first requests, which wait for the publisher. SIGHUP: read keys and documents again.
func serve(ctx context.Context, address string, handler http.Handler, publisher *service.Service, out io.Writer) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return errors.Join(err, publisher.Close())
	}
	fmt.Fprintf(out, "http://%s\n", listener.Addr())
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served, hangup := make(chan error, 1), make(chan os.Signal, 1)
	go func() { served <- server.Serve(listener) }()
	signal.Notify(hangup, syscall.SIGHUP)
	for {
		select {
		case <-hangup:
			if err := publisher.Reload(ctx); err != nil {
				slog.Error("keys and documents were not all reloaded: mend what err names, and send SIGHUP again", "err", err)
			}
		case err := <-served:
			return errors.Join(err, publisher.Close())
		case <-ctx.Done():
			drain, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			return errors.Join(server.Shutdown(drain), publisher.Close())
		}
	}
}

// handler answers its own errors. Clients are told what they did wrong; the log, what we did.
type handler func(http.ResponseWriter, *http.Request) error

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	status, text := web.StatusCode(err), err.Error()
	if status >= 500 {
		slog.ErrorContext(r.Context(), "request failed", "method", r.Method, "url", r.URL, "err", err)
		text = http.StatusText(status)
		w.Header().Set("Retry-After", "10")
	}
	http.Error(w, text, status)
}

type index struct {
	publisher *service.Service
	files     *dirstore.Targets
}

// upload keeps the file where clients will look for it, durably, and then publishes it.
func (x *index) upload(w http.ResponseWriter, r *http.Request) error {
	target, err := x.files.Put(r.Context(), r.PathValue("path"), r.Body)
	if err != nil {
		return err
	}
	item := repository.Item{Add: []roles.Target{target}, If: []repository.Condition{{Path: target.Path, Absent: true}}}
	return x.publish(w, r, item, http.StatusCreated)
}

// remove leaves the content there: clients that began before may still fetch it.
func (x *index) remove(w http.ResponseWriter, r *http.Request) error {
	return x.publish(w, r, repository.Item{Remove: []string{r.PathValue("path")}}, http.StatusNoContent)
}

// publish answers once clients can see what became of an item, which takes as long as a disk is full.
func (x *index) publish(w http.ResponseWriter, r *http.Request, it repository.Item, done int) error {
	receipt, err := x.publisher.Submit(r.Context(), it)
	if err == nil {
		if _, err = receipt.Wait(r.Context()); err == nil {
			w.WriteHeader(done)
		}
	}
	return err
}

// get answers with a file, or with the list of all files, which is sorted by bins and not by path.
func (x *index) get(w http.ResponseWriter, r *http.Request) error {
	view, err := x.publisher.View(r.Context())
	if err != nil {
		return err
	}
	if r.PathValue("path") == "" {
		for target, err := range view.Targets(r.Context()) {
			if err != nil {
				panic(http.ErrAbortHandler) // so the client sees that the list is incomplete
			}
			fmt.Fprintf(w, "%s %10d %s\n", target.Hashes["sha256"], target.Length, target.Path)
		}
		return nil
	}
	target, err := view.Lookup(r.Context(), r.PathValue("path"))
	if err != nil {
		return err
	}
	file, err := x.files.Open(r.Context(), target.Path, "sha256", target.Hashes["sha256"])
	if err == nil {
		defer file.Close()
		http.ServeContent(w, r, target.Path, time.Time{}, file)
	}
	return err
}
