// Package schema checks that decoded JSON has exactly the form that a specification gives it.
// A Rule is made of other rules:
//
//	signature := schema.Object(schema.Members{"keyid": schema.Text, "sig": schema.Hex}, nil)
//	rule := schema.Object(schema.Members{"signatures": schema.List(signature)}, nil)
//	v, err := cjson.Decode(text)
//	...
//	err = rule(v) // such as: signatures[0].sig: missing
//
// Go structs alone are too lenient for metadata: encoding/json accepts null for any type,
// ignores missing members, and matches names in any case.
//
// Rules check a value that cjson.Decode returned, which has already refused duplicate names
// and trailing data.
package schema

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Rule returns nil if v has the form it demands. Otherwise the error begins with the place
// inside v, such as keys["a"].scheme. Numbers in v are of type json.Number.
type Rule func(v any) error

// Members are the rules for the members of an object, by name.
type Members = map[string]Rule

// fault is an error at a place in a document.
type fault struct {
	place string
	err   error
}

func (f *fault) Error() string { return strings.TrimPrefix(f.place, ".") + ": " + f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// within puts a step in front of the place of err.
func within(step string, err error) error {
	if f, ok := errors.AsType[*fault](err); ok {
		return &fault{step + f.place, f.err}
	}
	return &fault{step, err}
}

// All checks a value against several rules, in order.
func All(rules ...Rule) Rule {
	return func(v any) error {
		for _, r := range rules {
			if err := r(v); err != nil {
				return err
			}
		}
		return nil
	}
}

// Object is an object with these members, and any others. A member whose name differs from a
// known one in case only is refused: clients written in Go take it for the known one.
func Object(required, optional Members) Rule {
	return func(v any) error {
		members, ok := v.(map[string]any)
		if !ok {
			return mismatch("an object", v)
		}
		for _, name := range slices.Sorted(maps.Keys(required)) {
			if _, ok := members[name]; !ok {
				return within("."+name, errors.New("missing"))
			}
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			r := required[name]
			if r == nil {
				r = optional[name]
			}
			if r == nil {
				if err := notFolded(name, required, optional); err != nil {
					return err
				}
				continue
			}
			if err := r(members[name]); err != nil {
				return within("."+name, err)
			}
		}
		return nil
	}
}

func notFolded(name string, known ...Members) error {
	for _, names := range known {
		for other := range names {
			if strings.EqualFold(name, other) {
				return within("."+name, fmt.Errorf("some clients take it for %q", other))
			}
		}
	}
	return nil
}

// Closed is an Object that has no other members.
func Closed(required, optional Members) Rule {
	open := Object(required, optional)
	return func(v any) error {
		if err := open(v); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(v.(map[string]any))) {
			if required[name] == nil && optional[name] == nil {
				return within("["+strconv.Quote(name)+"]", errors.New("unknown"))
			}
		}
		return nil
	}
}

// Dictionary is an object whose names are data.
func Dictionary(each Rule) Rule {
	return func(v any) error {
		members, ok := v.(map[string]any)
		if !ok {
			return mismatch("an object", v)
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if err := each(members[name]); err != nil {
				return within("["+strconv.Quote(name)+"]", err)
			}
		}
		return nil
	}
}

// List is an array.
func List(each Rule) Rule {
	return func(v any) error {
		elements, ok := v.([]any)
		if !ok {
			return mismatch("an array", v)
		}
		for i, e := range elements {
			if err := each(e); err != nil {
				return within("["+strconv.Itoa(i)+"]", err)
			}
		}
		return nil
	}
}

// Distinct is a list of different strings or, if member isn't empty, of objects in which the
// member of this name, a string, differs. A rule before it has checked the types.
func Distinct(member string) Rule {
	return func(v any) error {
		seen := make(map[any]bool)
		for i, e := range v.([]any) {
			if member != "" {
				e = e.(map[string]any)[member]
			}
			if seen[e] {
				return within("["+strconv.Itoa(i)+"]", fmt.Errorf("%q a second time", e))
			}
			seen[e] = true
		}
		return nil
	}
}

// Either is an object with exactly one of two members. A rule before it has checked that it
// is an object.
func Either(a, b string) Rule {
	return func(v any) error {
		_, hasA := v.(map[string]any)[a]
		_, hasB := v.(map[string]any)[b]
		if hasA == hasB {
			return fmt.Errorf("exactly one of %q and %q must be there", a, b)
		}
		return nil
	}
}
