package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// config is the configuration file. README.md lists the members; each may be left out unless it says
// "required".
type config struct {
	Listen    string `json:"listen"` // required: where the index and operators ask
	TokenFile string `json:"token_file"`

	Clients *listener `json:"clients"` // serves the store's metadata to TUF clients
	Metrics *listener `json:"metrics"` // serves /metrics to Prometheus

	Store     storePlace      `json:"store"`     // required
	Journal   journalPlace    `json:"journal"`   // required
	Documents string          `json:"documents"` // required: folder of finished documents
	Keys      map[string]uris `json:"keys"`      // required: URIs by role, as in repository.Config.Signers

	PassphraseFile string `json:"passphrase_file"` // of all "file:" keys
	PINFile        string `json:"pin_file"`        // of all "pkcs11:" keys

	Witness       string     `json:"witness"`        // file with a timestamp.json that clients have seen
	LogSignatures bool       `json:"log_signatures"` // each one is a line of the log
	Archive       *archiving `json:"archive"`

	Standby    bool       `json:"standby"`
	OneMachine bool       `json:"one_machine"` // as in repository.Config
	Ceremony   *holders   `json:"ceremony"`
	Publish    publishing `json:"publish"`
}

// listener is an address that the program listens at.
type listener struct {
	Listen string `json:"listen"` // required
}

// storePlace says where the store is: one of its members is given.
type storePlace struct {
	Dir string    `json:"dir"` // an absolute path
	S3  *s3Place  `json:"s3"`
	GCS *gcsPlace `json:"gcs"`
}

// s3Place is what s3store.Config calls the same. Credentials are found as AWS's tools find them.
type s3Place struct {
	Bucket    string `json:"bucket"` // required
	Prefix    string `json:"prefix"`
	Region    string `json:"region"`   // that of the environment if it is left out
	Endpoint  string `json:"endpoint"` // of another service than AWS's
	PathStyle bool   `json:"path_style"`
	PublicURL string `json:"public_url"`
}

// gcsPlace is what gcsstore.Config calls the same. Credentials are found as Google's tools find them.
type gcsPlace struct {
	Bucket    string `json:"bucket"` // required
	Prefix    string `json:"prefix"`
	PublicURL string `json:"public_url"`
}

// journalPlace says where the journal is: one of its members is given.
type journalPlace struct {
	Dir      string         `json:"dir"` // an absolute path
	Postgres *postgresPlace `json:"postgres"`
}

// postgresPlace has one of the three first members. PostgreSQL's own environment variables and files
// (PGPASSWORD, PGPASSFILE, PGSERVICE, …) complete it.
type postgresPlace struct {
	URL     string   `json:"url"`      // without a password
	URLFile string   `json:"url_file"` // a file with the URL, which may have a password
	URLEnv  string   `json:"url_env"`  // an environment variable with it
	Schema  string   `json:"schema"`
	Lease   duration `json:"lease"`

	Remember duration `json:"remember"` // for how long outcomes are remembered at least
	Notify   bool     `json:"notify"`   // see pgjournal.Config
}

// holders says how holders of offline keys sign through the publisher.
type holders struct {
	Folder    string `json:"folder"`  // required: where the open request and the responses are
	Install   string `json:"install"` // required: automatic or operator
	Listen    string `json:"listen"`  // where holders ask; the publisher's own address serves them too
	TokenFile string `json:"token_file"`
}

const (
	installAutomatic = "automatic"
	installOperator  = "operator"
)

// publishing is what repository.Config calls the same.
type publishing struct {
	BinLifetime       duration `json:"bin_lifetime"`
	SnapshotLifetime  duration `json:"snapshot_lifetime"`
	TimestampLifetime duration `json:"timestamp_lifetime"`
	BinRenewal        duration `json:"bin_renewal"`
	SnapshotRenewal   duration `json:"snapshot_renewal"`
	TimestampRenewal  duration `json:"timestamp_renewal"`

	CacheMaxAge       duration `json:"cache_max_age"`        // how long caches may serve timestamp.json
	CacheStaleIfError duration `json:"cache_stale_if_error"` // for how much longer if the server fails
	CacheAge          duration `json:"cache_age"`            // the grace period is cache_age and client_run
	ClientRun         duration `json:"client_run"`
	NoGrace           bool     `json:"no_grace"` // no caches, and clients may fail while files are deleted: for tests

	MaxDelay          duration `json:"max_delay"`
	MaxPending        int      `json:"max_pending"`
	RenewalsPerMinute int      `json:"renewals_per_minute"`
	CollectPerMinute  int      `json:"collect_per_minute"`
}

