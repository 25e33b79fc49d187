package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

// part is a document of a request, with what is needed to sign it.
type part struct {
	Mark
	doc     document
	before  state    // what is in force when it is published
	after   state    // and once it is
	quorums []quorum // all must be met
	signed  bool     // by one-time keys, already
}

// document is the interface that root and targets documents share.
type document interface {
	roles.Signed
	Version() int64
	Expires() time.Time
	Digest() [sha256.Size]byte
	Bytes() []byte
}

// quorum is a set of keys whose signatures count.
type quorum struct {
	of string
	roles.Authority
}

// judge takes the documents of a request into force one after the other, as clients would.
type judge struct {
	state
	proposal  Proposal
	published map[entry]bool // of Current
	lowered   map[string]bool
	firstBins bool // Current has targets, and they delegate to no bins
}

// entry is a key as a document lists it: its ID, and the canonical form of what stands there.
type entry struct{ id, value string }

// hashed reports whether the ID is the one that the specification defines (4.2).
func (e entry) hashed() bool { return e.id == e.hash() }

func (e entry) hash() string {
	sum := sha256.Sum256([]byte(e.value))
	return hex.EncodeToString(sum[:])
}

// entriesOf returns all that a document lists as keys, by ID.
func entriesOf(d document) (map[string]entry, error) {
	members, err := membersOf(d.Canonical())
	if err == nil && members["delegations"] != nil {
		members, err = membersOf(members["delegations"])
	}
	if err != nil || members["keys"] == nil {
		return nil, err
	}
	listed, err := membersOf(members["keys"])
	all := make(map[string]entry)
	for id, value := range listed {
		all[id] = entry{id, string(value)}
	}
	return all, err
}

// next takes the next document into force. role is the role of the document after it, or "".
func (j *judge) next(d Document, role string) (part, error) {
	p := part{before: j.state}
	var err error
	switch d.Role {
	case roleRoot:
		err = j.root(&p, d.File)
	case roleTargets:
		err = j.targets(&p, d.File, role == roleBins)
	case roleBins:
		err = j.bins(&p, d.File)
	default:
		err = fmt.Errorf("a document of the role %q: only root, targets and bins are signed by people", d.Role)
	}
	if err != nil {
		return part{}, err
	}
	if err := checkExpires(p.doc); err != nil {
		return part{}, fmt.Errorf("%s: %w", p.Mark, err)
	}
	p.after = j.state
	if p.Role != roleRoot && len(p.doc.Signatures()) > 0 {
		if err := p.quorums[0].Verify(p.doc); err != nil {
			return part{}, fmt.Errorf("%s: it must have all signatures or none: %w", p.Mark, err)
		}
		p.signed = true
	}
	return p, nil
}

// checkExpires refuses an expiry that not all clients can read.
func checkExpires(d document) error {
	members, err := membersOf(d.Canonical())
	if err != nil {
		return err
	}
	if want := d.Expires().Format(`"2006-01-02T15:04:05Z"`); string(members["expires"]) != want {
		return fmt.Errorf("expires is %s, which not all clients can read: it must be %s, in whole seconds", members["expires"], want)
	}
	return nil
}

// checkOnline refuses an online role that more than one key must sign.
func checkOnline(role string, a roles.Authority) error {
	if a.Threshold != 1 {
		return fmt.Errorf("role %s: threshold %d: a role that is signed online must have threshold 1", role, a.Threshold)
	}
	return nil
}

// follows refuses a document that is not the next version of its role.
func follows(role string, d document, before int64) error {
	switch v := d.Version(); {
	case v == before+1:
		return nil
	case before == 0:
		return fmt.Errorf("%s version %d: the first one must be version 1", role, v)
	case v <= before:
		return fmt.Errorf("%s version %d: version %d is in force already", role, v, before)
	default:
		return fmt.Errorf("%s version %d: skips a version: the one before it is %d", role, v, before)
	}
}

func (j *judge) root(p *part, file []byte) error {
	root, err := roles.Parse[metadata.RootType](file)
	if err != nil {
		return err
	}
	p.set(roleRoot, root)
	old := j.state.root
	before := int64(0)
	if old != nil {
		before = old.Version()
	}
	if err := follows(roleRoot, root, before); err != nil {
		return err
	}
	err = j.judgeRoot(p, old, root)
	if err == nil {
		err = roles.CheckKeys(root) // as Install does
	}
	if err != nil {
		return ofVersion(roleRoot, root, err)
	}
	j.state.root = root
	return nil
}

func (j *judge) judgeRoot(p *part, old, root rootDoc) error {
	if len(root.Signatures()) > 0 {
		return errors.New("already has signatures, and a request asks for all of them: give the document without any, or merge the signatures as responses")
	}
	if !root.Signed().ConsistentSnapshot {
		return errors.New("consistent_snapshot is not true, and Bindery publishes nothing else: make the root with NextRoot or NewRoot")
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		is, err := rootAuthority(root, role)
		if err == nil {
			err = j.checkIDs(root, is)
		}
		if err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
		if role == metadata.SNAPSHOT || role == metadata.TIMESTAMP {
			if err := checkOnline(role, is); err != nil {
				return err
			}
		}
		if role == roleRoot {
			p.quorums = append(p.quorums, quorum{fmt.Sprintf("root %d", root.Version()), is})
		}
		if old == nil {
			continue
		}
		was, err := listedInRoot(old, role)
		if err != nil {
			return err
		}
		if role == roleRoot {
			p.quorums = slices.Insert(p.quorums, 0, quorum{fmt.Sprintf("root %d", old.Version()), was.Authority})
		}
		if err := j.lowers(role, was.Authority, is); err != nil {
			return err
		}
		if err := j.keeps(role, was, is); err != nil {
			return err
		}
	}
	return nil
}

