package keys_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/stretchr/testify/require"
)

// openerOf returns an opener of s alone that notes what it was asked.
func openerOf(s keys.Signer, place *string) keys.Opener {
	return func(_ context.Context, p string, _ *keys.PublicKey) (keys.Signer, error) {
		*place = p
		return s, nil
	}
}

func generate(t testing.TB) *keys.MemorySigner {
	t.Helper()
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	return s
}

// asking returns a function that gives the passphrase and notes the prompts.
func asking(passphrase string, prompts *[]string) func(context.Context, string) ([]byte, error) {
	return func(_ context.Context, prompt string) ([]byte, error) {
		*prompts = append(*prompts, prompt)
		return []byte(passphrase), nil
	}
}

func TestResolverOpens(t *testing.T) {
	s, other := generate(t), generate(t)
	for uri, want := range map[string]string{
		"memory:":                      "",
		"memory:a/b":                   "a/b",
		"memory:a:b":                   "a:b",
		"memory:a%3Fpin=b":             "a%3Fpin=b",
		"memory:token=x;id=%01%ff?y=z": "token=x;id=%01%ff?y=z",
		"memory:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab": "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	} {
		place := "not asked"
		r := keys.Resolver{"memory": openerOf(s, &place), "other": openerOf(other, new(string))}
		opened, err := r.Open(t.Context(), uri, nil)
		require.NoError(t, err, uri)
		require.Same(t, s, opened)
		require.Equal(t, want, place)
	}
}

func TestResolverHandsOnThePublicKey(t *testing.T) {
	s := generate(t)
	var got *keys.PublicKey
	r := keys.Resolver{"memory": func(_ context.Context, _ string, public *keys.PublicKey) (keys.Signer, error) {
		got = public
		return s, nil
	}}
	opened, err := r.Open(t.Context(), "memory:", s.Public())
	require.NoError(t, err)
	require.Same(t, s.Public(), got)
	require.Same(t, s, opened)
}

// closing is a signer that holds something.
type closing struct {
	keys.Signer
	closed int
	err    error
}

func (c *closing) Close() error { c.closed++; return c.err }

func TestResolverRefusesAnotherKey(t *testing.T) {
	s, want := generate(t), generate(t)
	r := keys.Resolver{"memory": openerOf(s, new(string))}
	opened, err := r.Open(t.Context(), "memory:x", want.Public())
	require.EqualError(t, err, "open key memory:x: this is key "+s.Public().ID()+", not "+want.Public().ID()+": correct the URI, or give the public key that belongs to it")
	require.Nil(t, opened)

	held := &closing{Signer: s, err: errors.New("still in use")}
	r = keys.Resolver{"memory": openerOf(held, new(string))}
	_, err = r.Open(t.Context(), "memory:x", want.Public())
	require.ErrorIs(t, err, held.err)
	require.Equal(t, 1, held.closed)
}

// Metadata made by others lists keys under IDs of their own, and a signature
// counts under that ID only.
func TestResolverKeepsTheIDOfTheMetadata(t *testing.T) {
	s := generate(t)
	p := s.Public()
	listed, err := keys.ParsePublicKey("their-id", p.Type(), p.Scheme(), p.Value())
	require.NoError(t, err)
	held := &closing{Signer: s}
	r := keys.Resolver{"memory": openerOf(held, new(string))}
	opened, err := r.Open(t.Context(), "memory:", listed)
	require.NoError(t, err)
	require.Same(t, listed, opened.Public())
	sig, err := opened.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.NoError(t, listed.Verify([]byte("message"), sig))

	require.NoError(t, opened.(interface{ Close() error }).Close())
	require.Equal(t, 1, held.closed)

	opened, err = keys.Resolver{"memory": openerOf(s, new(string))}.Open(t.Context(), "memory:", listed)
	require.NoError(t, err)
	require.NoError(t, opened.(interface{ Close() error }).Close())
}

