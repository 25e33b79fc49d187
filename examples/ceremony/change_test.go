package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Each of root, targets and bins can be good for a time of its own.
func TestLifetimes(t *testing.T) {
	s := newStage(t)
	s.keygen("Ada", "web")
	args := []string{"init", "-dir", s.path("repo"), "-bins", "4", "-holder", s.card("Ada"), "-online", s.card("web")}
	for _, name := range []string{"-days", "-root-days", "-targets-days", "-bins-days"} {
		s.refuse(name+" 3000000: it must be at most 36500, a hundred years", "", append(args, name, "3000000")...)
		s.refuse(name+" must be at least 1", "", append(args, name, "-1")...)
	}
	s.refuse("-days 365: the document would be good beyond the year 9999", "", append(args, "-now", "9999-06-01T12:00:00Z")...)
	expiries := func() map[string]string {
		r, err := readRequest(s.request())
		require.NoError(t, err)
		all := map[string]string{}
		for _, step := range r.Steps() {
			all[step.Role] = step.Expires.Format(time.DateOnly)
		}
		return all
	}
	s.run(done, "", append(args, "-days", "100", "-root-days", "365", "-bins-days", "28")...)
	require.Equal(t, map[string]string{"root": "2031-01-31", "targets": "2030-05-11", "bins": "2030-02-28"}, expiries())
	s.merge("Ada")
	request := []string{"request", "-dir", s.path("repo"), "-reason", "x"}
	s.refuse("new targets and bins are signed by new one-time keys: add -new-one-time 2", "", append(request, "-bins-days", "28")...)
	s.refuse("-days 36501: it must be at most 36500", "", append(request, "-days", "36501")...)
	s.run(done, "", append(request, "-new-one-time", "2", "-targets-days", "28", "-root-days", "10")...)
	require.Equal(t, map[string]string{"root": "2030-02-10", "targets": "2030-02-28", "bins": "2031-01-31"}, expiries())
}

// Who isn't there is answered with who is.
func TestFindListsWhoIsThere(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	shown := func(names ...string) string {
		var all []string
		for _, name := range names {
			h, err := readCard(s.card(name))
			require.NoError(t, err)
			all = append(all, name+" ("+h.Key.ID()[:8]+")")
		}
		return strings.Join(all, ", ")
	}
	request := []string{"request", "-dir", s.path("repo"), "-reason", "x", "-lower", "root", "-threshold", "1"}
	s.refuse(`-replace: nobody there is "Zoe": name one of `+shown("Ada", "Bob", "Cleo")+", or give the first eight digits of the key ID", "",
		append(request, "-replace", "Zoe="+s.card("Ada"))...)
	s.refuse(`-remove: nobody there is "web": name one of `+shown("Ada", "Bob", "Cleo"), "", append(request, "-remove", "web")...)
	s.refuse(`-drop-online: nobody there is "Ada": name one of `+shown("web"), "", append(request, "-drop-online", "Ada")...)
	screen, _ := s.run(done, "", append(request, "-remove", shown("Cleo"))...)
	require.Regexp(t, `root +key removed +[0-9a-f ]+Cleo`, screen)
}

