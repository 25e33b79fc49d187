// Package audit finds everything that TUF clients would find wrong with a repository, also one that
// other software published. It changes nothing.
//
//	for finding, err := range audit.Run(ctx, audit.FS(os.DirFS("metadata")), audit.Config{}) {
//		if err != nil {
//			return err // the audit could not be done
//		}
//		fmt.Println(finding.Severity, finding.Name, finding.Problem)
//	}
//
// An audit goes the way of a client: from the oldest root to the newest, by the timestamp to
// the snapshot, and then to every delegated role. Unlike a client it goes on after what it
// finds wrong.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/clients"
	"github.com/bindery-tuf/bindery/internal/parallel"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Files is the half of a Store that changes nothing. It is safe for concurrent use. FS makes one of any
// folder.
type Files interface {
	Get(ctx context.Context, name string) ([]byte, error)
	List(ctx context.Context) iter.Seq2[repository.Info, error]
}

// Config says what Run looks at besides the metadata. The zero value is a good default.
type Config struct {
	// Targets is where the target files are, as Handler serves them. Every file
	// is read, under each of its names. Nil: they aren't looked at.
	Targets fs.FS

	// Journal is read first, from its newest checkpoint, and compared with what is
	// published. Nil: there is no journal, or it is no concern.
	Journal repository.Reader

	// Soon is how long before it expires a document that people sign is warned
	// of. Zero: 30 days.
	Soon time.Duration

	// SoonOnline is that for timestamp, snapshot, hashed bins and the roles in Online, which
	// a publisher renews in time while all is well. Zero: 6 hours.
	SoonOnline time.Duration

	// Online are other roles of targets metadata that are signed online. Those that Journal
	// knows need not be named.
	Online []string

	// Workers is how many files are read at a time. Zero: 32.
	Workers int

	// Now tells the time. Nil: time.Now.
	Now func() time.Time
}

// Run checks all the metadata that clients can come to, and yields what is wrong with it. A
// file that clients refuse yields one finding, of the first reason in their order; expiry and
// what is in the file have findings of their own. Last it lists the store for names that
// nothing refers to.
//
// With a publisher at work it judges the generation whose
// timestamp it reads, and notes names of later ones as orphans. Files of earlier
// generations are what clients that paused may ask for; they aren't read.
//
// An error ends it and means that the audit could not be done: the context's, one
// from listing the store, or one that wraps repository.ErrNotRepository where there is no
// root at all. A file that can't be read is a finding.
//
// Cost: every file in use is read and verified once. Memory is that of the names, of the snapshot and,
// for each level of delegation, of one document and of as many files as are read at a time.
func Run(ctx context.Context, store Files, cfg Config) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		a := &auditor{ctx: ctx, store: store, cfg: cfg, yield: yield, used: map[string]bool{}}
		if a.cfg.Soon == 0 {
			a.cfg.Soon = 30 * 24 * time.Hour
		}
		if a.cfg.SoonOnline == 0 {
			a.cfg.SoonOnline = 6 * time.Hour
		}
		if a.cfg.Workers == 0 {
			a.cfg.Workers = 32
		}
		if a.cfg.Now == nil {
			a.cfg.Now = time.Now
		}
		a.now = a.cfg.Now()
		err := a.audit()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !a.stopped {
			yield(Finding{}, fmt.Errorf("audit: %w", err))
		}
	}
}

// auditor is one run of Audit.
type auditor struct {
	ctx   context.Context
	store Files
	cfg   Config
	now   time.Time
	yield func(Finding, error) bool

	stopped bool            // yield returned false: it must not be called again
	listed  []string        // all names in the store
	used    map[string]bool // names that clients ask for
	partial bool            // something wasn't followed, so unused names may be in use

	consistent bool // versions are in the names
	journal    journalView
	snapshot   metadata.SnapshotType
	current    map[string]int64 // versions of all roles that the snapshot names, and its own
}

