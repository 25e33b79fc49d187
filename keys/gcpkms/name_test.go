package gcpkms_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

var goodNames = []string{
	name,
	"projects/example.com:tuf-1/locations/europe-west3/keyRings/R_1/cryptoKeys/K-1/cryptoKeyVersions/42",
	"projects/123456789/locations/eur4/keyRings/r/cryptoKeys/" + strings.Repeat("k", 63) + "/cryptoKeyVersions/1",
}

var badNames = map[string]string{ // and a part of the error
	key:                                 "the version is missing",
	key + "/":                           "the version is missing",
	key + "/cryptoKeyVersions":          "the version is missing",
	key + "/cryptoKeyVersions/":         "the version is missing",
	key + "/cryptoKeyVersions/0":        "not the name of a key version",
	key + "/cryptoKeyVersions/latest":   "not the name of a key version",
	key + "/cryptoKeyVersions/01":       "not the name of a key version",
	key + "/cryptoKeyVersions/-1":       "not the name of a key version",
	key + "/versions/1":                 "not the name of a key version", // cosign's
	name + "/":                          "not the name of a key version",
	name + "\n":                         "not the name of a key version",
	"/" + name:                          "not the name of a key version",
	"gcpkms://" + name:                  "not the name of a key version",
	"//cloudkms.googleapis.com/" + name: "not the name of a key version",
	"projects/example/locations/global/keyRings/tuf":            "not the name of a key version",
	strings.Replace(name, "online", "../x", 1):                  "not the name of a key version",
	strings.Replace(name, "online", "", 1):                      "not the name of a key version",
	strings.Replace(name, "online", "ö", 1):                     "not the name of a key version",
	strings.Replace(name, "online", strings.Repeat("k", 64), 1): "not the name of a key version",
	"": "not the name of a key version",
}

func TestNames(t *testing.T) {
	fake, c := newClient(t, gcpkms.Config{})
	public, err := c.Import(t.Context(), name)
	require.NoError(t, err)
	fake.took()
	for _, good := range goodNames {
		s, err := c.Signer(good, public)
		require.NoError(t, err)
		require.Same(t, public, s.Public())
	}
	for bad, want := range badNames {
		s, err := c.Signer(bad, public)
		require.ErrorContains(t, err, want, bad)
		require.Nil(t, s)
		imported, err := c.Import(t.Context(), bad)
		require.ErrorContains(t, err, want, bad)
		require.Nil(t, imported)
	}
	_, err = c.Signer(name, nil)
	require.EqualError(t, err, `GCP KMS key "`+name+`": its public key is missing: Import returns it`)
	require.Empty(t, fake.took(), "Signer, and Import of a bad name, make no call")
}

// What is accepted has six parts of the right kinds, by a rule that is written
// another way.
func FuzzName(f *testing.F) {
	for _, good := range goodNames {
		f.Add(good)
	}
	for bad := range badNames {
		f.Add(bad)
	}
	c, err := gcpkms.New(gcpkms.Config{KMS: newFake().client(f)})
	require.NoError(f, err)
	s, err := keys.NewSigner(privates()[ed])
	require.NoError(f, err)
	collections := []string{"projects", "locations", "keyRings", "cryptoKeys", "cryptoKeyVersions"}
	id, number := regexp.MustCompile(`^[\w.:-]+$`), regexp.MustCompile(`^[1-9]\d*$`)
	f.Fuzz(func(t *testing.T, name string) {
		if _, err := c.Signer(name, s.Public()); err != nil {
			return
		}
		parts := strings.Split(name, "/")
		require.Len(t, parts, 10)
		for i, collection := range collections {
			require.Equal(t, collection, parts[2*i])
			require.Regexp(t, id, parts[2*i+1])
		}
		require.Regexp(t, number, parts[9])
	})
}
