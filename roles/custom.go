package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
)

const (
	maxCustom      = 64 << 10 // bytes, in canonical form
	maxCustomDepth = 32       // clients in Rust stop at 128 for the whole file
)

// checkCustom refuses custom data that a client would refuse or see differently.
func checkCustom(data json.RawMessage) error {
	// Escapes may take six bytes for one: what counts is what is published.
	if len(data) > 6*maxCustom {
		return fmt.Errorf("custom: %d bytes, at most %d", len(data), maxCustom)
	}
	canonical, err := cjson.Canonicalize(data)
	if err != nil {
		return fmt.Errorf("custom: %w", err)
	}
	if len(canonical) > maxCustom {
		return fmt.Errorf("custom: %d bytes, at most %d", len(canonical), maxCustom)
	}
	tree, err := cjson.Decode(data)
	if err != nil {
		return fmt.Errorf("custom: %w", err)
	}
	if _, ok := tree.(map[string]any); !ok {
		return errors.New("custom: not an object")
	}
	return checkCustomValue("custom", tree, 1)
}

// checkCustomValue checks what Canonicalize lets pass. Place leads to v.
func checkCustomValue(place string, v any, depth int) error {
	if depth > maxCustomDepth {
		return fmt.Errorf("%s: nested deeper than %d", place, maxCustomDepth)
	}
	switch v := v.(type) {
	case nil:
		return fmt.Errorf("%s: null", place)
	case json.Number:
		if n, err := v.Int64(); err != nil || n > schema.MaxInteger || n < -schema.MaxInteger {
			return fmt.Errorf("%s: integer %s: beyond 2^53-1", place, v)
		}
	case string:
		if err := checkText(v); err != nil {
			return fmt.Errorf("%s: %w", place, err)
		}
	case []any:
		for i, element := range v {
			if err := checkCustomValue(place+"["+strconv.Itoa(i)+"]", element, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := checkText(key); err != nil {
				return fmt.Errorf("%s: key %q: %w", place, key, err)
			}
			if err := checkPlane(key); err != nil {
				return fmt.Errorf("%s: key %q: %w", place, key, err)
			}
			if err := checkCustomValue(place+"["+strconv.Quote(key)+"]", v[key], depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
