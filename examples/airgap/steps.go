package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var holders = []string{"ada", "bob", "cleo"}

// begin holds the first ceremony, on machines without a network, and publishes.
func (w *world) begin() {
	w.quiet = true
	w.do(func() error {
		var err error
		for _, machine := range append([]string{"index", "preparer"}, holders...) {
			err = errors.Join(err, os.Mkdir(w.path(machine), 0o700))
		}
		return err
	})
	w.ceremony("index", "keygen", "-name", "web", "web.key")
	w.carry("index/web.key.card.json", "preparer/web.card.json")
	for _, name := range holders {
		w.ceremony(name, "keygen", "-name", name, "my.key")
		w.carry(name+"/my.key.card.json", "preparer/"+name+".card.json")
	}
	w.ceremony("preparer", "init", "-dir", "repo", "-days", "20", "-bins", "16", "-threshold", "2",
		"-holder", "ada.card.json", "-holder", "bob.card.json", "-holder", "cleo.card.json", "-online", "web.card.json")
	w.ceremony("preparer", "sheet", "-dir", "repo", "-out", "sheet.txt")
	for _, name := range holders[:2] {
		w.carry("preparer/repo/open/request.json", name+"/request.json")
		w.ceremony(name, "sign", "-key", "my.key", "-confirm", w.paper("preparer/sheet.txt"), "-out", "response.json", "request.json")
		w.carry(name+"/response.json", "preparer/"+name+".response.json")
		w.ceremony("preparer", "merge", "-dir", "repo", name+".response.json")
	}
	w.quiet = false
	documents := []string{"1.root.json", "1.targets.json", "1.bins.json"}
	for _, name := range documents {
		w.carry("preparer/repo/documents/"+name, "index/"+name)
	}
	w.do(func() error {
		d, err := readDocuments(w.path("index"), documents...)
		if err != nil {
			return err
		}
		if w.index, err = createIndex(w.ctx, w.path("index"), "index", d); err != nil {
			return err
		}
		return w.index.upload(w.ctx, "demo-1.0.whl")
	})
	w.clients("Published.", 1)
}

// export takes what is published to the preparer's machine, whose disk was wiped after
// the first ceremony, and asks for what follows. The new one-time keys live and end there.
func (w *world) export() {
	w.do(func() error {
		return errors.Join(os.RemoveAll(w.path("preparer/repo")), os.Mkdir(w.path("preparer/published"), 0o700))
	})
	for _, name := range []string{"1.root.json", "1.targets.json", "1.bins.json"} {
		w.carry("index/metadata/"+name, "preparer/published/"+name)
	}
	w.quiet = true
	w.ceremony("preparer", "init", "-dir", "repo", "-from", "published",
		"-holder", "ada.card.json", "-holder", "bob.card.json", "-holder", "cleo.card.json", "-online", "web.card.json")
	w.quiet = false
	w.ceremony("preparer", "status", "-dir", "repo")
	w.quiet = true
	w.ceremony("preparer", "request", "-dir", "repo", "-reason", "All expires in 20 days", "-days", "365", "-new-one-time", "2")
	w.ceremony("preparer", "sheet", "-dir", "repo", "-out", "sheet-2.txt")
	w.quiet = false
	w.clients("The sheet is printed, for each holder.", 1)
}

// sign is one holder's part.
func (w *world) sign(name string) {
	w.carry("preparer/repo/open/request.json", name+"/request-2.json")
	w.ceremony(name, "sign", "-key", "my.key", "-confirm", w.paper("preparer/sheet-2.txt"), "-out", "response-2.json", "request-2.json")
	w.carry(name+"/response-2.json", "preparer/"+name+".response-2.json")
	w.clients("Nothing is published yet.", 1)
}

// publish merges the responses, has the result verified, and installs it, in the order
// that merge says.
func (w *world) publish() {
	w.quiet = true
	w.ceremony("preparer", "merge", "-dir", "repo", "bob.response-2.json")
	w.quiet = false
	w.ceremony("preparer", "merge", "-dir", "repo", "ada.response-2.json")
	w.quiet = true
	w.ceremony("preparer", "verify", "-dir", "repo")
	w.quiet = false
	for _, step := range []struct {
		files []string
		root  int64
	}{
		{[]string{"2.root.json"}, 2},
		{[]string{"2.targets.json", "2.bins.json"}, 2},
		{[]string{"3.root.json"}, 3},
	} {
		w.say("")
		for _, name := range step.files {
			w.carry("preparer/repo/documents/"+name, "index/"+name)
		}
		w.do(func() error {
			d, err := readDocuments(w.path("index"), step.files...)
			if err != nil {
				return err
			}
			w.say("index: repository.Install of %s", strings.Join(step.files, ", "))
			if err := w.index.repo.Install(w.ctx, d); err != nil {
				return err
			}
			return w.index.upload(w.ctx, fmt.Sprintf("demo-after-%s.whl", step.files[0]))
		})
		w.clients("Published.", step.root)
	}
}

// later is when root 1 has expired: clients don't notice, and one that can't get root 2
// shows what would have come.
func (w *world) later() {
	w.do(func() error {
		later := func() time.Time { return time.Now().AddDate(0, 0, 21) }
		w.say("It is %s now, and root 1 has expired. The publisher goes on.", later().UTC().Format(time.DateOnly))
		if err := w.index.reopen(w.ctx, later); err != nil {
			return err
		}
		return w.index.upload(w.ctx, "demo-3.0.whl")
	})
	w.clients("As if nothing had happened.", 3)
	w.do(func() error {
		to, err := url.Parse(w.index.address())
		if err != nil {
			return err
		}
		proxy := httputil.NewSingleHostReverseProxy(to)
		without := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if filepath.Base(r.URL.Path) == "2.root.json" {
				http.NotFound(rw, r)
				return
			}
			proxy.ServeHTTP(rw, r)
		}))
		defer without.Close()
		_, err = w.index.watch.refresh(without.URL+"/metadata", w.path("without"))
		if !errors.Is(err, &metadata.ErrExpiredMetadata{}) {
			return fmt.Errorf("a client that never saw root 2 should have found root 1 expired: %v", err)
		}
		w.say("\nA client that is kept from root 2 says: %v", err)
		return nil
	})
}

// paper is group 3 of the digest on a record sheet, as a holder reads it from paper.
func (w *world) paper(sheet string) (group string) {
	w.do(func() error {
		data, err := os.ReadFile(w.path(sheet))
		if err != nil {
			return err
		}
		found := regexp.MustCompile(`\b3\. ([0-9a-f]{8})\b`).FindSubmatch(data)
		if found == nil {
			return fmt.Errorf("%s has no digest", sheet)
		}
		group = string(found[1])
		return nil
	})
	return group
}

// clients has them come, and says which root they trust.
func (w *world) clients(when string, root int64) {
	w.do(func() error {
		x := w.index.watch
		if err := x.visit("now"); err != nil {
			return err
		}
		if x.newest != root {
			return fmt.Errorf("clients trust root %d instead of %d", x.newest, root)
		}
		w.say("\n%s\nTwo clients verify everything, one that begins with root 1 and one that was here\nbefore; both come to root %d. They came %d times so far.", when, root, x.visits)
		return nil
	})
}
