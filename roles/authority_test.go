package roles_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

func TestVerifyCountsKeys(t *testing.T) {
	a, b, stranger := ed25519Signer(t), ecdsaSigner(t), rsaSigner(t)
	idA, idB := a.public.ID(), b.public.ID()
	alias := renamed(t, a, "alias")
	unsigned := parseTimestamp(t, file(timestampSigned, ""))
	garbled := signAll(t, unsigned, a)
	garbled, err := garbled.AddSignature(roles.Signature{KeyID: idB, Sig: []byte{1, 2, 3}})
	require.NoError(t, err)
	empty := parseTimestamp(t, file(timestampSigned, fmt.Sprintf(`{"keyid":"%s","sig":""}`, idA)))

	for _, c := range []struct {
		name      string
		authority roles.Authority
		document  *roles.Document[metadata.TimestampType]
		want      string // the beginning of the error
	}{
		{"one of one", authorityOf(1, a), signAll(t, unsigned, a), ""},
		{"one of two", authorityOf(1, a, b), signAll(t, unsigned, b), ""},
		{"two of two", authorityOf(2, a, b), signAll(t, unsigned, b, a), ""},
		{"strangers do no harm", authorityOf(2, a, b), signAll(t, unsigned, b, stranger, a), ""},
		{"nobody", authorityOf(1, a), unsigned, "0 of 1 signatures: key " + idA + ": no signature"},
		{"a stranger", authorityOf(1, a), signAll(t, unsigned, stranger), "0 of 1 signatures: key " + idA + ": no signature"},
		{"an empty one", authorityOf(1, a), empty, "0 of 1 signatures: key " + idA + ": an empty signature"},
		{"an invalid one", authorityOf(2, a, b), garbled, "1 of 2 signatures: key " + idB + ": "},
		{"an invalid one that isn't needed", authorityOf(1, b, a), garbled, ""},
		{"one key under two IDs", authorityOf(2, a, alias), signAll(t, unsigned, a, alias), "a threshold of 2 can't be met with 1 usable keys"},
		{"one key under two IDs, and another", authorityOf(2, a, alias, b), signAll(t, unsigned, a, alias), "1 of 2 signatures: key " + idB + ": no signature"},
		{"one key under the other ID", authorityOf(1, a, alias), signAll(t, unsigned, alias), ""},
		{"too high a threshold", authorityOf(3, a, b), signAll(t, unsigned, a, b), "a threshold of 3 can't be met with 2 usable keys"},
		{"no threshold", authorityOf(0, a), signAll(t, unsigned, a), "a threshold of 0, it must be at least 1"},
		{"a negative threshold", authorityOf(-1), unsigned, "a threshold of -1, it must be at least 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.authority.Verify(c.document)
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			require.Equal(t, c.want, err.Error()[:min(len(c.want), len(err.Error()))])
		})
	}
}

func TestVerifyIsAboutTheBytesReceived(t *testing.T) {
	s := ed25519Signer(t)
	signed := signAll(t, parseTimestamp(t, file(timestampSigned, "")), s)
	require.NoError(t, authorityOf(1, s).Verify(parseTimestamp(t, signed.Bytes())))

	other := []byte(string(signed.Bytes()))
	for i := range other { // 9007199254740993 -> 9007199254740992, the same to a float
		if string(other[i:i+16]) == "9007199254740993" {
			other[i+15] = '2'
			break
		}
	}
	require.Error(t, authorityOf(1, s).Verify(parseTimestamp(t, other)))
}

func TestListInRefuses(t *testing.T) {
	a, b := ed25519Signer(t), ed25519Signer(t)
	for want, authority := range map[string]roles.Authority{
		"a threshold of 0 with 1 keys: it must be from 1 to the number of keys": authorityOf(0, a),
		"a threshold of 2 with 1 keys: it must be from 1 to the number of keys": authorityOf(2, a),
		"a threshold of 1 with 0 keys: it must be from 1 to the number of keys": authorityOf(1),
		"key z: the same as key " + a.public.ID() + ": list it once":            authorityOf(1, a, b, renamed(t, a, "z")),
		"key " + a.public.ID() + ": named twice: list it once":                  authorityOf(2, a, a),
	} {
		_, err := authority.ListIn(map[string]*metadata.Key{})
		require.EqualError(t, err, want)
	}
	_, err := authorityOf(1, a, renamed(t, b, a.public.ID())).ListIn(map[string]*metadata.Key{})
	require.EqualError(t, err, "key "+a.public.ID()+": another key has this ID")
}