func (a *auditor) audit() error {
	a.readJournal() // first: a publisher at work writes there first
	if err := a.list(); err != nil {
		return err
	}
	root, parsed, err := a.roots()
	if err != nil || root == nil {
		return err
	}
	name := ledger.Name(root.Version(), metadata.ROOT)
	a.consistent = root.Signed().ConsistentSnapshot
	if !a.consistent {
		a.warnf(checkFormat, name, "consistent_snapshot is false: while metadata is published, clients may see a half of it")
	}
	a.compareRoot(root)
	var authorities map[string]authority // none: signatures can't be judged
	if rightful := a.rightfulRoot(root, parsed); rightful != nil {
		authorities = a.topLevel(rightful)
	}
	if a.timestampAndSnapshot(authorities) {
		a.walk(authorities[metadata.TARGETS])
		a.unreachable()
		a.succession(authorities[metadata.SNAPSHOT])
	}
	a.leftovers()
	return nil
}

// done reports that nobody waits for more findings.
func (a *auditor) done() bool { return a.stopped || a.ctx.Err() != nil }

func (a *auditor) report(f Finding) {
	if !a.done() && !a.yield(f, nil) {
		a.stopped = true
	}
}

func (a *auditor) errorf(check, name, format string, args ...any) {
	a.report(Finding{Severity: Error, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) warnf(check, name, format string, args ...any) {
	a.report(Finding{Severity: Warning, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) notef(check, name, format string, args ...any) {
	a.report(Finding{Severity: Note, Check: check, Name: name, Problem: fmt.Sprintf(format, args...)})
}

func (a *auditor) list() error {
	for info, err := range a.store.List(a.ctx) {
		if err != nil {
			return err
		}
		a.listed = append(a.listed, info.Name)
	}
	return nil
}

// file is what the store has under a name, or why it can't be read.
type file struct {
	data []byte
	err  error
}

func (a *auditor) read(ctx context.Context, name string) *file {
	data, err := a.store.Get(ctx, name)
	return &file{data, err}
}

// get returns a file, or reports that it isn't there. read is the file if it was read before; nil: it wasn't.
func (a *auditor) get(name string, read *file) ([]byte, bool) {
	if a.done() {
		return nil, false
	}
	a.used[name] = true
	if read == nil {
		read = a.read(a.ctx, name)
	}
	switch err := read.err; {
	case err == nil:
		return read.data, true
	case a.ctx.Err() != nil:
	case errors.Is(err, repository.ErrNotExist):
		a.errorf(checkMissing, name, "clients ask for it, and it does not exist")
	default:
		a.errorf(checkUnreadable, name, "it can't be read: %v", err)
	}
	return nil, false
}

// fileName is the name of a role's file (TUF specification, 6.2).
func (a *auditor) fileName(role string, version int64) string {
	if a.consistent {
		return ledger.Name(version, role)
	}
	return role + ".json"
}

// timestampAndSnapshot reports whether there is a snapshot to go on from.
func (a *auditor) timestampAndSnapshot(authorities map[string]authority) bool {
	timestamp, _ := fetch[metadata.TimestampType](a, expected{
		name: ledger.Timestamp, authority: authorities[metadata.TIMESTAMP],
		limit: roles.MaxTimestamp,
	})
	if timestamp == nil {
		a.partial = true
		if name := a.journal.otherRoot; name != "" {
			a.errorf(checkJournal, name, "it is not the root that the journal installed: it was replaced, or the journal is another repository's")
		}
		return false
	}
	a.expiry(metadata.TIMESTAMP, ledger.Timestamp, timestamp.Expires(), a.cfg.SoonOnline)
	a.compareTimestamp(timestamp)
	meta := timestamp.Signed().Meta["snapshot.json"]
	name := a.fileName(metadata.SNAPSHOT, meta.Version)
	snapshot, _ := fetch[metadata.SnapshotType](a, expected{
		name: name, authority: authorities[metadata.SNAPSHOT], meta: *meta, limit: roles.MaxSnapshot,
	})
	if snapshot == nil {
		a.partial = true
		return false
	}
	a.expiry(metadata.SNAPSHOT, name, snapshot.Expires(), a.cfg.SoonOnline)
	a.snapshot = snapshot.Signed()
	a.current = map[string]int64{metadata.SNAPSHOT: meta.Version}
	for file, m := range a.snapshot.Meta {
		role, ok := roleOf(file)
		if !ok {
			a.errorf(checkFormat, name, "it names %q, which is no metadata file", file)
			continue
		}
		a.current[role] = m.Version
	}
	if n := len(a.snapshot.Meta); n > quickEntries {
		a.notef(checkClients, name, "it names %d roles: tuf-js clients, whose time grows with the square of that, take long: 17 seconds for 8192", n)
	}
	return true
}

// quickEntries is up to how many roles in a snapshot every client is quick.
const quickEntries = 4096

// isOnline reports whether a role is known to be signed online.
func (a *auditor) isOnline(role string) bool {
	if a.journal.state != nil {
		if _, ok := a.journal.state.Table.Row(role); ok {
			return true
		}
	}
	return slices.Contains(a.cfg.Online, role)
}

// Severity says what a Finding means for clients.
type Severity string

// The severities, the worst first.
const (
	// Error: some client fails now, or trusts what it should not.
	Error Severity = "error"
	// Warning: clients are well and soon may not be, or one kind of client, which is named, can't follow.
	Warning Severity = "warning"
	// Note: no client is concerned, a tidy operator may be.
	Note Severity = "note"
)

// Finding is one thing that Audit found. Its JSON encoding is stable.
type Finding struct {
	Severity Severity `json:"severity"`

	// Check is what was checked, a word of this table:
	//
	//	missing     a file that other metadata, or a client, asks for
	//	unreadable  a file that is there and can't be read
	//	size        more bytes than clients read
	//	length      another length than the referring metadata says
	//	hash        other content than the referring metadata says
	//	format      no metadata, or of a form that not all clients read
	//	signature   too few valid signatures, or an invalid one although the others suffice
	//	version     another version than the name or the referring metadata says, or a lower one than before
	//	expiry      expired, or soon to be
	//	keys        the keys of a role, of which clients make different things or no use, or a key's ID
	//	clients     a choice by which one kind of client finds nothing, or takes long
	//	delegation  a role that can't be reached, or that can't be audited
	//	target      an entry that some client refuses
	//	misplaced   an entry where clients don't look for it
	//	file        a target file that is missing, or isn't what its entry says
	//	journal     store and journal disagree
	//	orphan      metadata that nothing refers to
	//	stray       a name that is no metadata's
	Check string `json:"check"`

	// Name is the file in the store; for the check "file" that in the folder of
	// targets; empty for the journal as a whole.
	Name string `json:"name"`

	// Target is the path of a target, for the checks target, misplaced and file.
	Target string `json:"target,omitempty"`

	// Problem is a sentence for people.
	Problem string `json:"problem"`
}

// The values of Finding.Check.
const (
	checkMissing    = "missing"
	checkUnreadable = "unreadable"
	checkSize       = "size"
	checkLength     = "length"
	checkHash       = "hash"
	checkFormat     = "format"
	checkSignature  = "signature"
	checkVersion    = "version"
	checkExpiry     = "expiry"
	checkKeys       = "keys"
	checkClients    = "clients"
	checkDelegation = "delegation"
	checkTarget     = "target"
	checkMisplaced  = "misplaced"
	checkFile       = "file"
	checkJournal    = "journal"
	checkOrphan     = "orphan"
	checkStray      = "stray"
)

// FS is the metadata in a folder, such as os.DirFS gives. It
// is for Audit. Folders in it are passed over, and files beyond 64 MiB refused.
// The file of a role whose name isn't a file's may be under its escaped name.
func FS(fsys fs.FS) Files { return folder{fsys} }

type folder struct{ fs.FS }

// maxFS is ten times what any client reads.
const maxFS = 64 << 20

func (r folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, err := r.read(name)
	if escaped := url.PathEscape(name); escaped != name && errors.Is(err, repository.ErrNotExist) {
		data, err = r.read(escaped)
	}
	if err != nil {
		return nil, fmt.Errorf("get %q: %w", name, err)
	}
	return data, nil
}

func (r folder) read(name string) ([]byte, error) {
	if !fs.ValidPath(name) {
		return nil, repository.ErrNotExist
	}
	info, err := fs.Stat(r.FS, name) // before it is opened: a pipe would wait
	if errors.Is(err, fs.ErrNotExist) {
		return nil, repository.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a file")
	}
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFS+1))
	if err == nil && len(data) > maxFS {
		err = fmt.Errorf("more than %d bytes", maxFS)
	}
	return data, err
}

func (r folder) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		entries, err := fs.ReadDir(r.FS, ".")
		if err != nil {
			yield(repository.Info{}, fmt.Errorf("list: %w", err))
			return
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				yield(repository.Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if e.IsDir() {
				continue
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				yield(repository.Info{}, fmt.Errorf("list: %w", err))
				return
			}
			if !yield(repository.Info{Name: e.Name(), Size: info.Size()}, nil) {
				return
			}
		}
	}
}

// roleOf returns the role of a file's name without a version.
func roleOf(file string) (role string, ok bool) {
	role, ok = strings.CutSuffix(file, ".json")
	return role, ok && role != ""
}

// expected is what a client knows of a file before it reads it.
type expected struct {
	name      string
	authority authority
	meta      metadata.MetaFiles // what the referring metadata says; version 0: any
	limit     int64              // bytes that clients read where meta has no length
	read      *file              // what was read ahead; nil: nothing
}

// refusal is why clients refuse a file.
type refusal struct {
	check, problem string
}

// fetch reads a file and reports why clients refuse it, if they do. It
// returns what could be parsed, also if it is refused, or nil. sound reports that they don't.
func fetch[T roles.Type](a *auditor, e expected) (doc *roles.Document[T], sound bool) {
	data, ok := a.get(e.name, e.read)
	if !ok {
		return nil, false
	}
	doc, err := roles.Parse[T](data)
	r := judgeFile(e, data, doc, err)
	if r != nil {
		a.errorf(r.check, e.name, "%s", r.problem)
	} else {
		judgeForAll(a, e.name, doc)
		a.spareSignatures(e.name, e.authority.Authority, doc)
		a.compareRecorded(e.name, data)
	}
	if err != nil {
		return nil, false
	}
	return doc, r == nil
}

// judgeFile returns the first reason, in the order of clients, to refuse a file
// of which err is what parsing said.
func judgeFile[T roles.Type](e expected, data []byte, doc *roles.Document[T], err error) *refusal {
	limit := e.limit
	if e.meta.Length > 0 {
		limit = e.meta.Length
	}
	switch {
	case e.meta.Length > 0 && int64(len(data)) != e.meta.Length:
		return &refusal{checkLength, fmt.Sprintf("it has %d bytes, and the metadata that refers to it says %d", len(data), limit)}
	case int64(len(data)) > limit:
		return &refusal{checkSize, fmt.Sprintf("it has %d bytes, and clients read %d", len(data), limit)}
	}
	for _, algorithm := range slices.Sorted(maps.Keys(e.meta.Hashes)) {
		sum, known := sumOf(algorithm, data)
		if !known {
			return &refusal{checkHash, fmt.Sprintf("the metadata that refers to it has a hash of unknown algorithm %q", algorithm)}
		}
		if want := hex.EncodeToString(e.meta.Hashes[algorithm]); sum != want {
			return &refusal{checkHash, fmt.Sprintf("its %s is %s, and the metadata that refers to it says %s", algorithm, sum, want)}
		}
	}
	if err != nil {
		return &refusal{checkFormat, err.Error()}
	}
	if e.authority.usable { // otherwise it is what was reported
		if err := verify(e.authority, doc); err != nil {
			problem := err.Error()
			if by := e.authority.doubtful; by != "" {
				problem += ": the keys are those that " + by + " lists, which is refused itself: mend that first"
			}
			return &refusal{checkSignature, problem}
		}
	}
	if e.meta.Version > 0 && doc.Version() != e.meta.Version {
		return &refusal{checkVersion, fmt.Sprintf("it is version %d, and the metadata that refers to it says %d", doc.Version(), e.meta.Version)}
	}
	return nil
}

// judgeForAll reports what only some clients refuse.
func judgeForAll[T roles.Type](a *auditor, name string, doc *roles.Document[T]) {
	if err := clients.Check(doc); err != nil {
		a.errorf(checkFormat, name, "%v", err)
	}
	switch any(doc).(type) {
	case *roles.Document[metadata.RootType], *roles.Document[metadata.TargetsType]:
		keyIDs(a, name, doc)
	}
}

// sumOf returns the hash of data in hexadecimal.
func sumOf(algorithm string, data []byte) (sum string, known bool) {
	h := roles.NewHash(algorithm)
	if h == nil {
		return "", false
	}
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)), true
}

