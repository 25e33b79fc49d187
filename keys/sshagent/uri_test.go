package sshagent_test

import (
	"context"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/sshagent"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

func TestOpener(t *testing.T) {
	private, public, sshPublic := newKey(t)
	socket := serveAgent(t, keyring(t, private))
	fingerprint := ssh.FingerprintSHA256(sshPublic)
	escaped := strings.NewReplacer("/", "%2F", "+", "%2b").Replace(fingerprint)
	for _, c := range []struct {
		configured, uri string
		public          *keys.PublicKey
	}{
		{socket, "sshagent:", public},
		{"/nowhere", "sshagent:" + socket, public},
		{"", "sshagent:" + strings.Replace(socket, "agent", "%61gent", 1), public},
		{socket, "sshagent:?key=" + fingerprint, nil},
		{"", "sshagent:" + socket + "?key=" + escaped, nil},
		{"", "sshagent:" + socket + "?key=" + fingerprint, public},
	} {
		r := keys.Resolver{"sshagent": sshagent.Opener(sshagent.Config{Socket: c.configured})}
		s, err := r.Open(t.Context(), c.uri, c.public)
		require.NoError(t, err, c.uri)
		require.Equal(t, public.ID(), s.Public().ID())
		sig, err := s.Sign(t.Context(), []byte("message"))
		require.NoError(t, err)
		require.NoError(t, public.Verify([]byte("message"), sig))
	}
}

func TestOpenerRefuses(t *testing.T) {
	private, _, sshPublic := newKey(t)
	_, other, _ := newKey(t)
	socket := serveAgent(t, keyring(t, private))
	r := keys.Resolver{"sshagent": sshagent.Opener(sshagent.Config{Socket: socket})}
	for uri, want := range map[string]string{
		"sshagent:":                  "neither the public key nor its fingerprint",
		"sshagent:agent.sock":        "must be absolute",
		"sshagent://host/agent.sock": `begins with "//"`,
		"sshagent:/a%00":             "a control character",
		"sshagent:?":                 `byte 1: the "?" must be followed by "key="`,
		"sshagent:/a?fingerprint=x":  `byte 3: the "?" must`,
		"sshagent:?key=":             `key: it must be "SHA256:" and 43`,
		"sshagent:?key=MD5:00:11":    `key: it must be "SHA256:" and 43`,
		"sshagent:?key=SHA256:%0a":   `key: it must be "SHA256:" and 43`,
		"sshagent:?key=SHA256:" + strings.Repeat("A", 44):              `key: it must be "SHA256:" and 43`,
		"sshagent:?key=" + ssh.FingerprintSHA256(sshPublic) + "&key=x": `key: it must be "SHA256:" and 43`,
	} {
		s, err := r.Open(t.Context(), uri, nil)
		require.ErrorContains(t, err, want, uri)
		require.Nil(t, s)
	}
	_, err := r.Open(t.Context(), "sshagent:", other)
	require.ErrorIs(t, err, keys.ErrUnusable)
}

func FuzzOpener(f *testing.F) {
	for _, place := range []string{
		"", "/run/user/1000/agent.sock", "/a%20b", "?key=SHA256:" + strings.Repeat("A", 43), "/a?key=SHA256:%2f", "//a", "a", "?key",
	} {
		f.Add(place)
	}
	ended, cancel := context.WithCancel(f.Context())
	cancel()
	// With a context at its end no socket is touched.
	r := keys.Resolver{"sshagent": sshagent.Opener(sshagent.Config{Socket: "/nowhere"})}
	f.Fuzz(func(t *testing.T, place string) {
		s, err := r.Open(ended, "sshagent:"+place, nil)
		require.Error(t, err)
		require.Nil(t, s)
		for i, c := range []byte(err.Error()) {
			require.True(t, c >= ' ' && c != 0x7f, "byte %d of %q", i, err)
		}
	})
}
