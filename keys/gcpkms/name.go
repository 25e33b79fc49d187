package gcpkms

import (
	"errors"
	"regexp"
)

// The parts of a name as the service documents them. A project is an ID, a number,
// or an ID within a domain (example.com:project).
const keyName = `^projects/[a-z0-9][a-z0-9.:-]*/locations/[a-z0-9-]+/keyRings/[a-zA-Z0-9_-]{1,63}/cryptoKeys/[a-zA-Z0-9_-]{1,63}`

var (
	withVersion    = regexp.MustCompile(keyName + `/cryptoKeyVersions/[1-9][0-9]*$`)
	withoutVersion = regexp.MustCompile(keyName + `(/cryptoKeyVersions)?/?$`)
)

// checkName wants the full name of a key version.
func checkName(name string) error {
	switch {
	case withVersion.MatchString(name):
		return nil
	case withoutVersion.MatchString(name):
		return errors.New("the version is missing, and each is a key of its own: add /cryptoKeyVersions/ and its number")
	default:
		return errors.New("not the name of a key version, projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N")
	}
}