// foreignFolder is a folder that was taken over from another program, of which Ada and Bob hold
// keys, and Perla one that Bindery can't use. change may alter the signed parts.
func (s *stage) foreignFolder(change func(name, signed string) string) (perla string) {
	s.t.Helper()
	t := s.t
	s.keygen("Ada", "Bob", "web", "bins")
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	value := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	perla = fmt.Sprintf("%x", sha256.Sum256([]byte(`{"keytype":"ecdsa","keyval":{"public":"`+value+`"},"scheme":"ecdsa-sha2-nistp384"}`)))
	quoted, err := json.Marshal(value)
	require.NoError(t, err)
	listed := map[string]json.RawMessage{perla: json.RawMessage(`{"keytype":"ecdsa","scheme":"ecdsa-sha2-nistp384","keyval":{"public":` + string(quoted) + `}}`)}
	signers := map[string]keys.Signer{}
	ids := map[string]string{}
	for _, name := range []string{"Ada", "Bob", "web", "bins"} {
		data, err := os.ReadFile(s.path(name + ".key"))
		require.NoError(t, err)
		if name == "Ada" { // whose file is encrypted
			s.run(done, "Ada\n", "card", "-name", "Ada", "-key", s.path("Ada.key"), "-passphrase-fd", "0", s.path("again.json"))
		}
		signers[name] = readKeys[string(data)+"\x00"+name]
		k := signers[name].Public()
		ids[name] = k.ID()
		listed[k.ID()] = json.RawMessage(`{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"` + k.Value() + `"},"x-owner":"@` + name + `"}`)
	}
	object := func(names ...string) string {
		some := map[string]json.RawMessage{}
		for _, id := range names {
			some[id] = listed[id]
		}
		data, err := json.Marshal(some)
		require.NoError(t, err)
		return string(data)
	}
	require.NoError(t, os.Mkdir(s.path("metadata"), 0o700))
	write := func(name, signed string) {
		signed = change(name, signed)
		if signed == "" {
			return
		}
		file := `{"signatures":[],"signed":` + signed + `}`
		if name == "1.root" {
			file = signAs[metadata.RootType](t, file, signers["Ada"], signers["Bob"])
		} else {
			file = signAs[metadata.TargetsType](t, file, signers["Ada"], signers["Bob"])
		}
		s.write("metadata/"+name+".json", file)
	}
	head := `"spec_version":"1.0.31","version":1,"expires":"2031-01-31T00:00:00Z"`
	holders := fmt.Sprintf(`{"keyids":["%s","%s","%s"],"threshold":2}`, ids["Ada"], ids["Bob"], perla)
	two := fmt.Sprintf(`{"keyids":["%s","%s"],"threshold":2}`, ids["Ada"], ids["Bob"])
	write("1.root", `{"_type":"root",`+head+`,"consistent_snapshot":true,"keys":`+object(ids["Ada"], ids["Bob"], ids["web"], perla)+
		`,"roles":{"root":`+holders+`,"targets":`+two+fmt.Sprintf(`,"snapshot":{"keyids":["%s"],"threshold":1},"timestamp":{"keyids":["%s","%s"],"threshold":1}}}`,
		ids["web"], ids["web"], perla))
	write("1.targets", `{"_type":"targets",`+head+`,"targets":{},"delegations":{"keys":`+object(ids["Ada"], ids["Bob"])+
		`,"roles":[{"name":"bins","terminating":true,"path_hash_prefixes":[""],`+two[1:]+`]}}`)
	write("1.bins", `{"_type":"targets",`+head+`,"x-custom":7,"targets":{},"delegations":{"keys":`+object(ids["bins"], perla)+
		fmt.Sprintf(`,"succinct_roles":{"bit_length":2,"name_prefix":"bins","keyids":["%s","%s"],"threshold":1}}}`, ids["bins"], perla))
	return perla
}

func signAs[T roles.Type](t *testing.T, file string, signers ...keys.Signer) string {
	t.Helper()
	d, err := roles.Parse[T]([]byte(file))
	require.NoError(t, err)
	for _, signer := range signers {
		d, err = d.Sign(t.Context(), signer)
		require.NoError(t, err)
	}
	return string(d.Bytes())
}

func (s *stage) takeOver() (screen string) {
	s.t.Helper()
	screen, _ = s.run(done, "", "init", "-dir", s.path("repo"), "-from", s.path("metadata"), "-holder", s.card("Ada"), "-holder", s.card("Bob"), "-online", s.card("web"))
	return screen
}

// flat is a text without its lines.
func flat(text string) string { return strings.Join(strings.Fields(text), " ") }