// spareSignatures warns of an invalid signature of a listed key where enough others are
// valid: the key's holder signed something else, or the file was mended by
// hand. An empty one waits to be filled, which is usual.
func (a *auditor) spareSignatures(name string, auth roles.Authority, doc interface {
	Canonical() []byte
	Signatures() []roles.Signature
}) {
	signatures := doc.Signatures()
	if len(signatures) <= auth.Threshold {
		return
	}
	for _, s := range signatures {
		for _, key := range auth.Keys {
			if key.ID() == s.KeyID && len(s.Sig) > 0 && key.Verify(doc.Canonical(), s.Sig) != nil {
				a.warnf(checkSignature, name, "the signature by key %s is invalid; the others suffice", s.KeyID)
			}
		}
	}
}

func (a *auditor) expiry(role, name string, expires time.Time, soon time.Duration) {
	at := expires.UTC().Format(time.RFC3339)
	switch left := expires.Sub(a.now); {
	case left <= 0:
		a.errorf(checkExpiry, name, "it expired %s: clients refuse %s", clients.Ago(expires, a.now), clients.Refuse(role))
	case left <= soon:
		a.warnf(checkExpiry, name, "it expires at %s", at)
	}
}

// edge is one delegation: how clients come to a role.
type edge struct {
	delegator, role string
	authority       authority
	covers          func(target string) bool
	hashed          bool  // by the hash of the target's path
	read            *file // the role's file; nil: it isn't read yet
}

