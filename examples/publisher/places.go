package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/gcsstore"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
)

// open opens the store. A folder is made if it isn't there, and a bucket must exist.
func (p storePlace) open(ctx context.Context, caching repository.Caching, log *slog.Logger) (repository.Store, error) {
	switch {
	case p.S3 != nil:
		return p.S3.open(ctx, caching, log)
	case p.GCS != nil:
		return p.GCS.open(ctx, caching, log)
	}
	return dirstore.OpenOrCreate(p.Dir)
}

func (p *s3Place) open(ctx context.Context, caching repository.Caching, log *slog.Logger) (repository.Store, error) {
	found, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("store.s3: %w", err)
	}
	if p.Region != "" {
		found.Region = p.Region
	}
	if p.Endpoint != "" {
		found.BaseEndpoint = aws.String(p.Endpoint)
	}
	return s3store.Open(ctx, s3store.Config{
		AWS: found, Bucket: p.Bucket, Prefix: p.Prefix, PathStyle: p.PathStyle, PublicURL: p.PublicURL, Caching: caching, Logger: log,
	})
}

func (p *gcsPlace) open(ctx context.Context, caching repository.Caching, log *slog.Logger) (repository.Store, error) {
	client, err := storage.NewClient(ctx)
	if err != nil {
		return nil, fmt.Errorf("store.gcs: %w", err)
	}
	store, err := gcsstore.Open(ctx, gcsstore.Config{
		Client: client, Bucket: p.Bucket, Prefix: p.Prefix, PublicURL: p.PublicURL, Caching: caching, Logger: log,
	})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return store, nil
}

// untried reports whether nothing says where clients read the bucket, so that nothing tries what they see.
func (p storePlace) untried() bool {
	return p.S3 != nil && p.S3.PublicURL == "" || p.GCS != nil && p.GCS.PublicURL == ""
}

func (p storePlace) String() string {
	switch {
	case p.S3 != nil:
		return "S3 bucket " + strings.TrimSuffix(p.S3.Bucket+"/"+p.S3.Prefix, "/")
	case p.GCS != nil:
		return "Google Cloud Storage bucket " + strings.TrimSuffix(p.GCS.Bucket+"/"+p.GCS.Prefix, "/")
	}
	return "folder " + p.Dir
}

// open opens the journal for publishing. A folder is made if it isn't there, and the schema of a
// database must exist: see migrate. While another process has a folder, the error wraps
// repository.ErrLocked.
func (p journalPlace) open(ctx context.Context, log *slog.Logger) (repository.Journal, error) {
	if p.Postgres == nil {
		return dirjournal.OpenOrCreate(p.Dir)
	}
	return p.Postgres.open(ctx, log)
}

// reader opens the journal for reading, beside another process that publishes. It makes nothing. Close
// must be called in the end.
func (p journalPlace) reader(ctx context.Context, log *slog.Logger) (r repository.Reader, close func(), err error) {
	if p.Postgres == nil {
		r, err = dirjournal.OpenReader(p.Dir)
		return r, func() {}, err
	}
	journal, err := p.Postgres.open(ctx, log)
	if err != nil {
		return nil, nil, err
	}
	return journal, func() { journal.Close() }, nil
}

func (p journalPlace) String() string {
	if p.Postgres != nil {
		return "PostgreSQL, schema " + p.Postgres.schema()
	}
	return "folder " + p.Dir
}

func (p *postgresPlace) schema() string {
	if p.Schema == "" {
		return pgjournal.DefaultSchema
	}
	return p.Schema
}

func (p *postgresPlace) open(ctx context.Context, log *slog.Logger) (*pgjournal.Journal, error) {
	url, err := p.url()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("journal.postgres: %w", err) // it masks the password
	}
	return pgjournal.Open(ctx, pgjournal.Config{Pool: pool, Schema: p.Schema, Lease: time.Duration(p.Lease), Remember: time.Duration(p.Remember), Notify: p.Notify, Logger: log})
}

// url is where the database is. It may have a password, so no error shows it.
func (p *postgresPlace) url() (string, error) {
	switch {
	case p.URLFile != "":
		return readURL(p.URLFile)
	case p.URLEnv != "":
		url := os.Getenv(p.URLEnv)
		if url == "" {
			return "", fmt.Errorf("journal.postgres.url_env: the environment variable %s is not set", p.URLEnv)
		}
		return url, nil
	}
	return p.URL, nil
}

// readURL reads the one line of a file that not everybody may read.
func readURL(name string) (string, error) {
	f, err := disk.OpenPrivate(name, false)
	if err != nil {
		return "", fmt.Errorf("the URL of the database: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 16<<10))
	if err != nil {
		return "", fmt.Errorf("the URL of the database: %w", err)
	}
	url := strings.TrimSpace(string(data))
	if url == "" || strings.Contains(url, "\n") {
		return "", fmt.Errorf("the URL of the database: %s must have one line", name)
	}
	return url, nil
}

// readWitness reads a timestamp that clients have seen, or nothing if no file is named. A file that is missing is an
// error: without it a backup could go unnoticed.
func readWitness(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("witness: %w: copy a timestamp.json that clients have seen there, or leave the member out while nothing was published", err)
	}
	return data, nil
}

// neverMade reports whether both are folders of which neither was ever made.
func neverMade(s storePlace, j journalPlace) bool {
	for _, dir := range []string{s.Dir, j.Dir} {
		if _, err := os.Stat(dir); dir == "" || !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// migrate makes the schema in the database, or brings it up to date. URLFile has the URL of the
// schema's owner; "" is the publisher's own.
func migrate(ctx context.Context, file, urlFile string, m pgjournal.Migration, out io.Writer) error {
	cfg, err := readConfig(file)
	if err != nil {
		return err
	}
	p := cfg.Journal.Postgres
	if p == nil {
		return fmt.Errorf("configuration %s: journal.postgres is missing: only a database is migrated", file)
	}
	url, err := p.url()
	if urlFile != "" {
		url, err = readURL(urlFile)
	}
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	m.Schema = p.Schema
	if err := pgjournal.Migrate(ctx, conn, m); err != nil {
		return err
	}
	fmt.Fprintf(out, "schema %s has version %d\n", p.schema(), pgjournal.Version)
	return nil
}
