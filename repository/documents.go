package repository

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/clients"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// Documents are finished documents: files that people have signed. Create needs all of them.
// Install takes the new ones.
type Documents struct {
	// Roots are consecutive versions of root, oldest first. Create needs all that clients
	// may start from, so usually from version 1.
	Roots [][]byte
	// Roles are "targets" and delegated roles, by name: every role that people sign, and
	// every role that delegates. In PEP 458's repository these are "targets" and "bins".
	//
	// A role that is signed online (see Config.Signers) has a document too if it delegates: the
	// document says to whom. The engine signs its content again, under the version of the
	// generation. The version of the document itself only tells a newer one from an older one.
	Roles map[string][]byte
}

// documents are the documents in force, and what follows from them. The value never changes.
type documents struct {
	root      *roles.Document[metadata.RootType]
	roles     map[string]*roles.Document[metadata.TargetsType]
	installed map[string]ledger.Doc // the documents in force by role, "root" too, and those of roles to which nobody delegates now

	online                      online
	snapshotKeys, timestampKeys roles.Authority
	targetsSignedBy             []string // names of the keys that root lists for targets and that signed its document
	risks                       []risk
}

// with returns the documents that are in force once d is installed over o, and the new files. A
// new repository has a nil o. A document that is in force already is skipped, so that an Install can
// be repeated. A new one must not have expired.
func (o *documents) with(d Documents, isOnline func(role string) bool, now time.Time) (*documents, []ledger.File, error) {
	next := &documents{roles: map[string]*roles.Document[metadata.TargetsType]{}, installed: map[string]ledger.Doc{}}
	if o != nil {
		next.root = o.root
		maps.Copy(next.roles, o.roles)
		maps.Copy(next.installed, o.installed)
	}
	files, err := next.addRoots(d.Roots, now)
	if err != nil {
		return nil, nil, err
	}
	for _, role := range slices.Sorted(maps.Keys(d.Roles)) {
		data := d.Roles[role]
		doc, isNew, err := parseNewer[metadata.TargetsType](data, next.installed[role])
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", role, err)
		}
		if !isNew && next.roles[role] != nil {
			continue
		}
		online := isOnline(role)
		if !online && !doc.Expires().After(now) {
			return nil, nil, expired(role, doc.Version(), doc.Expires())
		}
		next.roles[role] = doc
		if !isNew { // nobody delegated to the role meanwhile
			continue
		}
		f := ledger.File{Role: role, Doc: docOf(doc), Data: data, Online: online}
		next.installed[role] = f.Doc
		files = append(files, f)
	}
	if err := next.derive(isOnline); err != nil {
		return nil, nil, err
	}
	for _, role := range slices.Sorted(maps.Keys(d.Roles)) {
		switch r, ok := next.online.tree.Role(role); {
		case !ok:
			return nil, nil, fmt.Errorf("%s: no document in force delegates to this role", role)
		case r.Set >= 0:
			return nil, nil, fmt.Errorf("%s: a document for a hashed bin of %q: the publisher signs bins itself, so give only documents that people signed", role, r.Delegator)
		}
	}
	if o != nil {
		if err := o.online.sameBins(next.online); err != nil {
			return nil, nil, err
		}
	}
	return next, files, nil
}

func (o *documents) addRoots(roots [][]byte, now time.Time) ([]ledger.File, error) {
	var files []ledger.File
	for i, data := range roots {
		root, isNew, err := parseNewer[metadata.RootType](data, o.installed[metadata.ROOT])
		if err != nil {
			return nil, fmt.Errorf("root: %w", err)
		}
		if !isNew {
			continue
		}
		// The first root of a new repository can only vouch for itself.
		if o.root == nil {
			err = verifyRole(root, root, metadata.ROOT)
		} else {
			err = roles.VerifyRootUpdate(o.root, root)
		}
		if err != nil {
			return nil, fmt.Errorf("root version %d (document %d of %d): %w", root.Version(), i+1, len(roots), err)
		}
		// Clients mind only whether the last root has expired.
		if i == len(roots)-1 && !root.Expires().After(now) {
			return nil, expired(metadata.ROOT, root.Version(), root.Expires())
		}
		f := ledger.File{Role: metadata.ROOT, Doc: docOf(root), Data: data}
		o.root, o.installed[metadata.ROOT] = root, f.Doc
		files = append(files, f)
	}
	return files, nil
}