// checkIDs refuses a key under an ID that isn't the hash of its entry, unless a published document
// lists that very entry. People know keys by their IDs, and a document could list a stranger's key
// under the ID of a holder. tough reads no document that has such an ID.
func (j *judge) checkIDs(d document, a roles.Authority) error {
	listed, err := entriesOf(d)
	if err != nil {
		return err
	}
	for _, k := range a.Keys {
		e := listed[k.ID()]
		if e.hashed() || j.published[e] {
			continue
		}
		value := string(cjson.AppendString(nil, k.Value()))
		for p := range j.published {
			if p.id == e.id && strings.Contains(p.value, value) {
				return fmt.Errorf("key %q: its entry is not the one that is published, of which the ID was made: keep the entry as it is, as NextRoot and NextTargets do", k.ID())
			}
		}
		return fmt.Errorf("new key %q: wrong ID: the ID of this key is %s", k.ID(), e.hash())
	}
	return nil
}

// lowers refuses a threshold that goes down without a declaration.
func (j *judge) lowers(role string, was, is roles.Authority) error {
	if is.Threshold >= was.Threshold {
		return nil
	}
	if !slices.Contains(j.proposal.Lowers, role) {
		return fmt.Errorf("role %s: the threshold drops from %d to %d, and the request doesn't declare that (Lowers)", role, was.Threshold, is.Threshold)
	}
	j.lowered[role] = true
	return nil
}

// keeps refuses a root under which a role's published document would not verify.
func (j *judge) keeps(role string, was listing, is roles.Authority) error {
	switch {
	case role == roleRoot || j.proposal.Compromise:
		return nil
	case role != roleTargets:
		return overlaps(role, was.Authority, is)
	case j.state.targets == nil && !covers(was, is):
		return errors.New("it changes who signs targets, and the request doesn't hold the targets that are published now: add them (Current.Targets)")
	case j.state.targets == nil:
		return nil
	}
	return holds(roleTargets, j.state.targets, was, is)
}

// holds returns nil if d, which is valid under one authority, is valid under the other too.
func holds(role string, d targetsDoc, was listing, is roles.Authority) error {
	err := is.Verify(d)
	if len(d.Signatures()) == 0 { // it is still to be signed
		if err = nil; !covers(was, is) {
			err = errors.New("it may be signed by keys that are dropped: keep them until it is published, and drop them in a later root")
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s version %d: %w", ErrLocksOut, role, d.Version(), err)
	}
	return nil
}

// covers reports whether everything valid under one authority is valid under the other. With some
// clients, keys that are unusable here have signed too.
func covers(was listing, is roles.Authority) bool {
	return was.Threshold-was.gone(is) >= is.Threshold
}

// listing is who a document lists for a role: the authority, and the keys that it leaves out.
type listing struct {
	roles.Authority
	unusable []roles.UnusableKey
}

// gone is how many of the listed keys an authority lacks.
func (l listing) gone(is roles.Authority) int {
	return len(l.Keys) - common(l.Authority, is) + len(l.unusable)
}

func listedInRoot(root rootDoc, role string) (listing, error) {
	a, err := roles.RootAuthority(root, role)
	return listing{a, roles.RootUnusable(root, role)}, err
}

func listedByDelegation(d targetsDoc, role string) (listing, error) {
	a, err := roles.DelegatedAuthority(d, role)
	return listing{a, roles.DelegatedUnusable(d, role)}, err
}

// common is how many keys two authorities share.
func common(a, b roles.Authority) int {
	n := 0
	for _, k := range a.Keys {
		if slices.ContainsFunc(b.Keys, k.Same) {
			n++
		}
	}
	return n
}

// overlaps returns nil if something can be signed that both authorities accept. An online role is
// signed by one key; the publisher checks that it is a key that stays.
func overlaps(role string, was, is roles.Authority) error {
	stay := common(is, was)
	if stay >= is.Threshold {
		return nil
	}
	return fmt.Errorf("%w: role %s: only %d of its keys stay, and its threshold is %d: list old and new keys together first, and drop the old ones in the next version",
		ErrLocksOut, role, stay, is.Threshold)
}

func (p *part) set(role string, d document) {
	p.doc = d
	p.Mark = Mark{Role: role, Version: d.Version(), Digest: Digest(d.Digest())}
}

// rootAuthority is roles.RootAuthority for a root that is to be published: every
// client must understand every key.
func rootAuthority(root rootDoc, role string) (roles.Authority, error) {
	l, err := listedInRoot(root, role)
	if err != nil {
		return l.Authority, err
	}
	return l.Authority, l.sound()
}

// sound returns nil if every key of a listing counts with all clients, and once.
func (l listing) sound() error {
	if len(l.unusable) > 0 {
		return l.unusable[0].Err
	}
	return l.Check()
}

// delegated is rootAuthority for a role that a targets document delegates to.
func delegated(d targetsDoc, role string) (roles.Authority, error) {
	l, err := listedByDelegation(d, role)
	if err != nil {
		return l.Authority, err
	}
	return l.Authority, l.sound()
}

// layoutOf is delegation.Parse, and also returns who signs each bin.
func layoutOf(bins targetsDoc) (delegation.Bins, listing, error) {
	layout, err := delegation.Parse(bins)
	if err != nil {
		return layout, listing{}, err
	}
	l, err := listedByDelegation(bins, layout.Name(0))
	return layout, l, err
}
