package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

const (
	program    = "github.com/bindery-tuf/bindery/examples/publisher"
	lease      = 3 * time.Second
	passphrase = "only for a demonstration"
)

// scene is what the story needs: a database, a bucket, keys, documents and a configuration.
type scene struct {
	dir    string
	out    io.Writer
	index  string // the database, as the index connects to it
	bucket string // where clients read

	database *pgtest.Cluster
	s3       *s3test.Server
	running  []*publisher
}

func (s *scene) title(text string) { fmt.Fprintf(s.out, "\n== %s\n\n", text) }

func (s *scene) say(format string, args ...any) {
	fmt.Fprintln(s.out, strings.TrimRight("  "+fmt.Sprintf(format, args...), " "))
}

// end ends all that was started.
func (s *scene) end() {
	for _, p := range s.running {
		_ = p.kill() // it may have ended
	}
	if s.s3 != nil {
		s.s3.Close()
	}
	if s.database != nil {
		_ = s.database.Close() // its folder is temporary
	}
}

// open starts the database and the bucket, and makes the rest. Both publishers have the same
// configuration file; on two machines each would have its own copy.
func (s *scene) open(ctx context.Context) (err error) {
	if s.database, err = pgtest.New(ctx); err != nil {
		return err
	}
	if _, err := s.database.SQL(ctx, "postgres", "CREATE DATABASE pypi"); err != nil {
		return err
	}
	if _, err := s.database.SQL(ctx, "pypi", "CREATE ROLE index LOGIN; CREATE ROLE publisher LOGIN; CREATE TABLE uploads (name text PRIMARY KEY); GRANT INSERT ON uploads TO index"); err != nil {
		return err
	}
	s.index = s.database.URL("index", "pypi")
	s.say("PostgreSQL runs, with a database of the index and two roles: index, publisher.")
	buckets := filepath.Join(s.dir, "buckets")
	if err := os.Mkdir(buckets, 0o700); err != nil {
		return err
	}
	if s.s3, err = s3test.Start(ctx, buckets); err != nil {
		return err
	}
	if err := s.s3.CreateBucket(ctx, "packages", true); err != nil {
		return err
	}
	s.bucket = s.s3.Object("packages", "metadata/")
	s.say("An S3 service runs, with an empty bucket that clients may read.")
	if err := s.keys(ctx); err != nil {
		return err
	}
	s.say("Two people signed root, targets and bins, and there is an online key.")
	if err := s.configure(); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.path("publisher"), program).CombinedOutput(); err != nil {
		return fmt.Errorf("build the publisher: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, s.path("publisher"), "-migrate", "-owner", s.path("owner-url"),
		"-index-role", "index", "-publisher-role", "publisher", s.path("publisher.json")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("publisher -migrate: %w\n%s", err, out)
	}
	s.say("publisher -migrate made the schema: %s", out[:len(out)-1])
	return nil
}

func (s *scene) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// keys makes all keys, and the documents that two people sign. examples/ceremony is how people do it.
func (s *scene) keys(ctx context.Context) error {
	var people []keys.Signer
	for range 2 {
		person, err := keys.GenerateEd25519()
		if err != nil {
			return err
		}
		people = append(people, person)
	}
	online, err := keys.GenerateEd25519()
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.Mkdir(s.path("documents"), 0o755),
		os.WriteFile(s.path("passphrase"), []byte(passphrase+"\n"), 0o600),
		keys.WriteFile(s.path("online.pem"), online, []byte(passphrase)),
	); err != nil {
		return err
	}
	both := roles.Authority{Threshold: 2, Keys: []*keys.PublicKey{people[0].Public(), people[1].Public()}}
	one := roles.Authority{Threshold: 1, Keys: []*keys.PublicKey{online.Public()}}
	expires := time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0)
	root, err := roles.NewRoot(roles.RootSpec{Version: 1, Expires: expires, Root: both, Targets: both, Snapshot: one, Timestamp: one})
	if err != nil {
		return err
	}
	targets, err := delegation.NewTargets(1, expires, both)
	if err != nil {
		return err
	}
	layout, err := delegation.New(delegation.BinsRole, 16, delegation.Succinct)
	if err != nil {
		return err
	}
	bins, err := layout.NewRole(1, expires, one)
	if err != nil {
		return err
	}
	for _, person := range people {
		if root, err = root.Sign(ctx, person); err == nil {
			if targets, err = targets.Sign(ctx, person); err == nil {
				bins, err = bins.Sign(ctx, person)
			}
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(
		os.WriteFile(s.path("documents/1.root.json"), root.Bytes(), 0o644),
		os.WriteFile(s.path("documents/1.targets.json"), targets.Bytes(), 0o644),
		os.WriteFile(s.path("documents/1.bins.json"), bins.Bytes(), 0o644),
	)
}

func (s *scene) configure() error {
	key := "file:" + s.path("online.pem")
	configuration, err := json.MarshalIndent(map[string]any{
		"listen":  "127.0.0.1:0",
		"standby": true,
		"store": map[string]any{"s3": map[string]any{
			"bucket": "packages", "prefix": "metadata/", "region": s3test.Region, "endpoint": s.s3.URL, "path_style": true, "public_url": s.bucket,
		}},
		"journal":         map[string]any{"postgres": map[string]any{"url_file": s.path("publisher-url"), "lease": lease.String()}},
		"documents":       s.path("documents"),
		"passphrase_file": s.path("passphrase"),
		"keys":            map[string]any{"bins-*": key, "snapshot": key, "timestamp": key},
		"publish":         map[string]any{"max_delay": "100ms"},
	}, "", "  ")
	return errors.Join(err,
		os.WriteFile(s.path("publisher.json"), configuration, 0o600),
		os.WriteFile(s.path("publisher-url"), []byte(s.database.URL("publisher", "pypi")+"\n"), 0o600),
		os.WriteFile(s.path("owner-url"), []byte(s.database.URL("postgres", "pypi")+"\n"), 0o600),
	)
}

// publisher is a process of the publisher program.
type publisher struct {
	cmd *exec.Cmd
	log string // a file
	url string
}

var listening = regexp.MustCompile(`msg=listening for=index address=(\S+)`)

// publisher starts a publisher, and returns once its log says where it listens.
func (s *scene) publisher(ctx context.Context, name string) (*publisher, error) {
	p := &publisher{cmd: exec.Command(s.path("publisher"), s.path("publisher.json")), log: s.path(name + ".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd.Stderr = log
	p.cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+s3test.AccessKey, "AWS_SECRET_ACCESS_KEY="+s3test.SecretKey)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	s.running = append(s.running, p)
	for {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return nil, err
		}
		if found := listening.FindSubmatch(text); found != nil {
			p.url = "http://" + string(found[1])
			return p, nil
		}
		if err := p.alive(ctx); err != nil {
			return nil, err
		}
	}
}

// alive waits a moment, and reports an end of the story.
func (p *publisher) alive(ctx context.Context) error {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	if found := regexp.MustCompile(`(?m)^publisher: .*`).Find(text); found != nil {
		return fmt.Errorf("the publisher ended: %s", found)
	}
	return sleep(ctx, 50*time.Millisecond)
}

// until asks until the answer is 200.
func (p *publisher) until(ctx context.Context, path string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		if err := p.alive(ctx); err != nil {
			return err
		}
	}
}

func (p *publisher) kill() error {
	if p.cmd.ProcessState != nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	return err
}