func docOf[T roles.Type](d *roles.Document[T]) ledger.Doc {
	return ledger.Doc{Version: d.Version(), Blob: ledger.BlobOf(d.Bytes())}
}

func expired(role string, version int64, at time.Time) error {
	return fmt.Errorf("%s version %d: it %w at %s", role, version, ErrExpired, at.Format(time.RFC3339))
}

// parseNewer parses data and reports whether it is newer than current; the zero Doc is older than
// all. A lower version is an error, and so is the same version with other bytes.
func parseNewer[T roles.Type](data []byte, current ledger.Doc) (*roles.Document[T], bool, error) {
	doc, err := roles.Parse[T](data)
	if err != nil {
		return nil, false, err
	}
	switch {
	case doc.Version() > current.Version:
		return doc, true, nil
	case doc.Version() == current.Version && ledger.BlobOf(data) == current.Blob:
		return doc, false, nil
	case doc.Version() == current.Version:
		return nil, false, fmt.Errorf("version %d is published already, with other contents", doc.Version())
	default:
		return nil, false, fmt.Errorf("version %d is older than version %d, which is in force", doc.Version(), current.Version)
	}
}

// derive sets the other fields of o by its documents. It checks the documents against each other,
// as a client would, but not whether they have expired: with did that when they were new.
func (o *documents) derive(isOnline func(role string) bool) error {
	switch {
	case o.root == nil:
		return errors.New("root is missing: there is no VERSION.root.json among the documents")
	case o.roles[metadata.TARGETS] == nil:
		return errors.New("targets is missing: there is no VERSION.targets.json among the documents")
	}
	o.dropUnreached()
	if err := o.checkKeys(); err != nil {
		return err
	}
	tree, err := delegation.NewTree(o.root, o.roles)
	if err != nil {
		return err
	}
	if o.online, err = newOnline(tree, o.roles, isOnline); err != nil {
		return err
	}
	if o.snapshotKeys, err = roles.RootAuthority(o.root, metadata.SNAPSHOT); err != nil {
		return err
	}
	if o.timestampKeys, err = roles.RootAuthority(o.root, metadata.TIMESTAMP); err != nil {
		return err
	}
	keysOfTargets, err := roles.RootAuthority(o.root, metadata.TARGETS)
	if err != nil {
		return err
	}
	o.targetsSignedBy = nil
	for n, k := range keysOfTargets.Keys {
		one := roles.Authority{Keys: keysOfTargets.Keys[n : n+1], Threshold: 1}
		if one.Verify(o.roles[metadata.TARGETS]) == nil {
			o.targetsSignedBy = append(o.targetsSignedBy, keyName(k))
		}
	}
	o.risks = o.findRisks()
	return o.judge()
}

// dropUnreached leaves out documents whose delegation is gone: they stay installed and have no place in
// the tree.
func (o *documents) dropUnreached() {
	for role := range o.roles {
		if !o.reaches(role) {
			delete(o.roles, role)
		}
	}
}

// reaches reports whether a document in force delegates to role, which may be targets.
func (o *documents) reaches(role string) bool {
	seen := map[string]bool{}
	next := []string{metadata.TARGETS}
	for len(next) > 0 {
		name := next[0]
		next = next[1:]
		if name == role {
			return true
		}
		doc := o.roles[name]
		if seen[name] || doc == nil || doc.Signed().Delegations == nil {
			continue
		}
		seen[name] = true
		for _, r := range doc.Signed().Delegations.Roles {
			next = append(next, r.Name)
		}
	}
	return false
}

