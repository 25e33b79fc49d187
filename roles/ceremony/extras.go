package ceremony

import (
	"maps"
	"slices"
	"strconv"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/cjson"
)

// shape lists the members of a document that Steps can put into words. "" stands for the names of a
// dictionary and the elements of an array; nil is a value of any form.
type shape map[string]shape

var (
	keyShape = shape{"keytype": nil, "scheme": nil, "keyval": {"public": nil}}
	byWhom   = shape{"keyids": nil, "threshold": nil}

	rootShape = shape{
		"_type": nil, "version": nil, "expires": nil, "spec_version": nil, "consistent_snapshot": nil,
		"keys": {"": keyShape},
		"roles": {
			"root": byWhom, "targets": byWhom, "snapshot": byWhom, "timestamp": byWhom,
		},
	}
	targetsShape = shape{
		"_type": nil, "version": nil, "expires": nil, "spec_version": nil, "targets": {},
		"delegations": {
			"keys": {"": keyShape},
			"roles": {"": {
				"keyids": nil, "threshold": nil, "name": nil, "terminating": nil, "path_hash_prefixes": nil,
			}},
			"succinct_roles": {"keyids": nil, "threshold": nil, "bit_length": nil, "name_prefix": nil},
		},
	}
)

// extras returns the members of a signed part that its shape lacks, with their values. Steps shows
// them as they are.
func extras(canonical []byte, known shape) map[string]string {
	tree, err := cjson.Decode(cjson.AppendJSON(nil, canonical))
	if err != nil {
		return map[string]string{"document": string(canonical)} // can't be: it was parsed
	}
	found := map[string]string{}
	idleKeys(found, "", tree)
	if object, ok := tree.(map[string]any); ok {
		idleKeys(found, `"delegations".`, object["delegations"])
	}
	collect(found, "", tree, known)
	return found
}

// idleKeys moves keys that are listed and that no role uses from a list of keys to found. Nothing else
// in a Step mentions them.
func idleKeys(found map[string]string, place string, v any) {
	object, _ := v.(map[string]any)
	listed, _ := object["keys"].(map[string]any)
	used := map[any]bool{}
	use := func(role any) {
		r, _ := role.(map[string]any)
		ids, _ := r["keyids"].([]any)
		for _, id := range ids {
			used[id] = true
		}
	}
	use(object["succinct_roles"])
	switch all := object["roles"].(type) {
	case []any: // of a delegation
		for _, role := range all {
			use(role)
		}
	case map[string]any:
		for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
			use(all[name])
		}
	}
	for id, key := range listed {
		if !used[id] {
			found[place+`"keys".`+strconv.Quote(id)] = string(encode(key))
			delete(listed, id)
		}
	}
}

func collect(found map[string]string, place string, v any, known shape) {
	step := func(name, inside string, v any) {
		inner, ok := known[name]
		if !ok {
			inner, ok = known[""]
		}
		switch {
		case !ok:
			found[inside] = string(encode(v))
		case inner != nil:
			collect(found, inside, v, inner)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inside := strconv.Quote(name)
			if place != "" {
				inside = place + "." + inside
			}
			step(name, inside, v[name])
		}
	case []any:
		for i, e := range v {
			step("", place+"["+strconv.Itoa(i)+"]", e)
		}
	}
}
