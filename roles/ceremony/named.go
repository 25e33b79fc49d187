package ceremony

import (
	"regexp"
)

// namedError is an error in which keys are called by their names.
type namedError struct {
	text string
	err  error
}

func (e namedError) Error() string { return e.text }
func (e namedError) Unwrap() error { return e.err }

// keyInError is how packages keys and roles name a key.
var keyInError = regexp.MustCompile(`\bkey ([^\s:,"]+)`)

// named returns err with keys called by the names in the request, because people don't know a key by
// 64 digits. Keys without a name keep their ID.
func (p Proposal) named(err error) error {
	if err == nil {
		return nil
	}
	text := keyInError.ReplaceAllStringFunc(err.Error(), func(s string) string {
		id := keyInError.FindStringSubmatch(s)[1]
		if name, ok := p.Names[id]; ok {
			return Who{Name: name, KeyID: id}.String()
		}
		return s
	})
	if text == err.Error() {
		return err
	}
	return namedError{text, err}
}