// online numbers the roles that are signed online, so that tables of them are slices. The bins of
// each set come first, and then the others, in the order in which clients search. The value never
// changes.
type online struct {
	tree   *delegation.Tree
	sets   []delegation.Set
	starts []int // number of the first bin of each set, and of the first of the others
	others []delegation.Role
}

func newOnline(tree *delegation.Tree, documents map[string]*roles.Document[metadata.TargetsType], isOnline func(role string) bool) (online, error) {
	l := online{tree: tree, sets: tree.Sets(), starts: []int{0}}
	for _, s := range l.sets {
		l.starts = append(l.starts, l.starts[len(l.starts)-1]+s.Len())
	}
	for _, r := range tree.Roles() {
		switch {
		case isOnline(r.Name):
			l.others = append(l.others, r)
		case documents[r.Name] == nil:
			return online{}, fmt.Errorf("%s: %s delegates to it, and it has neither a document (VERSION.%[1]s.json) nor a configured signer", r.Name, r.Delegator)
		}
	}
	return l, nil
}

// setName is how Config.Signers names the bins of a set.
func setName(prefix string) string { return prefix + "-*" }

// len is the number of roles.
func (l online) len() int { return l.starts[len(l.starts)-1] + len(l.others) }

// set returns which set role i belongs to, or -1.
func (l online) set(i int) int {
	for s := range l.sets {
		if i < l.starts[s+1] {
			return s
		}
	}
	return -1
}

func (l online) name(i int) string {
	if s := l.set(i); s >= 0 {
		return l.sets[s].Name(i - l.starts[s])
	}
	return l.other(i).Name
}

func (l online) other(i int) delegation.Role { return l.others[i-l.starts[len(l.starts)-1]] }

// keys says who signs role i.
func (l online) keys(i int) roles.Authority {
	if s := l.set(i); s >= 0 {
		return l.sets[s].Keys
	}
	return l.other(i).Keys
}

// index returns the number of a role that is signed online.
func (l online) index(role string) (int, bool) {
	for s, set := range l.sets {
		if i, ok := set.Index(role); ok {
			return l.starts[s] + i, true
		}
	}
	for k, r := range l.others {
		if r.Name == role {
			return l.starts[len(l.starts)-1] + k, true
		}
	}
	return 0, false
}

// leaves appends the numbers of the online roles that may list the path of an edit, in the
// order in which clients ask them. An added target goes into the first of them, which must own the
// path. A removed path leaves all of them. The error names the owner if people sign it.
//
// Clients may differ on a path since a document changed: see delegation.Tree.CheckPath. Such a path
// can't be added. It can be removed, from every role in which any client finds it.
//
// Any other path of a bin can be in no other role, because bins end every search. So finding its
// owner is all the work.
func (l online) leaves(to []int, e roles.TargetEdit) ([]int, error) {
	differs := l.tree.CheckPath(e.Path)
	if differs != nil && e.Target != nil {
		return to, differs
	}
	owner, ok := l.tree.Owner(e.Path)
	if ok && owner.Set >= 0 && differs == nil {
		return append(to, l.starts[owner.Set]+owner.Bin), nil
	}
	before := len(to)
	if _, online := l.index(owner.Name); online || e.Target == nil {
		for _, name := range l.tree.SearchByAny(e.Path) {
			r, _ := l.tree.Role(name)
			if i, online := l.index(name); online && r.Leaf {
				to = append(to, i)
			}
		}
	}
	switch {
	case len(to) > before:
		return to, nil
	case !ok:
		return to, fmt.Errorf("target %q: no role is responsible for this path", e.Path)
	default:
		return to, fmt.Errorf("target %q: %w: it belongs to the role %q", e.Path, ErrSignedByPeople, owner.Name)
	}
}

