package schema

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Text is a string.
func Text(v any) error {
	if _, ok := v.(string); !ok {
		return mismatch("a string", v)
	}
	return nil
}

// OneOf is one of these strings.
func OneOf(values ...string) Rule {
	return func(v any) error {
		if s, ok := v.(string); !ok {
			return mismatch("a string", v)
		} else if !slices.Contains(values, s) {
			return fmt.Errorf("%q instead of \"%s\"", s, strings.Join(values, `" or "`))
		}
		return nil
	}
}

// Boolean is true or false.
func Boolean(v any) error {
	if _, ok := v.(bool); !ok {
		return mismatch("true or false", v)
	}
	return nil
}

// MaxInteger is the largest integer that clients in JavaScript read exactly.
const MaxInteger int64 = 1<<53 - 1

// Integer is a whole number from low to high, both included.
func Integer(low, high int64) Rule {
	return func(v any) error {
		number, ok := v.(json.Number)
		if !ok {
			return mismatch("an integer", v)
		}
		n, err := number.Int64()
		if err != nil || n < low || n > high {
			return fmt.Errorf("%s is not an integer from %d to %d", number, low, high)
		}
		return nil
	}
}

// Hex is a string of hexadecimal digits, in pairs; it may be empty.
func Hex(v any) error {
	s, ok := v.(string)
	if !ok {
		return mismatch("a string", v)
	}
	_, err := hex.DecodeString(s)
	return err
}

// LowerHex is lower-case hexadecimal: Python's clients compare it as text.
func LowerHex(v any) error {
	if err := Hex(v); err != nil {
		return err
	}
	if s := v.(string); s == "" || s != strings.ToLower(s) {
		return fmt.Errorf("%q is not a digest in lower-case hexadecimal", s)
	}
	return nil
}

// NonEmpty is a Dictionary with a member. It follows a rule that says that it is one.
func NonEmpty(v any) error {
	if len(v.(map[string]any)) == 0 {
		return errors.New("empty")
	}
	return nil
}

// Instant is a time in UTC as RFC 3339 writes it, ending in Z.
func Instant(v any) error {
	s, ok := v.(string)
	if !ok {
		return mismatch("a string", v)
	}
	var t time.Time
	if err := t.UnmarshalText([]byte(s)); err != nil || !strings.HasSuffix(s, "Z") {
		return fmt.Errorf("%q is not a time in UTC such as %q", s, "2030-01-31T12:00:00Z")
	}
	return nil
}

func mismatch(want string, v any) error {
	switch v.(type) {
	case nil:
		return fmt.Errorf("null instead of %s", want)
	case bool:
		return fmt.Errorf("a boolean instead of %s", want)
	case string:
		return fmt.Errorf("a string instead of %s", want)
	case json.Number:
		return fmt.Errorf("a number instead of %s", want)
	case []any:
		return fmt.Errorf("an array instead of %s", want)
	default:
		return fmt.Errorf("an object instead of %s", want)
	}
}