// maxAuditedBits is the largest succinct delegation that is followed. TAP 15
// allows 2^32 bins.
const maxAuditedBits = 20

// walk checks targets and all it delegates to, each delegation once.
func (a *auditor) walk(targets authority) {
	all := func(string) bool { return true }
	a.follow(edge{role: metadata.TARGETS, authority: targets, covers: all}, map[[2]string]bool{})
}

func (a *auditor) follow(e edge, seen map[[2]string]bool) {
	if key := [2]string{e.delegator, e.role}; a.done() || seen[key] {
		return
	} else {
		seen[key] = true
	}
	meta, ok := a.snapshot.Meta[e.role+".json"]
	if !ok {
		by := "clients ask for"
		if e.delegator != "" {
			by = e.delegator + " delegates to"
		}
		a.errorf(checkMissing, a.fileName(metadata.SNAPSHOT, a.current[metadata.SNAPSHOT]), "it doesn't name the role %q, which %s", e.role, by)
		a.partial = true
		return
	}
	name := a.fileName(e.role, meta.Version)
	doc, sound := fetch[metadata.TargetsType](a, expected{name: name, authority: e.authority, meta: *meta, limit: roles.MaxTargets, read: e.read})
	if doc == nil {
		a.partial = true
		return
	}
	if n := len(doc.Bytes()); n > roles.MaxTargetsWithLength {
		a.errorf(checkSize, name, "it has %d bytes: tough clients read %d, whatever the snapshot says, and read every role", n, roles.MaxTargetsWithLength)
	}
	signed := doc.Signed()
	soon := a.cfg.Soon
	if e.hashed && signed.Delegations == nil || a.isOnline(e.role) {
		soon = a.cfg.SoonOnline
	}
	a.expiry(e.role, name, doc.Expires(), soon)
	for _, target := range slices.Sorted(maps.Keys(signed.Targets)) {
		a.target(name, target, signed.Targets[target], e)
	}
	if signed.Delegations == nil {
		return
	}
	a.delegations(name, e.role, signed.Delegations, sound, seen)
}

