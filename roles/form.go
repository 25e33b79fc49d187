package roles

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/internal/schema"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// form is what the specification says of one type of document.
type form struct {
	name   string // the value of _type
	limit  int    // bytes of a file; see below
	signed schema.Rule
}

// formOf is the form of T.
func formOf[T Type]() form {
	switch any(*new(T)).(type) {
	case metadata.RootType:
		return rootForm
	case metadata.TargetsType:
		return targetsForm
	case metadata.SnapshotType:
		return snapshotForm
	default:
		return timestampForm
	}
}

// What clients read of a metadata file whose length nothing tells them, in bytes: the
// defaults of go-tuf, python-tuf and tuf-js. They refuse a larger file, whoever signed
// it.
const (
	MaxRoot      = 512_000
	MaxTimestamp = 16_384
	MaxSnapshot  = 2_000_000
	MaxTargets   = 5_000_000 // targets and each delegated role, bins among them
)

// MaxTargetsWithLength is how many bytes of targets metadata every client reads if the
// snapshot says how long it is. tough takes no more, whatever the length says, and it reads
// every bin.
const MaxTargetsWithLength = 10_000_000

// Clients read no more of a root and a timestamp than MaxRoot and MaxTimestamp. The
// limits of the other two are above MaxTargets and MaxSnapshot, because a length in
// the metadata that names them replaces those: explicit delegations to 65,536 bins
// take 10.6 MB.
var (
	rootForm = form{metadata.ROOT, MaxRoot, common(schema.OneOf(metadata.ROOT), schema.Members{
		"consistent_snapshot": schema.Boolean,
		"keys":                schema.Dictionary(keyRule),
		"roles": schema.All(schema.Dictionary(authorityOf(nil, nil)), schema.Object(schema.Members{
			metadata.ROOT: anything, metadata.TARGETS: anything, metadata.SNAPSHOT: anything, metadata.TIMESTAMP: anything,
		}, nil)),
	}, nil)}

	targetsForm = form{metadata.TARGETS, 32_000_000, common(schema.OneOf(metadata.TARGETS),
		schema.Members{"targets": schema.Dictionary(targetFileRule)},
		schema.Members{"delegations": delegationsRule})}

	snapshotForm = form{metadata.SNAPSHOT, 16_000_000, common(schema.OneOf(metadata.SNAPSHOT),
		schema.Members{"meta": schema.Dictionary(metaFileRule)}, nil)}

	timestampForm = form{metadata.TIMESTAMP, MaxTimestamp, common(schema.OneOf(metadata.TIMESTAMP),
		schema.Members{"meta": schema.All(schema.Dictionary(metaFileRule), schema.Object(schema.Members{snapshotName: anything}, nil))}, nil)}
)

// snapshotName is what a timestamp calls the snapshot.
const snapshotName = "snapshot.json"

// fileRule is for a whole file (4.2.1) with this signed part.
func fileRule(signed schema.Rule) schema.Rule {
	return schema.Object(schema.Members{
		"signed": signed,
		"signatures": schema.All(
			schema.List(schema.Object(schema.Members{"keyid": schema.Text, "sig": schema.Hex}, nil)),
			schema.Distinct("keyid")),
	}, nil)
}

// headerRule is for the signed part of any document.
var headerRule = common(schema.OneOf(metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP), nil, nil)

// common adds to a signed part what all of them have (4.3).
func common(name schema.Rule, required, optional schema.Members) schema.Rule {
	rules := schema.Members{
		"_type":        name,
		"spec_version": specification,
		"version":      schema.Integer(1, schema.MaxInteger),
		"expires":      schema.Instant,
	}
	maps.Copy(rules, required)
	return schema.Object(rules, optional)
}

var (
	keyRule = schema.Object(schema.Members{
		"keytype": schema.Text,
		"scheme":  schema.Text,
		"keyval":  schema.Object(nil, schema.Members{"public": schema.Text}), // other key types have other members
	}, nil)

	hashesRule = schema.All(schema.Dictionary(schema.LowerHex), schema.NonEmpty)

	metaFileRule = schema.Object(
		schema.Members{"version": schema.Integer(1, schema.MaxInteger)},
		schema.Members{"length": schema.Integer(0, schema.MaxInteger), "hashes": hashesRule})

	targetFileRule = schema.Object(
		schema.Members{"length": schema.Integer(0, schema.MaxInteger), "hashes": hashesRule},
		schema.Members{"custom": schema.Dictionary(anything)})

	delegationsRule = schema.All(
		schema.Object(schema.Members{"keys": schema.Dictionary(keyRule)}, schema.Members{
			"roles": schema.All(schema.List(delegatedRoleRule), schema.Distinct("name")),
			"succinct_roles": authorityOf(schema.Members{
				"bit_length":  schema.Integer(1, 32),
				"name_prefix": schema.Text,
			}, nil),
		}),
		schema.Either("roles", "succinct_roles"))

	delegatedRoleRule = schema.All(
		authorityOf(
			schema.Members{"name": roleName, "terminating": schema.Boolean},
			schema.Members{"paths": schema.List(schema.Text), "path_hash_prefixes": schema.List(schema.Text)}),
		schema.Either("paths", "path_hash_prefixes"))
)

// authorityOf is an object that says, among other things, who signs a role.
func authorityOf(required, optional schema.Members) schema.Rule {
	rules := schema.Members{
		"keyids":    schema.All(schema.List(schema.Text), schema.Distinct("")),
		"threshold": schema.Integer(1, schema.MaxInteger),
	}
	maps.Copy(rules, required)
	return schema.Object(rules, optional)
}

func anything(any) error { return nil }

// roleName is a name that a targets role may delegate to.
func roleName(v any) error {
	if err := schema.Text(v); err != nil {
		return err
	}
	switch name := v.(string); name {
	case "", metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP:
		return fmt.Errorf("%q can't be delegated to: it must be a name, and not that of a top-level role", name)
	}
	return nil
}

// specification is version 1 of the TUF specification: "1.0.34", in old files "1.0".
func specification(v any) error {
	if err := schema.Text(v); err != nil {
		return err
	}
	s := v.(string)
	parts := strings.Split(s, ".")
	number := func(part string) bool { return part != "" && strings.Trim(part, "0123456789") == "" }
	if len(parts) < 2 || len(parts) > 3 || parts[0] != "1" || slices.ContainsFunc(parts, func(p string) bool { return !number(p) }) {
		return fmt.Errorf("%q is not a version 1 of the specification", s)
	}
	return nil
}
