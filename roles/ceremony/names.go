package ceremony

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// keysIn returns all keys that steps name, by ID.
func keysIn(steps []Step) []Who {
	byID := map[string]Who{}
	for _, step := range steps {
		for _, c := range step.Changes {
			if c.Key != nil {
				byID[c.Key.KeyID] = *c.Key
			}
		}
		for _, signers := range step.Signers {
			for _, who := range signers.Keys {
				byID[who.KeyID] = who
			}
		}
	}
	var all []Who
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		all = append(all, byID[id])
	}
	return all
}

// lookAlikes warns of names that can be mistaken for others: a name with letters of several scripts, or
// one that differs from another only in the form of its letters. It does not find two names that look
// the same, each in one script.
func lookAlikes(all []Who) []string {
	names := map[string]bool{}
	for _, who := range all {
		names[who.Name] = true
	}
	var warnings []string
	folded := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if scripts := scriptsOf(name); len(scripts) > 1 {
			warnings = append(warnings, fmt.Sprintf("the name %s (%s) mixes %s letters: compare its key ID",
				name, strconv.QuoteToASCII(name), strings.Join(scripts, " and ")))
		}
		form := norm.NFKC.String(strings.ToLower(norm.NFKC.String(name)))
		if other, ok := folded[form]; ok {
			warnings = append(warnings, fmt.Sprintf("the names %s (%s) and %s (%s) are of different keys and nearly the same: compare the key IDs",
				other, strconv.QuoteToASCII(other), name, strconv.QuoteToASCII(name)))
		}
		folded[form] = name
	}
	return warnings
}

// scriptsOf returns the scripts of a name's letters. It leaves out scripts that are written together, and
// with Latin, and that look like no others.
func scriptsOf(name string) []string {
	found := map[string]bool{}
	for _, r := range name {
		if unicode.In(r, unicode.Common, unicode.Inherited, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Bopomofo) {
			continue
		}
		for script, table := range unicode.Scripts {
			if unicode.Is(table, r) {
				found[script] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