// ErrSignedByPeople is wrapped by Submit for a path whose role people sign. Such a target is part of
// the role's document: Install publishes it. If clients ask online roles for the path too, after
// that one, it can be removed from those.
var ErrSignedByPeople = errors.New("people sign this path's role")

// row returns what is published of role i.
func (l online) row(t *ledger.Table, i int) ledger.Row {
	if s := l.set(i); s >= 0 {
		if set := t.Set(l.sets[s].Prefix()); set != nil && len(set.Rows) == l.sets[s].Len() {
			return set.Rows[i-l.starts[s]]
		}
		return ledger.Row{}
	}
	return t.Roles[l.other(i).Name]
}

// sizes are the sets of bins, as a seal names them.
func (l online) sizes() []ledger.SetSize {
	out := make([]ledger.SetSize, len(l.sets))
	for i, s := range l.sets {
		out[i] = ledger.SetSize{Prefix: s.Prefix(), Bins: s.Len()}
	}
	return out
}

// writes names the files of the roles given, for an intent.
func (l online) writes(changed []int) *ledger.Intent {
	out := &ledger.Intent{Roles: []string{metadata.SNAPSHOT}}
	for _, i := range changed { // in order
		s := l.set(i)
		if s < 0 {
			out.Roles = append(out.Roles, l.other(i).Name)
			continue
		}
		n := i - l.starts[s]
		if k := len(out.Bins) - 1; k >= 0 && out.Bins[k].Prefix == l.sets[s].Prefix() && out.Bins[k].Last == n-1 {
			out.Bins[k].Last = n
			continue
		}
		digits := len(l.sets[s].Name(n)) - len(l.sets[s].Prefix()) - len("-")
		out.Bins = append(out.Bins, ledger.BinRange{Prefix: l.sets[s].Prefix(), Digits: digits, First: n, Last: n})
	}
	return out
}

// sameBins refuses other sets of bins than l has.
func (l online) sameBins(next online) error {
	describe := func(sizes []ledger.SetSize) string {
		var out []string
		for _, s := range sizes {
			out = append(out, fmt.Sprintf("%d bins named %s-…", s.Bins, s.Prefix))
		}
		slices.Sort(out)
		return fmt.Sprint(out)
	}
	if old, new := describe(l.sizes()), describe(next.sizes()); old != new {
		return fmt.Errorf("the documents delegate to %s, and the repository has %s: bins can't be resized by a new document", new, old)
	}
	return nil
}

// signers are the configured online keys under the IDs that the documents give them.
type signers struct {
	snapshot, timestamp keys.Signer
	sets, others        []keys.Signer
	online              online
	all                 map[string]keys.Signer // by role, or set
}

// of returns the signer of role i.
func (s signers) of(i int) keys.Signer {
	if set := s.online.set(i); set >= 0 {
		return s.sets[set]
	}
	return s.others[i-s.online.starts[len(s.online.sets)]]
}

// limit is how many bytes of role i clients accept and its key signs.
func (s signers) limit(i int) int64 {
	return min(roles.MaxTargetsWithLength, int64(s.of(i).MaxMessage()))
}

