package keys

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

const (
	maxURI = 2048

	// What a URI may hold besides letters and digits (RFC 3986, 2.2 and 2.3), less what
	// only a fragment or an IPv6 address needs.
	uriPunctuation = "-._~" + ":/?@" + "!$&'()*+,;="
)

// secretName matches names under which people put secrets into URIs, pin-value of
// RFC 7512 among them. What is nearly such a name counts: the error of an opener
// that does not know it would show what follows it.
var secretName = regexp.MustCompile(`(?i)^(pin[a-z0-9_-]*|[a-z0-9_-]*(pin|pass[a-z0-9_-]*|pwd|secret[a-z0-9_-]*))$`)

// pinSource is the attribute of RFC 7512 that says where a PIN is.
const pinSource = "pin-source"

// splitURI returns the scheme of a URI and what follows the colon. No error
// shows more of the URI than the scheme or the name of an attribute: the rest may
// be a secret.
func splitURI(uri string) (scheme, place string, err error) {
	if len(uri) > maxURI {
		return "", "", fmt.Errorf("%d bytes, at most %d are allowed", len(uri), maxURI)
	}
	for i := range len(uri) {
		switch c := uri[i]; {
		case c == '%':
			if i+2 >= len(uri) || !isHex(uri[i+1]) || !isHex(uri[i+2]) {
				return "", "", fmt.Errorf("byte %d: %% without two hexadecimal digits after it", i)
			}
		case !isAlphanumeric(c) && strings.IndexByte(uriPunctuation, c) < 0:
			return "", "", fmt.Errorf("byte %d: %q must be percent-encoded here", i, c)
		}
	}
	scheme, place, found := strings.Cut(uri, ":")
	switch {
	case uri == "":
		return "", "", errors.New(`it is empty: a key file, for example, is "file:" and its absolute path`)
	case !found:
		return "", "", errors.New(`no scheme: a key file, for example, is "file:" and its absolute path`)
	case !isScheme(scheme):
		return "", "", errors.New(`a scheme is a lower-case letter, then lower-case letters, digits or "+-."`)
	}
	if err := refuseSecrets(place); err != nil {
		return "", "", fmt.Errorf("scheme %q: %w", scheme, err)
	}
	return scheme, place, nil
}

func refuseSecrets(place string) error {
	if authority, found := strings.CutPrefix(place, "//"); found {
		if end := strings.IndexAny(authority, "/?"); end >= 0 {
			authority = authority[:end]
		}
		if strings.Contains(authority, "@") {
			return errors.New("a user name or password does not belong in a URI")
		}
	}
	for _, attribute := range strings.FieldsFunc(place, func(r rune) bool { return strings.ContainsRune("?&;", r) }) {
		name, _, found := strings.Cut(attribute, "=")
		if !found {
			continue
		}
		name, err := url.PathUnescape(name)
		if err != nil {
			return err
		}
		if secretName.MatchString(name) && name != pinSource {
			return fmt.Errorf("attribute %q: a secret does not belong in a URI, which logs and process lists show", name)
		}
	}
	return nil
}

func isScheme(s string) bool {
	return s != "" && s[0] >= 'a' && s[0] <= 'z' && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(byte(r)) && !strings.ContainsRune("+-.", r) || r >= 'A' && r <= 'Z'
	})
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