func TestResolverRefuses(t *testing.T) {
	r := keys.Resolver{"memory": openerOf(generate(t), new(string)), "file": keys.FileOpener(nil), "unset": nil}
	for uri, want := range map[string]string{
		"":                                    `it is empty: a key file, for example, is "file:" and its absolute path`,
		"root.key":                            `no scheme: a key file, for example, is "file:" and its absolute path`,
		":x":                                  `a scheme is a lower-case letter`,
		"Memory:x":                            `a scheme is a lower-case letter`,
		"1memory:x":                           `a scheme is a lower-case letter`,
		"mem/ory:x":                           `a scheme is a lower-case letter`,
		"awskms:x":                            `scheme "awskms": this program opens file:, memory:`,
		"unset:x":                             `scheme "unset": this program opens file:, memory:`,
		"memory:a b":                          `byte 8: ' ' must be percent-encoded here`,
		"memory:a\nb":                         `byte 8: '\n' must be percent-encoded here`,
		"memory:ö":                            `byte 7: 'Ã' must be percent-encoded here`,
		"memory:a#b":                          `byte 8: '#' must be`,
		"memory:a\"b":                         `byte 8: '"' must be`,
		"memory:%":                            `byte 7: % without two hexadecimal digits`,
		"memory:%1":                           `byte 7: % without`,
		"memory:a%1g":                         `byte 8: % without`,
		"memory:" + strings.Repeat("a", 2042): `2049 bytes, at most 2048 are allowed`,
	} {
		s, err := r.Open(t.Context(), uri, nil)
		require.ErrorContains(t, err, "key URI: ")
		require.ErrorContains(t, err, want, uri)
		require.Nil(t, s)
	}
	_, err := keys.Resolver(nil).Open(t.Context(), "file:/x", nil)
	require.EqualError(t, err, `key URI: scheme "file": this program opens none`)
}

// A secret in a URI is refused, and the error doesn't repeat it.
func TestResolverRefusesSecrets(t *testing.T) {
	r := keys.Resolver{"memory": openerOf(generate(t), new(string))}
	for _, uri := range []string{
		"memory:token=x?pin-value=hunter2",
		"memory:token=x;pin-value=hunter2",
		"memory:pin-value=hunter2",
		"memory:token=x;pin_value=hunter2",
		"memory:token=x;pinvalue=hunter2",
		"memory:token=x;so-pin=hunter2",
		"memory:token=x?user_password=hunter2",
		"memory:/x?aws_secret_access_key=hunter2",
		"memory:token=x?module-path=/m&pin-value=hunter2",
		"memory:x?PIN-Value=hunter2",
		"memory:x?pin%2Dvalue=hunter2",
		"memory:x?pin=hunter2",
		"memory:/x?password=hunter2",
		"memory:/x?passwd=hunter2",
		"memory:/x?passphrase=hunter2",
		"memory:/x?secret=hunter2",
		"memory://user:hunter2@host/x",
		"memory://hunter2@host",
		"memory://hunter2@host?x=y",
	} {
		s, err := r.Open(t.Context(), uri, nil)
		require.ErrorContains(t, err, "belong in a URI", uri)
		require.NotContains(t, err.Error(), "hunter2")
		require.Nil(t, s)
	}
	// Nor does an error about something else.
	for _, uri := range []string{"hunter2", "memory:x?pin=hunter2 ", "memory:hunter2%", "9:hunter2", "file:x?pin-value=hunter2"} {
		_, err := r.Open(t.Context(), uri, nil)
		require.ErrorContains(t, err, "key URI: ")
		require.NotContains(t, err.Error(), "hunter2", uri)
	}
}