// readConfig reads and checks a configuration file. It opens nothing else.
func readConfig(name string) (config, error) {
	var c config
	data, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("configuration: %w", err)
	}
	if err := decodeConfig(data, &c); err != nil {
		return c, fmt.Errorf("configuration %s: %w", name, err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("configuration %s: %w", name, err)
	}
	return c, nil
}

// check says which member is missing or wrong.
func (c config) check() error {
	if len(c.Keys) == 0 {
		return errors.New(`keys: missing: name the key of each online role, such as "snapshot": "file:/etc/bindery/online.pem"`)
	}
	errs := []error{
		checkAddress("listen", c.Listen, c.TokenFile),
		c.Store.check(),
		c.Journal.check(),
		checkFolder("documents", c.Documents),
		checkFile("token_file", c.TokenFile),
		checkFile("passphrase_file", c.PassphraseFile),
		checkFile("pin_file", c.PINFile),
		checkFile("witness", c.Witness),
	}
	if c.Store.Dir != "" && c.Journal.Postgres != nil && !c.OneMachine {
		errs = append(errs, errors.New("store.dir: a folder is on one machine, and publishers on others can use journal.postgres: "+
			"use a bucket (store.s3 or store.gcs), or say \"one_machine\": true if all publishers run on this machine"))
	}
	if c.Archive != nil {
		errs = append(errs, c.Archive.check(c.Journal))
	}
	if c.Clients != nil {
		errs = append(errs, checkAddress("clients.listen", c.Clients.Listen, "public"))
	}
	if c.Metrics != nil {
		errs = append(errs, checkAddress("metrics.listen", c.Metrics.Listen, "public"))
	}
	if h := c.Ceremony; h != nil {
		errs = append(errs, checkFolder("ceremony.folder", h.Folder), checkFile("ceremony.token_file", h.TokenFile))
		if h.Listen != "" {
			errs = append(errs, checkAddress("ceremony.listen", h.Listen, h.TokenFile))
		} else if h.TokenFile != "" {
			errs = append(errs, errors.New("ceremony.token_file: it is for ceremony.listen, which is missing"))
		}
		if h.Install != installAutomatic && h.Install != installOperator {
			errs = append(errs, fmt.Errorf("ceremony.install: %q: say %s (documents are installed once they are complete) or %s (once an operator asks for it)",
				h.Install, installAutomatic, installOperator))
		}
	}
	return errors.Join(errs...)
}

// Who is served at an address.
const (
	forIndex   = "index"
	forClients = "clients"
	forHolders = "holders"
	forMetrics = "metrics"
)

type address struct{ who, listen string }

func (c config) addresses() []address {
	all := []address{{forIndex, c.Listen}}
	if c.Clients != nil {
		all = append(all, address{forClients, c.Clients.Listen})
	}
	if c.Metrics != nil {
		all = append(all, address{forMetrics, c.Metrics.Listen})
	}
	if c.Ceremony != nil && c.Ceremony.Listen != "" {
		all = append(all, address{forHolders, c.Ceremony.Listen})
	}
	return all
}

// checkAddress allows an address that other machines reach only with a token.
func checkAddress(member, address, token string) error {
	if address == "" {
		return fmt.Errorf(`%s: missing: give an address such as "127.0.0.1:8440"`, member)
	}
	host, _, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", member, err)
	case token == "" && !isLoopback(host):
		return fmt.Errorf("%s: %s can be reached from other machines: configure a token_file beside it, or listen at 127.0.0.1 or [::1]", member, address)
	}
	return nil
}

// isLoopback reports whether a host is this machine's loopback interface, by its name or number alone.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

