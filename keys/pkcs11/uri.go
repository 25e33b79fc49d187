package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bindery-tuf/bindery/keys"
)

// Opener opens keys of tokens for a keys.Resolver: see the package comment for the
// URIs. A URI alone says which key of which token it is, and its module-path goes
// before cfg.Module; cfg.Public is that of Resolver.Open.
func Opener(cfg Config) keys.Opener {
	return func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
		cfg := cfg
		cfg.Token, cfg.Serial, cfg.Manufacturer, cfg.Model = "", "", "", ""
		cfg.Object, cfg.ID, cfg.Public = "", nil, public
		if err := cfg.parse(place); err != nil {
			return nil, err
		}
		s, err := Open(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// whyNot says why attributes of RFC 7512 (2.3 and 2.4) are refused.
var whyNot = map[string]string{
	"slot-id":              "slots are numbered anew all the time; name the token",
	"slot-description":     "name the token, which may be moved to another slot",
	"slot-manufacturer":    "name the token, which may be moved to another slot",
	"library-description":  "name the module with module-path",
	"library-manufacturer": "name the module with module-path",
	"library-version":      "name the module with module-path",
	"module-name":          "what it finds depends on the machine; use module-path",
	"pin-source":           "the PIN comes from the program",
	"pin-value":            "a secret does not belong in a URI, where logs and process lists show it",
}

// parse sets what a URI has after "pkcs11:" (RFC 7512, 2.3). Errors show names of
// attributes and no values.
func (cfg *Config) parse(place string) error {
	path, query, hasQuery := strings.Cut(place, "?")
	var kind string
	err := attributes(path, ";", 0, map[string]*string{
		"token": &cfg.Token, "serial": &cfg.Serial, "manufacturer": &cfg.Manufacturer, "model": &cfg.Model,
		"object": &cfg.Object, "type": &kind, "id": nil,
	}, &cfg.ID)
	if err != nil {
		return err
	}
	if kind != "" && kind != "private" {
		return errors.New(`attribute "type": only "private" keys sign`)
	}
	if !hasQuery {
		return nil
	}
	return attributes(query, "&", len(path)+1, map[string]*string{"module-path": &cfg.Module}, nil)
}

// attributes parses name=value pairs, which begin at a byte of the URI's place, into
// the targets by their names. That of "id" is id, for its value is bytes.
func attributes(list, separator string, at int, targets map[string]*string, id *[]byte) error {
	seen := map[string]bool{}
	for attribute := range strings.SplitSeq(list, separator) {
		name, value, _ := strings.Cut(attribute, "=")
		target, known := targets[name]
		switch {
		case attribute == "":
			return fmt.Errorf("byte %d: an attribute is missing", at)
		case !isName(name):
			return fmt.Errorf("byte %d: not the name of an attribute", at)
		case whyNot[name] != "":
			return fmt.Errorf("byte %d: attribute %q: %s", at, name, whyNot[name])
		case !known:
			return fmt.Errorf("byte %d: unknown attribute %q", at, name)
		case value == "":
			return fmt.Errorf("byte %d: attribute %q has no value", at, name)
		case seen[name]:
			return fmt.Errorf("byte %d: attribute %q appears twice", at, name)
		}
		seen[name] = true
		decoded, err := url.PathUnescape(value)
		switch {
		case err != nil || strings.ContainsAny(value, "?;") || separator == ";" && strings.Contains(value, "/"):
			return fmt.Errorf("byte %d: attribute %q: wrong percent-encoding", at, name)
		case target == nil:
			*id = []byte(decoded)
		case !utf8.ValidString(decoded) || strings.ContainsFunc(decoded, unicode.IsControl):
			return fmt.Errorf("byte %d: attribute %q: not UTF-8", at, name)
		default:
			*target = decoded
		}
		at += len(attribute) + 1
	}
	return nil
}

func isName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && r != '-' })
}
