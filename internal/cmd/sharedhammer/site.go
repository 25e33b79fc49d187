package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/roles"
)

const (
	bins      = 16
	lifetime  = 2 * time.Minute // so that renewal is part of it
	cacheAge  = time.Second     // how old a timestamp of the cache may be
	clientRun = 4 * time.Second // what a client needs is kept for so long, and the age of the cache
	lease     = time.Second
)

// Names in the database and in the store.
const (
	database      = "index"
	indexRole     = "index_role"
	publisherRole = "publisher_role"
	bucketName    = "metadata"
	prefix        = "tuf/"
)

// siteConfig makes generations follow each other closely.
func siteConfig() repository.Config {
	return repository.Config{
		MaxDelay: 50 * time.Millisecond, MaxBatch: 100, CheckpointBytes: 1 << 20,
		MaxRenew:    4, // so that a rotation takes several generations
		BinLifetime: lifetime, SnapshotLifetime: lifetime, TimestampLifetime: lifetime,
		Caching: repository.Caching{MaxAge: cacheAge}, CacheAge: cacheAge, ClientRun: clientRun, CollectPerMinute: 1_000_000,
	}
}

// seed makes an online key.
type seed [ed25519.SeedSize]byte

func newSeed(rng *rand.Rand) (s seed) {
	for i := range s {
		s[i] = byte(rng.Uint32())
	}
	return s
}

// online are the signers that these seeds make.
func online(seeds []seed) (all []keys.Signer, err error) {
	for _, s := range seeds {
		signer, err := keys.NewSigner(ed25519.NewKeyFromSeed(s[:]))
		if err != nil {
			return nil, err
		}
		all = append(all, signer)
	}
	return all, nil
}

// rotated are the roles that are signed online, as Rotate names them.
var rotated = []string{metadata.TIMESTAMP, metadata.SNAPSHOT, "bins-*"}

// site is what people give to the publishers: keys and documents. It is a file, which is replaced as a whole.
type site struct {
	Version   int
	Keys      []seed // the newest first
	Begin     bool   // begin the rotation of all online roles to the newest key
	Documents repository.Documents
}

const siteFile = "site.json"

func (s site) write(dir string) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, siteFile+".new")
	return errors.Join(os.WriteFile(temp, data, 0o600), os.Rename(temp, filepath.Join(dir, siteFile)))
}

func readSite(dir string) (s site, err error) {
	data, err := os.ReadFile(filepath.Join(dir, siteFile))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(data, &s)
}

// openJournal opens the journal at an address of PostgreSQL.
func openJournal(ctx context.Context, cfg pgjournal.Config, role, address string) (*pgjournal.Journal, error) {
	var err error
	if cfg.Pool, err = pgxpool.ParseConfig(databaseURL(role, address)); err != nil {
		return nil, err
	}
	cfg.Lease = lease
	return pgjournal.Open(ctx, cfg)
}

func databaseURL(role, address string) string {
	return "postgres://" + role + "@" + address + "/" + database + "?sslmode=disable&connect_timeout=3"
}

// openStore opens the bucket at an address of the S3 service. public is where clients read, or "".
func openStore(ctx context.Context, address, public string) (*s3store.Store, error) {
	return s3store.Open(ctx, s3store.Config{
		AWS: aws.Config{
			Region: s3test.Region, BaseEndpoint: aws.String("http://" + address),
			Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
		},
		Bucket: bucketName, Prefix: prefix, PathStyle: true, PublicURL: public,
		Caching: siteConfig().Caching, Timeout: 3 * time.Second,
	})
}

// makeDatabase makes the schema, the two roles, the index's own tables, and what watches the lease.
func makeDatabase(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE ROLE "+indexRole+" LOGIN; CREATE ROLE "+publisherRole+" LOGIN"); err != nil {
		return err
	}
	if err := pgjournal.Migrate(ctx, conn, pgjournal.Migration{IndexRole: indexRole, PublisherRole: publisherRole}); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, ownTables); err != nil {
		return err
	}
	for lane := range lanes {
		if _, err := conn.Exec(ctx, `INSERT INTO shop.lane VALUES ($1, '{}')`, lane); err != nil {
			return err
		}
	}
	return nil
}

// ownTables are the index's, and what watches the lease: it must not be taken from a leader who gave a sign of life
// less than the lease ago, by the database's clock. The time at which a statement arrived is never later than the one
// that it wrote, so this is exact. Nor may a record be committed once another epoch has begun.
const ownTables = `
CREATE SCHEMA shop;
CREATE TABLE shop.lane (lane int PRIMARY KEY, state jsonb NOT NULL);
CREATE TABLE shop.era (era int NOT NULL);
INSERT INTO shop.era VALUES (1);
GRANT USAGE ON SCHEMA shop TO ` + indexRole + `;
GRANT SELECT, UPDATE ON shop.lane TO ` + indexRole + `;
GRANT SELECT ON shop.era TO ` + indexRole + `;

CREATE SCHEMA watch;
CREATE TABLE watch.life (at timestamptz NOT NULL);
INSERT INTO watch.life VALUES ('-infinity');
CREATE TABLE watch.untruth (what text NOT NULL);
CREATE TABLE watch.takeover (nth bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, holder text NOT NULL);
CREATE FUNCTION watch.lease() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	IF NEW.token <> OLD.token THEN
		INSERT INTO watch.untruth
			SELECT format('%s took the lead from %s, which gave a sign of life %s before, and the lease lasts %s', NEW.holder, OLD.holder, clock_timestamp() - at, OLD.length)
			FROM watch.life WHERE at + OLD.length > clock_timestamp();
		INSERT INTO watch.takeover (holder) VALUES (NEW.holder);
	END IF;
	UPDATE watch.life SET at = CASE WHEN NEW.renewed = '-infinity' THEN NEW.renewed ELSE statement_timestamp() END;
	RETURN NULL;
END $$;
CREATE TRIGGER watch AFTER UPDATE ON bindery.lease FOR EACH ROW EXECUTE FUNCTION watch.lease();

CREATE FUNCTION watch.record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
	INSERT INTO watch.untruth
		SELECT format('record %s of epoch %s is appended in epoch %s', NEW.seq, NEW.epoch, epoch) FROM bindery.lead WHERE epoch <> NEW.epoch;
	RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER watch AFTER INSERT ON bindery.record DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION watch.record();
`

// makeRepository creates the repository. The ceremony that it returns makes the next documents.
func makeRepository(ctx context.Context, first seed, store repository.Store, journal repository.Journal) (*repotest.Ceremony, error) {
	layout, err := delegation.New("bins", bins, delegation.Succinct)
	if err != nil {
		return nil, err
	}
	signers, err := online([]seed{first})
	if err != nil {
		return nil, err
	}
	c := repotest.NewCeremony(repotest.Must{}, layout, time.Now())
	c.NextRoot(func(r *roles.RootSpec) {
		r.Snapshot, r.Timestamp = repotest.Of(1, signers...), repotest.Of(1, signers...)
	})
	c.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, signers...) })
	cfg := siteConfig()
	cfg.Store, cfg.Journal = store, journal
	cfg.Bins, cfg.Snapshot, cfg.Timestamp = signers[0], signers[0], signers[0]
	repo, err := repository.Create(ctx, cfg, c.Documents())
	if err != nil {
		return nil, err
	}
	return c, repo.Close()
}
