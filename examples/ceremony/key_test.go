package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func TestParsePlace(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	for s, want := range map[string]place{
		"ada.key":                  {"file:" + here + "/ada.key", "ada.key"},
		"./ada:old.key":            {"file:" + here + "/ada:old.key", "./ada:old.key"},
		"/keys/my key?%41#1.key":   {"file:/keys/my%20key%3F%2541%231.key", "/keys/my key?%41#1.key"},
		"/keys/Zoë.key":            {"file:/keys/Zo%C3%AB.key", "/keys/Zoë.key"},
		"c:/ada.key":               {"file:" + here + "/c:/ada.key", "c:/ada.key"},
		"file:/keys/my%20key":      {"file:/keys/my%20key", "/keys/my key"},
		"file:///keys/ada.key":     {"file:///keys/ada.key", "/keys/ada.key"},
		"sshagent:":                {"sshagent:", ""},
		"pkcs11:token=a;object=b":  {"pkcs11:token=a;object=b", ""},
		"PKCS11:token=a":           {"PKCS11:token=a", ""}, // refused later, and no file
		"awskms:arn:aws:kms:x:key": {"awskms:arn:aws:kms:x:key", ""},
	} {
		got, err := parsePlace(s)
		require.NoError(t, err)
		require.Equal(t, want, got, s)
	}
	_, err = parsePlace("file:/%zz")
	require.Error(t, err)
}

// A key file has one notebook, however it is named, and its own key.
func TestFileURI(t *testing.T) {
	s := asked(t)
	sign := func(more ...string) []string {
		return append(append([]string{"sign", "-confirm", s.digest().Groups()[0], "-passphrase-fd", "0"}, more...), s.request())
	}
	uri := "file://" + s.path("Ada.key")
	s.refuse("this is key ", "Ada\n", sign("-key", uri, "-card", s.card("Bob"))...)
	s.refuse("this is key ", "Ada\n", sign("-key", s.path("Ada.key"), "-card", s.card("Bob"))...)
	s.refuse("this file is a request, and a card is wanted", "Ada\n", sign("-key", uri, "-card", s.request())...)
	s.refuse("the path must be absolute", "Ada\n", sign("-key", "file:Ada.key")...)
	s.refuse("-key: invalid URL escape", "Ada\n", sign("-key", "file:/%zz")...)
	s.refuse("this program opens file:, pkcs11:, sshagent:", "", sign("-key", "awskms:arn", "-card", s.card("Ada"))...)
	s.refuse("scheme is a lower-case letter", "", sign("-key", "PKCS11:token=x", "-card", s.card("Ada"))...)
	before := s.files()
	s.run(done, "Ada\n", sign("-key", uri, "-card", s.card("Ada"), "-out", s.path("ada.json"))...)
	after := s.files()
	require.Len(t, after, len(before)+2)
	require.Contains(t, after, s.path("Ada.key.notebook.json"))
	require.Contains(t, after, s.path("ada.json"))
}

// The card of a key file that was lost is made again.
func TestCardOfFile(t *testing.T) {
	s := newStage(t)
	s.keygen("Ada")
	before, err := os.ReadFile(s.card("Ada"))
	require.NoError(t, err)
	card := s.path("again.json")
	args := func(name, file string) []string {
		return []string{"card", "-name", name, "-key", s.path("Ada.key"), "-passphrase-fd", "0", file}
	}
	s.refuse("no card was made: open key file:"+s.path("Ada.key")+": ", "wrong\n", args("Ada", card)...)
	s.refuse("no card was made: card: the name is empty", "Ada\n", args("", card)...)
	s.refuse(s.card("Ada")+" exists already", "Ada\n", args("Ada", s.card("Ada"))...)
	s.refuse("no such file or directory", "Ada\n", args("Ada", s.path("no/card.json"))...)
	s.refuse("name the key with -key, and one file for the card", "", "card", "-name", "Ada", card)
	s.refuse("name the key with -key, and one file for the card", "", "card", "-name", "Ada", "-key", s.path("Ada.key"))
	s.run(done, "Ada\n", args("Ada", card)...)
	after, err := os.ReadFile(card)
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))

	// A public key that was given is compared.
	h, err := readCard(s.card("Ada"))
	require.NoError(t, err)
	s.keygen("Bob")
	bob, err := readCard(s.card("Bob"))
	require.NoError(t, err)
	pemOf := func(h ceremony.Holder) string {
		block, _ := hex.DecodeString(h.Key.Value())
		der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(block))
		require.NoError(t, err)
		return s.write(h.Name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	}
	public := []string{"card", "-name", "Ada", "-key", s.path("Ada.key"), "-passphrase-fd", "0", "-public"}
	s.refuse(h.Key.ID()+", not "+bob.Key.ID(), "Ada\n", append(public, pemOf(bob), s.path("x.json"))...)
	s.refuse("no public key: a card, which has the holder's name in it", "Ada\n", append(public, s.card("Ada"), s.path("x.json"))...)
	s.run(done, "Ada\n", append(public, pemOf(h), s.path("x.json"))...)
}

func TestFileURIOfMachines(t *testing.T) {
	require.Equal(t, "file:/home/ada/a%20key%5C1", fileURI("linux", `/home/ada/a key\1`))
	require.Equal(t, "file:/C:/Users/Ada/a%20key", fileURI("windows", `C:\Users\Ada\a key`))
	require.Equal(t, "/C:/Users", fileName("linux", "/C:/Users"))
	require.Equal(t, "C:/Users", fileName("windows", "/C:/Users"))
}