// delegations follows each of a document's delegations. sound reports that clients accept the document.
func (a *auditor) delegations(name, role string, d *metadata.Delegations, sound bool, seen map[[2]string]bool) {
	cache := authorityCache{}
	authorityOf := func(role string, ids []string, threshold int) authority {
		auth := cache.get(a, name, role, d.Keys, ids, threshold)
		if !sound {
			auth.doubtful = name
		}
		return auth
	}
	if slices.ContainsFunc(d.Roles, func(r metadata.DelegatedRole) bool {
		return slices.ContainsFunc(r.PathHashPrefixes, func(prefix string) bool { return prefix != "" })
	}) {
		a.notef(checkClients, name, "go-tuf 2.4.2 compares path_hash_prefixes in a wrong way and finds no target behind these hashed bins; other clients do")
	}
	names := func(yield func(string) bool) {
		for i := range d.Roles {
			if !yield(d.Roles[i].Name) {
				return
			}
		}
	}
	i := 0
	for _, read := range parallel.InOrder(a.ctx, a.cfg.Workers, names, a.readRole) {
		if a.done() {
			return
		}
		r := &d.Roles[i]
		i++
		a.follow(edge{
			delegator: role, role: r.Name,
			authority: authorityOf(r.Name, r.KeyIDs, r.Threshold),
			covers:    func(target string) bool { return covers(r, target) },
			hashed:    len(r.PathHashPrefixes) > 0,
			read:      read,
		}, seen)
	}
	s := d.SuccinctRoles
	if s == nil {
		return
	}
	a.notef(checkClients, name, "tough doesn't know succinct bins and finds no target behind them; other clients do")
	if s.BitLength > maxAuditedBits {
		a.warnf(checkDelegation, name, "it delegates to 2^%d bins, and at most 2^%d are audited", s.BitLength, maxAuditedBits)
		a.partial = true
		return
	}
	auth := authorityOf(s.NamePrefix+"-…", s.KeyIDs, s.Threshold)
	number := uint64(0)
	for bin, read := range parallel.InOrder(a.ctx, a.cfg.Workers, func(yield func(string) bool) {
		for i := range uint64(1) << s.BitLength {
			if !yield(fmt.Sprintf("%s-%0*x", s.NamePrefix, (s.BitLength+3)/4, i)) {
				return
			}
		}
	}, a.readRole) {
		if a.done() {
			return
		}
		i := number
		number++
		a.follow(edge{
			delegator: role, role: bin,
			authority: auth, read: read,
			covers: func(target string) bool { return binOf(target, s.BitLength) == i },
			hashed: true,
		}, seen)
	}
}

