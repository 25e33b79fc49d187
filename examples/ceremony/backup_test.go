package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
)

// backedStage is a stage with a root 1 that is complete, a second one that one of two
// holders signed, and an age key.
func backedStage(t *testing.T) *stage {
	t.Helper()
	s := asked(t)
	s.merge("Ada", "Bob")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "A new year")
	response, _ := s.sign("Bob", "-trust-root", s.document("1.root"))
	s.run(incomplete, "", "merge", "-dir", s.path("repo"), response)
	identity, err := age.GenerateHybridIdentity()
	require.NoError(t, err)
	s.write("age.key", "# made for a test\n"+identity.String()+"\n")
	s.write("age.recipients", identity.Recipient().String()+"\n")
	return s
}

// tree is every file and folder below dir, with mode and content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		var data []byte
		if !d.IsDir() {
			data, err = os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
		}
		all[name] = info.Mode().String() + " " + string(data)
		return nil
	}))
	return all
}

// The whole folder comes back by a passphrase, and the ceremony that was open goes on
// in it as if nothing had happened.
func TestBackupOfEverything(t *testing.T) {
	s := backedStage(t)
	s.write("repo/documents/.ceremony-123", "left by a crash")
	screen, _ := s.run(done, "correct horse\n", "backup", "-dir", s.path("repo"), "-out", s.path("all.age"), "-passphrase-fd", "0")
	require.Contains(t, screen, "of       everything in a ceremony's folder")
	require.NoError(t, os.Remove(s.path("repo/documents/.ceremony-123")))
	before := tree(t, s.path("repo"))
	require.NoError(t, os.Rename(s.path("repo"), s.path("lost")))

	s.run(done, "correct horse\n", "restore", "-dir", s.path("repo"), "-passphrase-fd", "0", s.path("all.age"))
	require.Equal(t, before, tree(t, s.path("repo")))
	s.run(incomplete, "", "status", "-dir", s.path("repo"))
	p := s.merge("Ada")
	require.Equal(t, [][]string{{s.document("2.root")}}, p.Publish)
	s.verify(2)
}

// A publisher's archive has the finished documents and the keys named, and nothing of
// the holders.
func TestBackupOfOnlineParts(t *testing.T) {
	s := backedStage(t)
	s.run(done, "", "backup", "-online", "-dir", s.path("repo")+"/", "-out", s.path("online.age"),
		"-recipients", s.path("age.recipients"), s.path("web.key"), s.path("bins.key"))
	out, _ := s.run(done, "", "restore", "-json", "-dir", s.path("publisher")+"/", "-identity", s.path("age.key"), s.path("online.age"))
	var result struct{ Result backedUp }
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	want := []string{"names.json", "documents/1.bins.json", "documents/1.root.json", "documents/1.targets.json", "files/web.key", "files/bins.key"}
	require.Equal(t, want, result.Result.Files)
	require.Equal(t, "online", result.Result.Kind)
	require.Len(t, result.Result.Documents, 3)

	got := tree(t, s.path("publisher"))
	for _, name := range want[1:4] {
		require.Equal(t, tree(t, s.path("repo"))[name], got[name])
	}
	key, err := os.ReadFile(s.path("web.key"))
	require.NoError(t, err)
	require.Equal(t, "-rw------- "+string(key), got["files/web.key"])
	for name, content := range got {
		require.NotContains(t, content, "Ada", name)
	}
	s.run(done, "", "verify", "-dir", s.path("publisher"))

	// Of a folder that was restored, with its files, a backup can be made again; also
	// if it was unpacked by hand.
	s.write("publisher/"+archiveHead, headOfArchive)
	s.run(done, "", "backup", "-dir", s.path("publisher"), "-out", s.path("again.age"), "-recipients", s.path("age.recipients"), s.path("web.key"))
	s.run(done, "", "restore", "-dir", s.path("again"), "-identity", s.path("age.key"), s.path("again.age"))
	require.Equal(t, got, tree(t, s.path("again")))
}