// A key that Bindery can't use goes when somebody says so, by its ID, and not before.
func TestAKeyThatBinderyCannotUse(t *testing.T) {
	s := newStage(t)
	perla := s.foreignFolder(func(_, signed string) string { return signed })
	screen := s.takeOver()
	require.Contains(t, flat(screen), "holds 1 root, targets and bins of ")
	require.Contains(t, flat(screen), "BEWARE: the next root can't list key "+perla[:8]+` (root, timestamp), because not all clients can verify it: public key "`+perla+`": unsupported kind of key: keytype "ecdsa", scheme "ecdsa-sha2-nistp384"`)
	request := func(more ...string) []string {
		return append([]string{"request", "-dir", s.path("repo"), "-reason", "renewal"}, more...)
	}
	_, errs := s.run(refused, "", request()...)
	require.Contains(t, flat(errs), "root: key "+perla[:8]+` public key "`+perla+`": unsupported kind of key`)
	s.refuse("To go on without them, give -remove KEYID, or -replace KEYID=CARD, for each:", "", request()...)
	s.refuse("give -drop-online KEYID for each:", "", request("-remove", perla[:8])...)
	renew := request("-remove", perla[:8], "-drop-online", perla)
	s.refuse("give -drop-online-bins KEYID for each:", "", append(renew, "-new-one-time", "2")...)
	screen, _ = s.run(done, "", append(renew, "-new-one-time", "2", "-drop-online-bins", perla)...)
	require.Contains(t, flat(screen), "BEWARE: key "+perla[:8]+" has no say any more (root, timestamp), because not all clients can verify it")
	require.NotContains(t, screen, "x-custom")

	notebook := s.path("notebook")
	var responses []string
	for _, name := range []string{"Ada", "Bob"} {
		response, _ := s.sign(name, "-trust-root", s.path("metadata/1.root.json"), "-no-notebook", "-notebook", notebook+name)
		responses = append(responses, response)
	}
	s.run(done, "", append([]string{"merge", "-dir", s.path("repo")}, responses...)...)
	s.verify(3)
	for _, name := range []string{"3.root", "2.bins"} {
		data, err := os.ReadFile(s.document(name))
		require.NoError(t, err)
		require.NotContains(t, string(data), perla)
		require.Contains(t, string(data), `"x-owner":"@`)
	}
	bins, err := os.ReadFile(s.document("2.bins"))
	require.NoError(t, err)
	require.Contains(t, string(bins), `"x-custom":7`)
}

// A repository without bins gets its first ones.
func TestFirstBins(t *testing.T) {
	s := newStage(t)
	perla := s.foreignFolder(func(name, signed string) string {
		switch name {
		case "1.bins":
			return ""
		case "1.targets":
			return `{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2031-01-31T00:00:00Z","targets":{"a.whl":{"length":1,"hashes":{"sha256":"ab"}}}}`
		}
		return signed
	})
	require.Contains(t, flat(s.takeOver()), "holds 1 root and targets, and no bins, of ")
	request := func(more ...string) []string {
		return append([]string{"request", "-dir", s.path("repo"), "-reason", "bins", "-remove", perla, "-drop-online", perla}, more...)
	}
	s.refuse("add -new-one-time 2", "", request("-first-bins", "4")...)
	s.refuse("has no bins. The first ones are made with: -first-bins 16384 -add-online-bins CARD", "", request("-new-one-time", "2")...)
	first := request("-new-one-time", "2", "-first-bins", "4", "-add-online-bins", s.card("bins"))
	s.refuse("targets version 1 lists files (1) or delegates to other roles (0).", "", first...)
	first = append(first, "-empty-targets")
	s.refuse("3 bins: not a power of two", "", append(first, "-first-bins", "3")...)
	s.refuse(`-form "other": it can be succinct or explicit`, "", append(first, "-form", "other")...)
	screen, _ := s.run(done, "", append(first, "-prefix", "bin", "-form", "explicit")...)
	require.Contains(t, flat(screen), "4 bins, bin-0 to bin-3 (explicit)")
	var responses []string
	for _, name := range []string{"Ada", "Bob"} {
		response, _ := s.sign(name, "-trust-root", s.path("metadata/1.root.json"), "-no-notebook")
		responses = append(responses, response)
	}
	s.run(done, "", append([]string{"merge", "-dir", s.path("repo")}, responses...)...)
	s.run(done, "", "verify", "-dir", s.path("repo"))
	s.refuse("-first-bins: "+s.path("repo/documents")+" has bins already", "", "request", "-dir", s.path("repo"), "-reason", "x", "-new-one-time", "2", "-first-bins", "4")
	// Without the newest documents nothing follows.
	require.NoError(t, os.Remove(s.document("1.bins")))
	s.refuse("targets version 2 delegates to bins, and "+s.path("repo/documents")+" has none", "", "request", "-dir", s.path("repo"), "-reason", "x", "-new-one-time", "2")
	require.NoError(t, os.Remove(s.document("2.targets")))
	require.NoError(t, os.Remove(s.document("1.targets")))
	s.refuse("has no targets to follow", "", "request", "-dir", s.path("repo"), "-reason", "x", "-new-one-time", "2")
}