// readRole reads the file of a role that the snapshot names. It is nil if that names none.
func (a *auditor) readRole(ctx context.Context, role string) *file {
	meta, ok := a.snapshot.Meta[role+".json"]
	if !ok {
		return nil
	}
	return a.read(ctx, a.fileName(role, meta.Version))
}

// binOf is the bin of a target among 2^bits.
func binOf(target string, bits int) uint64 {
	sum := sha256.Sum256([]byte(target))
	var first uint64
	for _, b := range sum[:4] {
		first = first<<8 | uint64(b)
	}
	return first >> (32 - bits)
}

// covers reports whether a delegation leads clients that look for target to its role.
func covers(r *metadata.DelegatedRole, target string) bool {
	if len(r.Paths) > 0 {
		return slices.ContainsFunc(r.Paths, func(pattern string) bool { return matches(pattern, target) })
	}
	sum := sha256.Sum256([]byte(target))
	digest := hex.EncodeToString(sum[:])
	return slices.ContainsFunc(r.PathHashPrefixes, func(prefix string) bool { return strings.HasPrefix(digest, prefix) })
}

// matches is for patterns in which "*" ends at a "/", on which clients agree.
func matches(pattern, target string) bool {
	ok, err := path.Match(pattern, target)
	return err == nil && ok
}

// target checks one entry of the role that e leads to.
func (a *auditor) target(name, target string, entry *metadata.TargetFiles, e edge) {
	t := roles.Target{Path: target, Length: entry.Length, Hashes: map[string]string{}}
	for algorithm, h := range entry.Hashes {
		t.Hashes[algorithm] = hex.EncodeToString(h)
	}
	if entry.Custom != nil {
		t.Custom = *entry.Custom
	}
	if !e.covers(target) {
		a.report(Finding{Error, checkMisplaced, name, target,
			fmt.Sprintf("clients don't look for it here: %s doesn't delegate this path to %s", e.delegator, e.role)})
	}
	if err := t.Validate(); err != nil {
		a.report(Finding{Error, checkTarget, name, target, "some client refuses it: " + err.Error()})
	}
	if a.cfg.Targets != nil {
		a.targetFiles(t)
	}
}

// unreachable notes roles that the snapshot names and nothing delegates to.
func (a *auditor) unreachable() {
	if a.partial {
		return
	}
	for _, role := range slices.Sorted(maps.Keys(a.current)) {
		name := a.fileName(role, a.current[role])
		if role == metadata.SNAPSHOT || role == metadata.ROOT || a.used[name] {
			continue
		}
		a.used[name] = true
		a.notef(checkDelegation, name, "the snapshot names it, and nothing delegates to it")
	}
}