// A holder has no ceremony's folder: a key and a notebook.
func TestBackupOfFiles(t *testing.T) {
	s := backedStage(t)
	require.NoError(t, os.Chmod(s.path("Bob.key"), 0o755), "as on a stick with FAT")
	s.run(done, "", "backup", "-out", s.path("bob.age"), "-recipients", s.path("age.recipients"), s.path("Bob.key"), s.path("Bob.key.notebook.json"))
	s.run(done, "", "restore", "-dir", s.path("bob"), "-identity", s.path("age.key"), s.path("bob.age"))
	require.NoError(t, os.Remove(s.path("Bob.key")))
	require.NoError(t, os.Rename(s.path("bob/files/Bob.key"), s.path("Bob.key")))
	s.sign("Bob", "-notebook", s.path("bob/files/Bob.key.notebook.json"))
	info, err := os.Stat(s.path("Bob.key"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

// A check says what is in an archive, and leaves nothing.
func TestRestoreCheck(t *testing.T) {
	s := backedStage(t)
	s.run(done, "", "backup", "-dir", s.path("repo"), "-out", s.path("all.age"), "-recipients", s.path("age.recipients"))
	t.Setenv("TMPDIR", s.dir)
	before := s.files()
	screen, _ := s.run(done, "", "restore", "-check", "-identity", s.path("age.key"), s.path("all.age"))
	require.Contains(t, screen, "THIS ARCHIVE CAN BE RESTORED")
	require.Contains(t, screen, "documents/1.root.json\n")
	require.Equal(t, before, s.files())
}

func TestBackupRefuses(t *testing.T) {
	s := backedStage(t)
	out, recipients := s.path("new.age"), s.path("age.recipients")
	s.write("not.recipients", "age1nobody\n")
	s.refuse("more than 67108864 bytes", "", "backup", "-out", out, "-recipients", recipients, s.write("large", strings.Repeat("x", maxFile+1)))
	require.NoError(t, os.Remove(s.path("large"))) // s.refuse reads all files
	require.NoError(t, os.Mkdir(s.path("other"), 0o755))
	s.write("other/web.key", "another")
	for _, test := range []struct {
		want, typed string
		args        []string
	}{
		{"with -out", "", []string{"-dir", s.path("repo")}},
		{"say which folder", "", []string{"-out", out}},
		{"-online is about a folder", "", []string{"-online", "-out", out, s.path("web.key")}},
		{"not both", "", []string{"-dir", s.path("repo"), "-out", out, "-recipients", recipients, "-passphrase-fd", "0"}},
		{"exists already", "", []string{"-dir", s.path("repo"), "-out", s.path("web.key"), "-recipients", recipients}},
		{"not.recipients: ", "", []string{"-dir", s.path("repo"), "-out", out, "-recipients", s.path("not.recipients")}},
		{"no such file", "", []string{"-dir", s.path("nowhere"), "-out", out, "-recipients", recipients}},
		{"no archive was made: the two passphrases differ", "one\ntwo\n", []string{"-dir", s.path("repo"), "-out", out}},
		{"no archive was made: nothing was typed", "\n", []string{"-dir", s.path("repo"), "-out", out, "-passphrase-fd", "0"}},
		{"no archive was made: nobody answered", "", []string{"-dir", s.path("repo"), "-out", out}},
		{"only files go into a backup", "", []string{"-out", out, "-recipients", recipients, s.path("repo")}},
		{"two different files would be files/web.key", "", []string{"-out", out, "-recipients", recipients, s.path("web.key"), s.path("other/web.key")}},
	} {
		s.refuse(test.want, test.typed, append([]string{"backup"}, test.args...)...)
	}

	// What would be lost, or can't be trusted, is no backup.
	all := []string{"backup", "-dir", s.path("repo"), "-out", out, "-recipients", recipients}
	require.NoError(t, os.Symlink("/etc/passwd", s.path("repo/link")))
	s.refuse("repo/link is a folder, a link or a device", "", all...)
	require.NoError(t, os.Remove(s.path("repo/link")))
	root, err := os.ReadFile(s.document("1.root"))
	require.NoError(t, err)
	s.write("repo/documents/1.root.json", strings.Replace(string(root), "2031", "2041", 1))
	s.refuse("no archive was made: ", "", all...)
	require.NoError(t, os.RemoveAll(s.path("repo/documents")))
	require.NoError(t, os.Mkdir(s.path("repo/documents"), 0o755))
	s.refuse("nothing for a publisher", "", append(all, "-online")...)
}

func TestRestoreRefuses(t *testing.T) {
	s := backedStage(t)
	byKey, byWord := s.path("key.age"), s.path("word.age")
	s.run(done, "", "backup", "-dir", s.path("repo"), "-out", byKey, "-recipients", s.path("age.recipients"))
	screen, _ := s.run(done, "word\n", "backup", "-out", byWord, "-passphrase-fd", "0", s.path("web.key"))
	require.Contains(t, strings.Join(strings.Fields(screen), " "), "has fewer than 8 characters")
	other, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	s.write("other.key", other.String())
	good, err := os.ReadFile(byKey)
	require.NoError(t, err)
	flipped := func(i int) string {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		return s.write("flipped.age", string(bad))
	}
	dir, identity := s.path("new"), s.path("age.key")
	for _, test := range []struct {
		want, typed string
		args        []string
	}{
		{"name one archive", "", []string{"-dir", dir}},
		{"or only try the archive", "", []string{byKey}},
		{"or only try the archive", "", []string{"-check", "-dir", dir, byKey}},
		{"not both", "", []string{"-dir", dir, "-identity", identity, "-passphrase-fd", "0", byKey}},
		{"repo exists already", "", []string{"-dir", s.path("repo"), "-identity", identity, byKey}},
		{"no such file", "", []string{"-dir", dir, "-identity", identity, s.path("nothing.age")}},
		{"no key in " + s.path("other.key") + " opens this archive", "", []string{"-dir", dir, "-identity", s.path("other.key"), byKey}},
		{"keys open this archive, and no passphrase", "", []string{"-dir", dir, byKey}},
		{"a passphrase opens this archive, and no key", "", []string{"-dir", dir, "-identity", identity, byWord}},
		{"nothing was restored: the passphrase is wrong", "wrong\n", []string{"-dir", dir, "-passphrase-fd", "0", byWord}},
		{"nothing was restored: nobody answered", "", []string{"-dir", dir, byWord}},
		{"age.recipients: ", "", []string{"-dir", dir, "-identity", s.path("age.recipients"), byKey}},
		{"it doesn't begin as an age file does", "", []string{"-dir", dir, "-identity", identity, s.path("web.key")}},
	} {
		s.refuse(test.want, test.typed, append([]string{"restore"}, test.args...)...)
	}
	for _, damaged := range []func() string{
		func() string { return s.write("cut.age", string(good[:len(good)-1])) },
		func() string { return s.write("cut.age", string(good[:len(good)/2])) },
		func() string { return s.write("cut.age", string(good[:100])) },
		func() string { return s.write("longer.age", string(good)+"x") },
		func() string { return flipped(len(good) - 1) },
		func() string { return flipped(len(good) / 2) },
		func() string { return flipped(bytes.Index(good, []byte("\n--- ")) + 10) },
	} {
		s.refuse("nothing was restored: "+errAltered.Error(), "", "restore", "-dir", dir, "-identity", identity, damaged())
	}
	// An archive that would need gigabytes of memory to open, from somebody else.
	word, err := os.ReadFile(byWord)
	require.NoError(t, err)
	greedy := strings.Replace(string(word), " 18\n", " 21\n", 1)
	require.NotEqual(t, string(word), greedy)
	s.refuse("scrypt work factor too large: 21", "word\n", "restore", "-dir", dir, "-passphrase-fd", "0", s.write("greedy.age", greedy))
	s.nothingLeft()
}

// What is inside a good age file is judged as well: whoever has the public key can
// make one.
func TestRestoreJudgesContents(t *testing.T) {
	s := backedStage(t)
	recipients := secrecy{keysFile: s.path("age.recipients")}
	lock := func(a archive) string {
		packed, err := a.pack()
		require.NoError(t, err)
		file, err := recipients.encrypt(t.Context(), nil, packed)
		require.NoError(t, err)
		return s.write("made.age", string(file))
	}
	whole, _, err := (&app{clock: s.clock}).collect(s.path("repo"), false, nil)
	require.NoError(t, err)
	altered := whole
	altered.entries = append([]entry(nil), whole.entries...)
	for i, e := range altered.entries {
		if e.name == "documents/1.targets.json" {
			altered.entries[i].data = bytes.Replace(e.data, []byte("2031"), []byte("2041"), 1)
		}
	}
	for want, a := range map[string]archive{
		"targets version 1 under root version 1: ": altered,
		"names.json: no such file":                 {kind: kindOnline, made: testNow},
		`"../a" is no name for a file`:             {kind: kindFiles, made: testNow, entries: []entry{{name: "../a"}}},
		"a: file exists":                           {kind: kindFiles, made: testNow, entries: []entry{{name: "a"}, {name: "a/b"}}},
	} {
		s.refuse(want, "", "restore", "-dir", s.path("new"), "-identity", s.path("age.key"), lock(a))
	}
	s.nothingLeft()
}

// nothingLeft makes sure that there are no temporary folders.
func (s *stage) nothingLeft() {
	s.t.Helper()
	for name := range tree(s.t, s.dir) {
		require.NotContains(s.t, name, tempPrefix)
	}
}

// An interrupt, whenever it comes, leaves nothing.
func TestBackupInterrupted(t *testing.T) {
	s := backedStage(t)
	s.run(done, "", "backup", "-dir", s.path("repo"), "-out", s.path("all.age"), "-recipients", s.path("age.recipients"))
	before := s.files()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, args := range [][]string{
		{"backup", "-dir", s.path("repo"), "-out", s.path("new.age"), "-recipients", s.path("age.recipients")},
		{"backup", "-dir", s.path("repo"), "-out", s.path("new.age")},
		{"restore", "-dir", s.path("new"), "-identity", s.path("age.key"), s.path("all.age")},
	} {
		var out, errs bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &errs, clock: s.clock}
		require.Equal(t, refused, a.run(ctx, args))
		require.Contains(t, errs.String(), "interrupted: ")
		require.Equal(t, before, s.files())
		s.nothingLeft()
	}
}
