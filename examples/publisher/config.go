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

	Store     place           `json:"store"`     // required
	Journal   place           `json:"journal"`   // required
	Documents string          `json:"documents"` // required: folder of finished documents
	Keys      map[string]uris `json:"keys"`      // required: URIs by role, as in repository.Config.Signers

	PassphraseFile string `json:"passphrase_file"` // of all "file:" keys
	PINFile        string `json:"pin_file"`        // of all "pkcs11:" keys

	Standby  bool       `json:"standby"`
	Ceremony *holders   `json:"ceremony"`
	Publish  publishing `json:"publish"`
}

// listener is an address that the program listens at.
type listener struct {
	Listen string `json:"listen"` // required
}

// place says where a store or a journal is: one of its members is given.
type place struct {
	Dir string `json:"dir"` // an absolute path
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
		c.Store.check("store"),
		c.Journal.check("journal"),
		checkFolder("documents", c.Documents),
		checkFile("token_file", c.TokenFile),
		checkFile("passphrase_file", c.PassphraseFile),
		checkFile("pin_file", c.PINFile),
	}
	if c.Clients != nil {
		errs = append(errs, checkAddress("clients.listen", c.Clients.Listen, "public"))
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
)

type address struct{ who, listen string }

func (c config) addresses() []address {
	all := []address{{forIndex, c.Listen}}
	if c.Clients != nil {
		all = append(all, address{forClients, c.Clients.Listen})
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

func (p place) check(member string) error {
	switch {
	case p.Dir == "":
		return fmt.Errorf(`%s: missing: give a folder, such as {"dir": "/srv/bindery/%s"}`, member, member)
	}
	return checkFile(member+".dir", p.Dir)
}

// changed names the first member, other than those that Reload takes up, that differs between two
// configurations.
func (c config) changed(next config) string {
	a, b := reflect.ValueOf(c), reflect.ValueOf(next)
	for i := range a.NumField() {
		switch name := a.Type().Field(i).Tag.Get("json"); name {
		case "keys", "publish", "documents", "passphrase_file", "pin_file":
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