// signers picks the signer of each role: the key to which a rotation of the role goes, if it is
// configured, or else the first one that the documents name.
func (o *documents) signers(cfg Config, rotations map[string]ledger.Rotating) (signers, error) {
	s := signers{online: o.online, all: map[string]keys.Signer{}}
	snapshot := envelopeSlack
	for _, set := range o.online.sets {
		snapshot += (len(set.Name(0)) + len(`"".json:{"version":},`) + 19) * set.Len()
	}
	// What a key can't sign is refused before it is needed. A bin has the room that its key
	// leaves it: see planner.limit.
	pick := func(role string, auth roles.Authority, named string, need int) (keys.Signer, error) {
		configured := cfg.signersOf(role)
		if to, ok := configuredFor(configured, auth, rotations[role].To); ok {
			configured = []keys.Signer{to}
		}
		signer, err := signerFor(role, configured, auth, named)
		if err == nil && signer.MaxMessage() < need {
			err = fmt.Errorf("%s: %w: key %s signs at most %d bytes, and %d are needed",
				role, ErrWrongKey, signer.Public().ID(), signer.MaxMessage(), need)
		}
		if err != nil {
			return nil, err
		}
		s.all[role] = patient(signer)
		return s.all[role], nil
	}
	root := o.named(metadata.ROOT)
	var err error
	if s.timestamp, err = pick(metadata.TIMESTAMP, o.timestampKeys, root, envelopeSlack/4); err != nil {
		return s, err
	}
	if s.snapshot, err = pick(metadata.SNAPSHOT, o.snapshotKeys, root, snapshot); err != nil {
		return s, err
	}
	for _, set := range o.online.sets {
		signer, err := pick(setName(set.Prefix()), set.Keys, o.named(set.Delegator), 4*envelopeSlack)
		if err != nil {
			return s, err
		}
		s.sets = append(s.sets, signer)
	}
	for _, r := range o.online.others {
		signer, err := pick(r.Name, r.Keys, o.named(r.Delegator), 4*envelopeSlack)
		if err != nil {
			return s, err
		}
		s.others = append(s.others, signer)
	}
	return s, nil
}

// configuredFor returns the configured signer of the key with this name, if auth lists that.
func configuredFor(configured []keys.Signer, auth roles.Authority, name string) (keys.Signer, bool) {
	for _, k := range auth.Keys {
		if keyName(k) == name {
			for _, s := range configured {
				if k.Same(s.Public()) {
					return s, true
				}
			}
		}
	}
	return nil, false
}

// authority says who signs a role that is named as in Config.Signers, and which document says so. It
// reports false for a role that is not signed online.
func (o *documents) authority(role string) (auth roles.Authority, document string, ok bool) {
	switch role {
	case metadata.TIMESTAMP:
		return o.timestampKeys, o.named(metadata.ROOT), true
	case metadata.SNAPSHOT:
		return o.snapshotKeys, o.named(metadata.ROOT), true
	}
	for _, set := range o.online.sets {
		if setName(set.Prefix()) == role {
			return set.Keys, o.named(set.Delegator), true
		}
	}
	for _, r := range o.online.others {
		if r.Name == role {
			return r.Keys, o.named(r.Delegator), true
		}
	}
	return roles.Authority{}, "", false
}

// named is the name of a document's file: a person can look into that.
func (o *documents) named(role string) string {
	return ledger.Name(o.installed[role].Version, role)
}

// ErrWrongKey is wrapped if an online role has no configured key that the documents name for it, or
// one whose signer can't sign messages of the size that the role needs.
var ErrWrongKey = errors.New("the configured key may not sign it")

// signerFor returns the first configured signer that the document names for the role.
func signerFor(role string, configured []keys.Signer, auth roles.Authority, document string) (keys.Signer, error) {
	if auth.Threshold != 1 {
		return nil, fmt.Errorf("%s: its threshold is %d: online roles are signed by one key", role, auth.Threshold)
	}
	if len(configured) == 0 {
		return nil, fmt.Errorf("%s: %w: no signer is configured", role, ErrWrongKey)
	}
	var ids, allowed []string
	for _, s := range configured {
		for _, k := range auth.Keys {
			if k.Same(s.Public()) {
				return keys.WithID(s, k), nil
			}
		}
		ids = append(ids, s.Public().ID())
	}
	for _, k := range auth.Keys {
		allowed = append(allowed, k.ID())
	}
	return nil, fmt.Errorf("%s: %w: it is key %s, and %s names key %s", role, ErrWrongKey, strings.Join(ids, ", "), document, strings.Join(allowed, ", "))
}

func verifyRole[T roles.Type](root *roles.Document[metadata.RootType], d *roles.Document[T], role string) error {
	auth, err := roles.RootAuthority(root, role)
	if err == nil {
		err = auth.Verify(d)
	}
	if err != nil {
		return fmt.Errorf("%s version %d under root version %d: %w", role, d.Version(), root.Version(), err)
	}
	return nil
}