// targetFiles checks the file of a target under each name by which clients may
// ask for it.
func (a *auditor) targetFiles(t roles.Target) {
	dir, base := path.Split(t.Path)
	for _, algorithm := range slices.Sorted(maps.Keys(t.Hashes)) {
		if a.done() {
			return
		}
		name := t.Path
		if a.consistent {
			name = dir + t.Hashes[algorithm] + "." + base
		}
		if problem := a.targetFile(name, algorithm, t); problem != "" && a.ctx.Err() == nil {
			a.report(Finding{Error, checkFile, name, t.Path, problem})
		}
	}
}

// targetFile returns what is wrong with one file, or "".
func (a *auditor) targetFile(name, algorithm string, t roles.Target) string {
	info, err := fs.Stat(a.cfg.Targets, name) // before it is opened: a pipe would wait
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "it does not exist"
	case err != nil:
		return fmt.Sprintf("it can't be read: %v", err)
	case !info.Mode().IsRegular():
		return "it is no file"
	case info.Size() != t.Length:
		return fmt.Sprintf("it has %d bytes, and the metadata says %d", info.Size(), t.Length)
	}
	h := roles.NewHash(algorithm)
	if h == nil {
		return "" // reported with the entry
	}
	f, err := a.cfg.Targets.Open(name)
	if err != nil {
		return fmt.Sprintf("it can't be read: %v", err)
	}
	defer f.Close()
	if _, err := io.Copy(h, contextReader{a, f}); err != nil {
		return fmt.Sprintf("it can't be read: %v", err)
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != t.Hashes[algorithm] {
		return fmt.Sprintf("its %s is %s, and the metadata says %s", algorithm, sum, t.Hashes[algorithm])
	}
	return ""
}

// contextReader ends with the audit's context.
type contextReader struct {
	a *auditor
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.a.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// leftovers reports names in the store that clients don't ask for.
func (a *auditor) leftovers() {
	slices.Sort(a.listed)
	for _, name := range a.listed {
		if a.done() {
			return
		}
		if plain, err := url.PathUnescape(name); a.used[name] || err == nil && a.used[plain] {
			continue
		}
		role, ok := roleOf(name)
		if !ok {
			a.notef(checkStray, name, "it is not the name of any metadata")
			continue
		}
		if a.partial {
			continue // it may be in use
		}
		version, versionedRole, ok := ledger.ParseName(name)
		if !ok {
			a.notef(checkOrphan, name, "nothing refers to the file %q without a version", role)
			continue
		}
		a.leftover(name, versionedRole, version)
	}
}

// leftover is for the metadata of a role in a version that isn't the current one.
// Earlier ones are there for clients that paused.
func (a *auditor) leftover(name, role string, version int64) {
	current, known := a.current[role]
	// The versions of roles that are signed online are generations.
	online := role == metadata.SNAPSHOT || a.isOnline(role)
	switch {
	case !known || !a.consistent:
		a.notef(checkOrphan, name, "nothing refers to it")
	case online && a.journal.burnt(version):
		a.notef(checkOrphan, name, "generation %d was given up before it was published", version)
	case version > current:
		a.notef(checkOrphan, name, "clients see version %d: it will be published, or was given up", current)
	}
}

// succession compares the snapshot with the one before it, if that is still there
// and by the same keys: clients refuse one from which names vanished, or in which
// versions went down (TUF specification, 5.5.5).
func (a *auditor) succession(keys authority) {
	var before int64
	for _, name := range a.listed {
		version, role, ok := ledger.ParseName(name)
		if ok && role == metadata.SNAPSHOT && version < a.current[metadata.SNAPSHOT] && version > before && !a.journal.burnt(version) {
			before = version
		}
	}
	if before == 0 || !a.consistent || a.done() {
		return
	}
	name := ledger.Name(before, metadata.SNAPSHOT)
	data, err := a.store.Get(a.ctx, name)
	if err != nil {
		return
	}
	old, err := roles.ParseSnapshot(data)
	if err != nil || keys.Verify(old) != nil {
		return // clients that have it start anew
	}
	current := ledger.Name(a.current[metadata.SNAPSHOT], metadata.SNAPSHOT)
	for m, err := range old.Meta() {
		if err != nil {
			return
		}
		switch version, named := a.current[m.Role]; {
		case !named:
			a.errorf(checkVersion, current, "it doesn't name %s.json, which %s does: clients that saw that refuse it", m.Role, name)
		case version < m.Version:
			a.warnf(checkVersion, current, "it names version %d of %s, and %s version %d: if that was published, clients that saw it refuse this",
				version, m.Role, name, m.Version)
		}
	}
}