func TestAuthoritiesLeaveOutWhatTheyDontKnow(t *testing.T) {
	s := ed25519Signer(t)
	const keysJSON = `{"odd":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"%s"},"x-owner":"@a"},` +
		`"oidc":{"keytype":"sigstore-oidc","scheme":"Fulcio","keyval":{"identity":"a@b.c","issuer":"https://d"}},` +
		`"broken":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}}`
	listed := fmt.Sprintf(keysJSON, s.public.Value())
	const ids = `"keyids":["oidc","nobody","odd","broken"],"threshold":1`
	const head = `"spec_version":"1.0","version":5,"expires":"2030-01-31T12:00:00Z"`

	root, err := roles.Parse[metadata.RootType](file(`{"_type":"root",`+head+`,"consistent_snapshot":true,"keys":`+listed+`,"roles":{`+
		`"root":{`+ids+`},"targets":{`+ids+`},"snapshot":{`+ids+`},"timestamp":{`+ids+`}}}`, ""))
	require.NoError(t, err)
	explicit, err := roles.Parse[metadata.TargetsType](file(`{"_type":"targets",`+head+`,"targets":{},"delegations":{"keys":`+listed+
		`,"roles":[{"name":"ö",`+ids+`,"terminating":false,"paths":["a/*"]}]}}`, ""))
	require.NoError(t, err)
	succinct, err := roles.Parse[metadata.TargetsType](file(`{"_type":"targets",`+head+`,"targets":{},"delegations":{"keys":`+listed+
		`,"succinct_roles":{"bit_length":9,"name_prefix":"b",`+ids+`}}}`, ""))
	require.NoError(t, err)

	got, err := roles.RootAuthority(root, "targets")
	require.NoError(t, err)
	isOdd := func(a roles.Authority) {
		require.Equal(t, []*keys.PublicKey{renamed(t, s, "odd").public}, a.Keys)
		require.Equal(t, 1, a.Threshold)
	}
	isOdd(got)
	for _, d := range []struct {
		in   *roles.Document[metadata.TargetsType]
		role string
	}{{explicit, "ö"}, {succinct, "b-000"}, {succinct, "b-1ff"}} {
		got, err = roles.DelegatedAuthority(d.in, d.role)
		require.NoError(t, err)
		isOdd(got)
	}

	_, err = roles.RootAuthority(root, "mirrors")
	require.EqualError(t, err, `root version 5: no role "mirrors"`)
	_, err = roles.DelegatedAuthority(explicit, "o")
	require.EqualError(t, err, `targets version 5: no delegation to "o"`)
	for _, name := range []string{"b", "b-", "b-200", "b-1FF", "b-0", "b-+ff", "b-0000", "c-000", "000"} {
		_, err = roles.DelegatedAuthority(succinct, name)
		require.EqualError(t, err, fmt.Sprintf(`targets version 5: no delegation to %q`, name))
	}
}

// A threshold that can't be met, or isn't, says which keys of the document don't count, and why.
func TestErrorsSayWhichKeysDontCount(t *testing.T) {
	a := ed25519Signer(t)
	listed := map[string]*metadata.Key{
		"a":      {Type: "ed25519", Scheme: "ed25519", Value: metadata.KeyVal{PublicKey: a.public.Value()}},
		"larger": {Type: "ecdsa", Scheme: "ecdsa-sha2-nistp384"},
	}
	larger := `public key "larger": unsupported kind of key: keytype "ecdsa", scheme "ecdsa-sha2-nistp384": clients agree on ed25519, ecdsa-sha2-nistp256 and rsassa-pss-sha256`
	doc, err := roles.NewTimestamp(1, time.Now().UTC().Truncate(time.Second), 1, []byte("{}"))
	require.NoError(t, err)

	err = roles.NewAuthority(listed, []string{"a", "larger", "gone"}, 2).Verify(doc)
	require.EqualError(t, err, "a threshold of 2 can't be met with 1 usable keys: "+larger+"; key gone is not listed")

	authority := roles.NewAuthority(listed, []string{"a", "larger", "gone"}, 1)
	require.EqualError(t, authority.Verify(doc), "0 of 1 signatures: key a: no signature")
	doc, err = doc.AddSignature(roles.Signature{KeyID: "larger", Sig: []byte("signature")})
	require.NoError(t, err)
	require.EqualError(t, authority.Verify(doc), "0 of 1 signatures: key a: no signature; signed, but not counted: "+larger)
}

// A person compares key IDs: each is there once.
func TestErrorsNameAKeyOnce(t *testing.T) {
	good, bad, silent := ed25519Signer(t), ed25519Signer(t), ed25519Signer(t)
	doc, err := roles.NewTimestamp(1, time.Now().UTC().Truncate(time.Second), 1, []byte("{}"))
	require.NoError(t, err)
	doc, err = doc.Sign(t.Context(), good)
	require.NoError(t, err)
	doc, err = doc.AddSignature(roles.Signature{KeyID: bad.public.ID(), Sig: []byte("no signature")})
	require.NoError(t, err)
	err = authorityOf(2, good, bad, silent).Verify(doc)
	require.EqualError(t, err, "1 of 2 signatures: key "+bad.public.ID()+": invalid signature; key "+silent.public.ID()+": no signature")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	inMemory, err := keys.GenerateEd25519()
	require.NoError(t, err)
	_, err = roles.Sign(ctx, inMemory, []byte("message"))
	require.EqualError(t, err, "key "+inMemory.Public().ID()+": sign: context canceled")
	require.ErrorIs(t, err, context.Canceled)
	swapped := &fakeSigner{Signer: good, limit: 100, sign: func(m []byte) ([]byte, error) { return bad.Sign(t.Context(), m) }}
	_, err = roles.Sign(t.Context(), swapped, []byte("message"))
	require.EqualError(t, err, "key "+good.public.ID()+": sign: the signature it made does not verify: invalid signature")
	require.ErrorIs(t, err, keys.ErrSignature)
	kms := &fakeSigner{Signer: good, limit: 100, sign: func([]byte) ([]byte, error) {
		return nil, fmt.Errorf("sign with arn:aws:kms (key ID %s): throttled", good.public.ID())
	}}
	_, err = roles.Sign(t.Context(), kms, []byte("message"))
	require.EqualError(t, err, "key "+good.public.ID()+": sign: sign with arn:aws:kms: throttled")
}
