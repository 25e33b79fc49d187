package repository

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// checkKeys refuses documents by which one holder counts twice, or by which anyone can sign.
func (o *documents) checkKeys() error {
	if err := roles.CheckKeys(o.root); err != nil {
		return fmt.Errorf("root version %d: %w", o.root.Version(), err)
	}
	for _, role := range slices.Sorted(maps.Keys(o.roles)) {
		if err := roles.CheckKeys(o.roles[role]); err != nil {
			return fmt.Errorf("%s version %d: %w", role, o.roles[role].Version(), err)
		}
	}
	return nil
}

// risk is what documents allow, and what somebody may regret.
type risk struct {
	what, advice string
	lasting      bool // worth a Problem as long as the documents are in force
}

// findRisks is about who may sign what people sign: root, and every document of a role that isn't
// signed online.
func (o *documents) findRisks() []risk {
	online := map[string][]string{} // roles by the fingerprints of their keys
	note := func(role string, a roles.Authority) {
		for _, k := range a.Keys {
			online[k.Fingerprint()] = append(online[k.Fingerprint()], role)
		}
	}
	note(metadata.TIMESTAMP, o.timestampKeys)
	note(metadata.SNAPSHOT, o.snapshotKeys)
	for _, s := range o.online.sets {
		note(setName(s.Prefix()), s.Keys)
	}
	for _, r := range o.online.others {
		note(r.Name, r.Keys)
	}

	var risks []risk
	judge := func(role string, a roles.Authority) {
		for _, k := range a.Keys {
			if machines := online[k.Fingerprint()]; len(machines) > 0 {
				risks = append(risks, risk{
					what: fmt.Sprintf("key %s, which signs %s online, is one of the %d keys of %s, of which %d must sign: a thief of the online key needs one holder less",
						k.ID(), strings.Join(machines, ", "), len(a.Keys), role, a.Threshold),
					advice:  "hold a ceremony that replaces it in " + role + " with a key that is kept offline",
					lasting: true,
				})
			}
		}
		if n := len(a.Keys); n == 1 && role == metadata.ROOT {
			risks = append(risks, risk{
				what:    "there is one root key: once it is lost, there can never be another root, and a thief of it can change everything",
				advice:  "hold a ceremony that adds root keys, of which two or more must sign",
				lasting: true,
			})
		} else if n > 1 && n == a.Threshold && role == metadata.ROOT {
			risks = append(risks, risk{
				what:    fmt.Sprintf("all %d of %d root keys must sign: once one is lost, there can never be another root", n, n),
				advice:  "while all keys are there, hold a ceremony that adds a root key, or lowers the threshold",
				lasting: true,
			})
		} else if n > 1 && n == a.Threshold {
			risks = append(risks, risk{
				what:   fmt.Sprintf("all %d of %d keys of %s must sign: once one is lost, its next version needs other keys", n, n, role),
				advice: "keep a spare key, unless each version has keys of its own",
			})
		}
	}
	if a, err := roles.RootAuthority(o.root, metadata.ROOT); err == nil {
		judge(metadata.ROOT, a)
	}
	for _, r := range o.online.tree.Roles() {
		if _, isOnline := o.online.index(r.Name); !isOnline && o.roles[r.Name] != nil {
			judge(r.Name, r.Keys)
		}
	}
	return risks
}

// warnRisks logs the risks of documents that came into force.
func (p *publisher) warnRisks() {
	for _, r := range p.docs.risks {
		p.log.Warn("a risk in the documents: "+r.what, "advice", r.advice)
	}
	warn := func(role string, version int64, ids []string) {
		if len(ids) > 0 {
			p.log.Warn("a document lists keys under IDs that are not the SHA-256 of their entries: tough clients refuse the whole document",
				"role", role, "version", version, "keys", ids)
		}
	}
	warn(metadata.ROOT, p.docs.root.Version(), roles.OddKeyIDs(p.docs.root))
	for _, role := range slices.Sorted(maps.Keys(p.docs.roles)) {
		warn(role, p.docs.roles[role].Version(), roles.OddKeyIDs(p.docs.roles[role]))
	}
}
