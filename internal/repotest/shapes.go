package repotest

import (
	"crypto/sha256"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Shape is a way in which the roles of a repository delegate to one another.
type Shape struct {
	Name string
	// Form is that of the hashed bins. Not every client follows each.
	Form delegation.Form

	// Documents makes the documents of all roles, in version 1 for Create and then in later
	// ones. Version 1 may come with a root, so that the ceremony's roots are asked for
	// afterwards.
	Documents func(c *Ceremony, version int64) map[string][]byte
	// Signers are for Config.Signers. Nil: none but the three keys of PEP 458.
	Signers func(c *Ceremony) map[string][]keys.Signer

	// Owned are paths that nobody may add, each with the role that people sign.
	Owned map[string]string
	// Listed are what the documents of a version list themselves: contents by path. Nil:
	// nothing.
	Listed func(version int64) map[string]string
	// Online are paths that belong to other roles than the bins that most paths belong to.
	Online []string
}

// PEP458 is the shape that the PEP describes: targets, bins, and the hashed bins.
func PEP458(form delegation.Form) Shape {
	return Shape{
		Name: "PEP 458, " + form.String(),
		Form: form,
		Documents: func(c *Ceremony, version int64) map[string][]byte {
			targets, err := delegation.NewTargets(version, c.expires(), c.binsRole)
			require.NoError(c.t, err)
			return map[string][]byte{
				"targets": c.SignTargets(targets),
				"bins":    c.signBins("bins", c.set("bins", 4, form), version),
			}
		},
	}
}

// Shapes are other shapes than the PEP's.
func Shapes() []Shape {
	return []Shape{
		underTargets(delegation.Succinct),
		underTargets(delegation.Explicit),
		{
			Name: "two sets of bins",
			Form: delegation.Succinct,
			Documents: func(c *Ceremony, version int64) map[string][]byte {
				return map[string][]byte{
					"targets": c.signTargets(version, []delegation.Delegation{
						{Name: "pages", Keys: c.binsRole, Paths: []string{"simple/*/*"}, Terminating: true},
						{Name: "bins", Keys: c.binsRole, HashPrefixes: everyPath, Terminating: true},
					}),
					"pages": c.signBins("pages", c.set("page", 2, delegation.Succinct), version),
					"bins":  c.signBins("bins", c.set("bins", 4, delegation.Succinct), version),
				}
			},
			Online: []string{"simple/x/index.html", "simple/y/index.html", "simple/z/index.html"},
		},
		{
			Name: "people and an online role in front of the bins",
			Form: delegation.Succinct,
			Documents: func(c *Ceremony, version int64) map[string][]byte {
				return map[string][]byte{
					"targets": c.signTargets(version, []delegation.Delegation{
						{Name: "claimed", Keys: c.binsRole, Paths: []string{"claimed/*"}},
						{Name: "recent", Keys: c.online, Paths: []string{"recent/*"}, Terminating: true},
						{Name: "bins", Keys: c.binsRole, HashPrefixes: everyPath, Terminating: true},
					}),
					"claimed": c.signListed("claimed", version),
					"bins":    c.signBins("bins", c.set("bins", 4, delegation.Succinct), version),
				}
			},
			Signers: func(c *Ceremony) map[string][]keys.Signer {
				return map[string][]keys.Signer{"recent": {c.Bins}}
			},
			Owned:  map[string]string{"claimed/other": "claimed"},
			Listed: listed,
			Online: []string{"recent/project", "recent/other"},
		},
		{
			Name: "people in front of explicit bins in one document",
			Form: delegation.Explicit,
			Documents: func(c *Ceremony, version int64) map[string][]byte {
				return map[string][]byte{
					"targets": c.signTargets(version, append([]delegation.Delegation{
						{Name: "claimed", Keys: c.binsRole, Paths: []string{"claimed/*"}, Terminating: true},
					}, c.set("bins", 4, delegation.Explicit).Delegations(c.online)...)),
					"claimed": c.signListed("claimed", version),
				}
			},
			Owned:  map[string]string{"claimed/other": "claimed"},
			Listed: listed,
		},
	}
}

// underTargets is RSTUF's shape: targets is signed online and delegates to the bins itself.
func underTargets(form delegation.Form) Shape {
	return Shape{
		Name: "bins directly under online targets, " + form.String(),
		Form: form,
		Documents: func(c *Ceremony, version int64) map[string][]byte {
			if version == 1 {
				c.NextRoot(func(root *roles.RootSpec) { root.Targets = Of(1, c.Online) })
			}
			doc, err := c.set("bins", 4, form).NewRole(version, c.expires(), c.online)
			require.NoError(c.t, err)
			return map[string][]byte{"targets": c.SignTargets(doc)}
		},
		Signers: func(c *Ceremony) map[string][]keys.Signer {
			return map[string][]keys.Signer{"targets": {c.Online}}
		},
	}
}

var everyPath = []string{""} // as hash prefixes

// listed is what people's role lists in each version of its document: a path whose content
// changes, and one that the next version lists no more.
func listed(version int64) map[string]string {
	if version == 1 {
		return map[string]string{"claimed/signed": "by people", "claimed/once": "by people, once"}
	}
	return map[string]string{"claimed/signed": "by people, again"}
}

// signTargets makes and signs targets that delegates.
func (c *Ceremony) signTargets(version int64, delegations []delegation.Delegation) []byte {
	targets, err := delegation.NewRole(metadata.TARGETS, version, c.expires(), delegations)
	require.NoError(c.t, err)
	return c.SignTargets(targets)
}

func (c *Ceremony) set(prefix string, n int, form delegation.Form) delegation.Bins {
	b, err := delegation.New(prefix, n, form)
	require.NoError(c.t, err)
	return b
}

func (c *Ceremony) signBins(role string, set delegation.Bins, version int64) []byte {
	doc, err := set.NewRole(version, c.expires(), c.online)
	require.NoError(c.t, err)
	return c.SignRole(role, doc, c.binsRole)
}

// signListed makes and signs a role that has what listed says.
func (c *Ceremony) signListed(role string, version int64) []byte {
	targets := map[string]*metadata.TargetFiles{}
	for path, content := range listed(version) {
		sum := sha256.Sum256([]byte(content))
		targets[path] = &metadata.TargetFiles{Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	}
	doc, err := roles.New(metadata.TargetsType{
		Type: metadata.TARGETS, SpecVersion: roles.SpecVersion, Version: version, Expires: c.expires(), Targets: targets,
	})
	require.NoError(c.t, err)
	return c.SignRole(role, doc, c.binsRole)
}