func TestFileOpener(t *testing.T) {
	s := generate(t)
	name := filepath.Join(t.TempDir(), "online key?.pem")
	require.NoError(t, keys.WriteFile(name, s, passphrase))
	escaped := strings.NewReplacer(" ", "%20", "?", "%3f").Replace(name)
	for _, uri := range []string{"file:" + escaped, "file://" + escaped} {
		var prompts []string
		r := keys.Resolver{"file": keys.FileOpener(asking(string(passphrase), &prompts))}
		opened, err := r.Open(t.Context(), uri, s.Public())
		require.NoError(t, err)
		require.Equal(t, []string{"Passphrase of key file " + name}, prompts)
		require.True(t, opened.Public().Same(s.Public()))
	}
	r := keys.Resolver{"file": keys.FileOpener(asking(string(passphrase), new([]string)))}
	opened, err := r.Open(t.Context(), "file:"+escaped, nil)
	require.NoError(t, err)
	keystest.TestSigner(t, func(*testing.T) keys.Signer { return opened })
}

func TestFileOpenerRefuses(t *testing.T) {
	s := generate(t)
	name := filepath.Join(t.TempDir(), "key")
	require.NoError(t, keys.WriteFile(name, s, passphrase))
	var prompts []string
	open := func(uri string, ask func(context.Context, string) ([]byte, error)) error {
		opened, err := keys.Resolver{"file": keys.FileOpener(ask)}.Open(t.Context(), uri, nil)
		require.Error(t, err, uri)
		require.Nil(t, opened, uri)
		return err
	}
	for uri, want := range map[string]string{
		"file:":              "must be absolute",
		"file:key":           "must be absolute",
		"file:./key":         "must be absolute",
		"file:~/key":         "must be absolute",
		"file://localhost/x": "files on other hosts can't be opened",
		"file://":            `must be followed by a third "/"`,
		"file:////x":         `begins with "//"`,
		"file:/x?y":          `written as %3F`,
		"file:/x%00":         "a control character",
		"file:/x%1b[2J":      "percent-encoded",
		"file:/x%1b%5b2J":    "a control character",
	} {
		require.ErrorContains(t, open(uri, asking("x", &prompts)), want)
	}
	// A file that isn't there: before anybody is asked.
	require.ErrorIs(t, open("file:"+name+".old", asking("x", &prompts)), fs.ErrNotExist)
	// What is no file could be waited for, or have no end.
	require.ErrorContains(t, open("file:"+filepath.Dir(name), asking("x", &prompts)), "is not a regular file")
	require.ErrorContains(t, open("file:/dev/zero", asking("x", &prompts)), "is not a regular file")
	require.Empty(t, prompts)

	err := open("file:"+name, asking("wrong horse", &prompts))
	require.ErrorIs(t, err, keys.ErrPassphrase)
	require.ErrorContains(t, err, name)
	require.ErrorContains(t, err, "give the one it was written with, or restore the file from a copy")
	require.NotContains(t, err.Error(), "wrong horse")
	require.ErrorContains(t, open("file:"+name, asking("", &prompts)), "the passphrase is empty")

	canceled := func(context.Context, string) ([]byte, error) { return nil, context.Canceled }
	err = open("file:"+name, canceled)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "passphrase of key file "+name)
}

func FuzzResolver(f *testing.F) {
	for _, uri := range []string{
		"file:/etc/bindery/online.key", "file:///etc/online%20key", "file://host/x", "memory:", "memory:a%2",
		"memory:token=bindery;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-value=1234",
		"memory://user@host/", "memory:x?p%69n=1", "MEMORY:x", "x",
	} {
		f.Add(uri)
	}
	s := generate(f)
	unasked := errors.New("not today")
	f.Fuzz(func(t *testing.T, uri string) {
		place := "not opened"
		r := keys.Resolver{
			"memory": openerOf(s, &place),
			"file":   keys.FileOpener(func(context.Context, string) ([]byte, error) { return nil, unasked }),
		}
		opened, err := r.Open(t.Context(), uri, nil)
		if err != nil {
			require.Nil(t, opened)
			for i, c := range []byte(err.Error()) {
				require.True(t, c >= ' ' && c != 0x7f, "byte %d of %q", i, err)
			}
			return
		}
		require.Equal(t, uri, "memory:"+place)
		for _, before := range []string{":", "?", "&", ";"} {
			require.NotContains(t, strings.ToLower(":"+place), before+"pin-value=")
		}
	})
}