// judge refuses documents that go-tuf's client refuses. It has reasons that package roles doesn't
// share: for instance, one key of a role that it doesn't know, though the others suffice.
func (o *documents) judge() error {
	root, err := metadata.Root().FromBytes(o.root.Bytes())
	if err == nil {
		err = root.VerifyDelegate(metadata.ROOT, root)
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		if err == nil {
			err = clients.CheckKeys(root.Signed.Keys, root.Signed.Roles[role].KeyIDs)
		}
	}
	if err != nil {
		return fmt.Errorf("root version %d: go-tuf clients refuse it: %w", o.root.Version(), err)
	}
	judged := map[string]*metadata.Metadata[metadata.TargetsType]{}
	for _, r := range o.online.tree.Roles() { // a role comes after the one that delegates to it
		doc := o.roles[r.Name]
		if doc == nil {
			continue
		}
		parsed, err := metadata.Targets().FromBytes(doc.Bytes())
		switch delegator := judged[r.Delegator]; {
		case err != nil:
		case delegator != nil:
			err = delegator.VerifyDelegate(r.Name, parsed)
		default:
			err = root.VerifyDelegate(r.Name, parsed)
		}
		if err == nil {
			err = judgeDelegations(parsed.Signed.Delegations)
		}
		if err != nil {
			return fmt.Errorf("%s version %d: go-tuf clients refuse it: %w", r.Name, doc.Version(), err)
		}
		judged[r.Name] = parsed
	}
	return nil
}

// judgeDelegations makes sure that go-tuf understands every key of every delegated role.
func judgeDelegations(d *metadata.Delegations) error {
	if d == nil {
		return nil
	}
	if d.SuccinctRoles != nil {
		return clients.CheckKeys(d.Keys, d.SuccinctRoles.KeyIDs)
	}
	var last []string
	for _, r := range d.Roles {
		if slices.Equal(r.KeyIDs, last) {
			continue // as of thousands of bins
		}
		if err := clients.CheckKeys(d.Keys, r.KeyIDs); err != nil {
			return err
		}
		last = r.KeyIDs
	}
	return nil
}

// judgeNew refuses a new document that go-tuf accepts and another client refuses: see
// clients.Check, and maxDocument. It refuses a root without consistent snapshots: clients would
// find no file. It doesn't judge roots before version from: clients have seen those. It doesn't
// judge documents in force: nothing can change them now. Package audit reports them.
func judgeNew(files []ledger.File, from int64) error {
	for _, f := range files {
		var err error
		if f.Role == metadata.ROOT {
			err = judgeNewRoot(f.Data, from)
		} else {
			var doc *roles.Document[metadata.TargetsType]
			if doc, err = roles.Parse[metadata.TargetsType](f.Data); err == nil {
				err = clients.Check(doc)
			}
			if most := maxDocument(f); err == nil && len(f.Data) > most {
				err = fmt.Errorf("it has %d bytes, and clients accept %d", len(f.Data), most)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSuffix(f.Name(), ".json"), err)
		}
	}
	return nil
}

// maxDocument is how many bytes a new document other than root may have. The index adds to what it
// signs again itself: a longer version, for instance.
func maxDocument(f ledger.File) int {
	if f.Online {
		return roles.MaxTargetsWithLength - envelopeSlack
	}
	return roles.MaxTargetsWithLength
}

func judgeNewRoot(data []byte, from int64) error {
	root, err := roles.Parse[metadata.RootType](data)
	if err != nil || root.Version() < from {
		return err
	}
	if !root.Signed().ConsistentSnapshot {
		return errors.New("consistent_snapshot is false: clients would look for files under names that nothing here has")
	}
	if err := roles.CheckKeys(root); err != nil {
		return err
	}
	return clients.Check(root)
}