func checkFolder(member, name string) error {
	if name == "" {
		return fmt.Errorf("%s: missing: name a folder", member)
	}
	return checkFile(member, name)
}

// checkFile demands an absolute path: what another one means depends on where the program was started.
func checkFile(member, name string) error {
	if name != "" && !filepath.IsAbs(name) {
		return fmt.Errorf("%s: %q is not an absolute path", member, name)
	}
	return nil
}

func (p storePlace) check() error {
	given := 0
	for _, there := range []bool{p.Dir != "", p.S3 != nil, p.GCS != nil} {
		if there {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New(`store: give one of a folder, such as {"dir": "/srv/bindery/metadata"}, {"s3": {"bucket": "example-index"}}, and {"gcs": {"bucket": "example-index"}}`)
	case p.S3 != nil && p.S3.Bucket == "":
		return errors.New("store.s3.bucket: missing: name a bucket that exists")
	case p.GCS != nil && p.GCS.Bucket == "":
		return errors.New("store.gcs.bucket: missing: name a bucket that exists")
	}
	return checkFile("store.dir", p.Dir)
}

func (p journalPlace) check() error {
	if (p.Dir == "") == (p.Postgres == nil) {
		return errors.New(`journal: give either a folder, such as {"dir": "/srv/bindery/journal"}, or {"postgres": {"url_file": "/etc/bindery/database-url"}}`)
	}
	if p.Dir != "" {
		return checkFile("journal.dir", p.Dir)
	}
	given := 0
	for _, text := range []string{p.Postgres.URL, p.Postgres.URLFile, p.Postgres.URLEnv} {
		if text != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("journal.postgres: give one of url, url_file and url_env")
	}
	if hasPassword(p.Postgres.URL) {
		return errors.New("journal.postgres.url: a password does not belong in this file: put the URL into a file of its own (url_file), or into an environment variable (url_env)")
	}
	return checkFile("journal.postgres.url_file", p.Postgres.URLFile)
}

// hasPassword reports whether a URL, or a list of settings as libpq takes it, may have a password.
func hasPassword(url string) bool {
	if strings.Contains(strings.ToLower(url), "password") {
		return true
	}
	_, rest, found := strings.Cut(url, "://")
	authority, _, _ := strings.Cut(rest, "/")
	user, _, at := strings.Cut(authority, "@")
	return found && at && strings.Contains(user, ":")
}

// changed names the first member, other than those that Reload takes up, that differs between two
// configurations.
func (c config) changed(next config) string {
	a, b := reflect.ValueOf(c), reflect.ValueOf(next)
	for i := range a.NumField() {
		switch name := a.Type().Field(i).Tag.Get("json"); name {
		case "keys", "publish", "documents", "passphrase_file", "pin_file", "witness":
		default:
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				return name
			}
		}
	}
	return ""
}

// repository is the part of a repository.Config that the file says.
func (p publishing) repository() repository.Config {
	cfg := repository.Config{
		BinLifetime: time.Duration(p.BinLifetime), SnapshotLifetime: time.Duration(p.SnapshotLifetime), TimestampLifetime: time.Duration(p.TimestampLifetime),
		BinRenewal: time.Duration(p.BinRenewal), SnapshotRenewal: time.Duration(p.SnapshotRenewal), TimestampRenewal: time.Duration(p.TimestampRenewal),
		Caching:  p.caching(),
		CacheAge: time.Duration(p.CacheAge), ClientRun: time.Duration(p.ClientRun),
		MaxDelay: time.Duration(p.MaxDelay), MaxPending: p.MaxPending,
		RenewalsPerMinute: p.RenewalsPerMinute, CollectPerMinute: p.CollectPerMinute,
	}
	if p.NoGrace {
		cfg.CacheAge, cfg.ClientRun = cmp.Or(cfg.CacheAge, -1), cmp.Or(cfg.ClientRun, -1)
	}
	return cfg
}

func (p publishing) caching() repository.Caching {
	return repository.Caching{MaxAge: time.Duration(p.CacheMaxAge), StaleIfError: time.Duration(p.CacheStaleIfError)}
}
