package dirjournal

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// files returns what the journal's directory holds, by name.
func (d *simDisk) files() map[string]string {
	all := map[string]string{}
	for name, data := range d.Files() {
		all[filepath.Base(name)] = string(data)
	}
	return all
}

// restore returns a disk with a journal of these files.
func restore(all map[string]string) *simDisk {
	d := newSimDisk()
	d.Put("/journal", nil)
	for name, data := range all {
		d.Put("/journal/"+name, []byte(data))
	}
	return d
}

// journalOf makes a journal of steps, closes it, and returns its files.
func journalOf(t *testing.T, steps ...step) map[string]string {
	t.Helper()
	d, p := journalAfter(t, steps...)
	require.NoError(t, p.j.Close())
	return d.files()
}

// killed is journalOf of a process that was killed.
func killed(t *testing.T, steps ...step) map[string]string {
	t.Helper()
	d, p := journalAfter(t, steps...)
	d.Kill()
	require.Error(t, p.j.Close())
	return d.files()
}

func journalAfter(t *testing.T, steps ...step) (*simDisk, *process) {
	t.Helper()
	d := newSimDisk()
	j, err := createOn(d, "/journal")
	require.NoError(t, err)
	p := &process{j: j, open: func() (repository.Journal, error) { return openOn(d, "/journal") }}
	for _, s := range steps {
		require.NoError(t, s(p))
	}
	return d, p
}

// pending opens a journal and returns the IDs of the pending items.
func pending(t *testing.T, d *simDisk) ([]string, error) {
	t.Helper()
	return pendingOf(t, func() (*Journal, error) { return openOn(d, "/journal") })
}

func pendingIn(t *testing.T, dir string) ([]string, error) {
	t.Helper()
	return pendingOf(t, func() (*Journal, error) { return Open(dir) })
}

func pendingOf(t *testing.T, open func() (*Journal, error)) ([]string, error) {
	t.Helper()
	j, err := open()
	if err != nil {
		return nil, err
	}
	defer j.Close()
	items, err := leaderOf(t, j).Pending(t.Context(), 1000, 1<<30)
	require.NoError(t, err)
	ids := []string{}
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids, nil
}

const second = "000000000002.seg" // where a journal is written that was created and not reopened

// TestTornTail cuts the last segment at every byte, and fills what was cut with
// zeros, as a file system may: what is whole before the cut is there, and the rest
// is gone.
func TestTornTail(t *testing.T) {
	all := killed(t, enqueue("a"), enqueue("b"), enqueue("c", "d"))
	data := all[second]
	c, err := parseSegment([]byte(data), 2)
	require.NoError(t, err)
	require.Len(t, c.frames, 3)
	whole := [][]string{{}, {"a"}, {"a", "b"}, {"a", "b", "c", "d"}}

	for cut := headerSize; cut <= len(data); cut++ {
		want := whole[0]
		for i, offset := range append(c.offsets[1:], len(data)) {
			if cut >= offset {
				want = whole[i+1]
			}
		}
		for _, rest := range []int{0, len(data) - cut, 5000} {
			all[second] = data[:cut] + string(make([]byte, rest))
			d := restore(all)
			for range 3 { // and opening it again finds the same
				got, err := pending(t, d)
				require.NoError(t, err, "cut at %d", cut)
				require.Equal(t, want, got, "cut at %d", cut)
			}
			if cut+rest > headerSize { // with nothing in it, it may be replaced
				require.Equal(t, all[second], d.files()[second], "segments are never changed")
			}
		}
	}
	for cut := range headerSize {
		all[second] = data[:cut]
		d := restore(all)
		_, err := pending(t, d)
		require.ErrorContains(t, err, "segment "+second+": the file ends in its header", "cut at %d", cut)
		require.Equal(t, all, d.files())
	}
}

// TestFlippedBit alters each byte of the journal, one at a time. In the frame that a
// process wrote last that was killed it can't be told from a torn write, and Cut says where
// it was; anywhere else the error names the place, and nothing is changed. In the mark of a
// close it does no harm.
func TestFlippedBit(t *testing.T) {
	steps := []step{enqueue("a"), enqueue("b"), reopen, enqueue("c"), enqueue("d")}
	testFlippedBit(t, killed(t, steps...), "a", "b", "c")
	testFlippedBit(t, journalOf(t, steps...), "a", "b", "c", "d")
}

func testFlippedBit(t *testing.T, all map[string]string, without ...string) {
	require.Equal(t, []string{"000000000001.seg", second, "000000000003.seg", "lock"}, slices.Sorted(maps.Keys(all)))
	for _, name := range []string{"000000000001.seg", second, "000000000003.seg"} {
		data := all[name]
		var number uint64
		fmt.Sscanf(name, "%d", &number)
		c, err := parseSegment([]byte(data), number)
		require.NoError(t, err)
		for at := range len(data) {
			altered := maps.Clone(all)
			b := []byte(data)
			b[at] ^= 0x10
			altered[name] = string(b)
			d := restore(altered)
			got, err := pending(t, d)
			n := len(c.offsets)
			switch {
			case n > 0 && at >= c.offsets[n-1] && number == 3:
				require.NoError(t, err)
				require.Equal(t, without, got)
				d = restore(altered)
				j, err := openOn(d, "/journal")
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("segment 000000000003.seg: the last %d bytes, from offset %d on, are not a whole frame %d",
					len(data)-c.offsets[n-1], c.offsets[n-1], c.frames[n-1].seq), j.Cut())
				require.NoError(t, j.Close())
				continue
			case n > 0 && at >= c.offsets[n-1] && number == 2: // the next segment has a copy
				require.NoError(t, err)
				require.Equal(t, []string{"a", "b", "c", "d"}, got)
				continue
			}
			require.Error(t, err, "%s, byte %d", name, at)
			require.ErrorContains(t, err, "segment "+name, "byte %d", at)
			if at >= headerSize {
				i := 0
				for i+1 < n && at >= c.offsets[i+1] {
					i++
				}
				require.ErrorContains(t, err, fmt.Sprintf("offset %d, sequence %d: a frame is damaged", c.offsets[i], c.frames[i].seq))
			}
			require.Equal(t, altered, d.files(), "%s, byte %d", name, at)
		}
	}
}

func TestMissingSegments(t *testing.T) {
	all := journalOf(t, enqueue("a"), enqueue("b"), reopen, enqueue("c"), enqueue("d"), reopen, enqueue("e"))
	for _, test := range []struct{ name, want string }{
		{"000000000001.seg", "segment 000000000001.seg: it is missing"},
		{second, "segment 000000000001.seg: offset 64, sequence 1: it ends here, and segment 000000000003.seg goes on with frame 3"},
		{"000000000003.seg", "segment 000000000002.seg: offset 487, sequence 4: it ends here, and segment 000000000004.seg goes on with frame 6"},
	} {
		left := maps.Clone(all)
		delete(left, test.name)
		d := restore(left)
		_, err := openOn(d, "/journal")
		require.ErrorContains(t, err, test.want)
		require.ErrorContains(t, err, "put a copy of that segment from a backup or an archive in its place. If there is none, move the journal away")
		require.Equal(t, left, d.files())
	}
}

// TestOlderCopy: one segment was restored from a backup made before the others
// were written, or from another journal.
func TestOlderCopy(t *testing.T) {
	restarted := func(a, b, c string) map[string]string {
		all := killed(t, enqueue(a), enqueue(b))
		for _, steps := range [][]step{{enqueue(c)}, {takeOver}} {
			d := restore(all)
			p := &process{open: func() (repository.Journal, error) { return openOn(d, "/journal") }}
			require.NoError(t, reopen(p))
			for _, s := range steps {
				require.NoError(t, s(p))
			}
			d.Kill()
			require.Error(t, p.j.Close())
			all = d.files()
		}
		return all
	}
	all, other := restarted("a", "b", "c"), restarted("A", "B", "C")
	require.Len(t, all, 6)
	for _, test := range []struct {
		name, data, want string
	}{
		{second, other[second], "segment 000000000003.seg: offset 64, sequence 2: not a copy of the last frame"},
		{"000000000003.seg", other["000000000003.seg"], "segment 000000000003.seg: offset 64, sequence 2: not a copy of the last frame"},
		{"000000000003.seg", all["000000000004.seg"], "segment 000000000003.seg: its header says segment 4"},
		{"000000000003.seg", all["000000000003.seg"][:200], "segment 000000000003.seg: 200 bytes, and at least 263 were durable: the file was cut"},
		{"000000000004.seg", all["000000000004.seg"][:200], "segment 000000000004.seg: 200 bytes, and at least 263 were durable: the file was cut"},
		{second, all[second] + all[second][headerSize:], "segment 000000000002.seg: offset 462: frame 1 where frame 3 should be"},
	} {
		altered := maps.Clone(all)
		altered[test.name] = test.data
		d := restore(altered)
		_, err := openOn(d, "/journal")
		require.ErrorContains(t, err, test.want)
		require.Equal(t, altered, d.files())
	}
}

// TestStrangeParts: bytes that are whole and mean nothing to this version are an
// error, not something to skip.
func TestStrangeParts(t *testing.T) {
	good := `e {"id":"a","accepted":"2026-05-17T12:00:00Z","size":3}` + "\n\n\n\n\n"
	outcome := `o {"id":"a","digest":"` + ledger.Entry{}.Digest() + `","state":"published"}` + "\n"
	for payload, want := range map[string]string{
		"x {}\n":                                 `part 1: written by a newer version of Bindery, which must be used: unknown kind 'x'`,
		"e\n":                                    "part 1: malformed",
		"e {}":                                   "part 1: malformed",
		"e {}\n":                                 `part 1: entry: item: no ID`,
		"e {\"id\":\"a\",\"size\":1}\nx":         `part 1: item "a": malformed`,
		"e {\"id\":\"a\",\"size\":1}\nxx":        `part 1: item "a": malformed`,
		"e {\"id\":\"a\",\"size\":-1}\n\n":       `part 1: item "a": malformed`,
		"e {\"id\":\"a\"}\nx\n":                  `part 1: item "a": malformed`,
		"e {\"id\":\"a b\"}\n\n":                 `part 1: entry: item: ID "a b": not printable ASCII`,
		good + good:                              `part 2: item "a": appears twice`,
		good + "\n":                              "part 2: malformed",
		good + "e {\"id\":1}\n\n":                `part 2: entry: json`,
		"e {\"id\":\"a\"} {}\n\n":                `part 1: entry: trailing data after JSON value`,
		"e {\"id\":\"a\",\"since\":1}\n\n":       `part 1: entry: written by a newer version of Bindery, which must be used: json: unknown field "since"`,
		"r 02\n{}\n":                             "part 1: malformed",
		"r +2\n{}\n":                             "part 1: malformed",
		"r -1\n{}\n":                             "part 1: record: malformed",
		"r 3\n{}\n":                              "part 1: record: malformed",
		"r 1\n{}\n":                              "part 1: record: malformed",
		"r 2\n{}\n":                              `part 1:  record of generation 0: written by a newer version of Bindery, which must be used: unknown kind ""`,
		"r 13\n{\"epoch\":\"x\"}\n":              "part 1: record: json",
		"z \n":                                   "part 1: malformed",
		"z closed\nz closed\n":                   "part 1: malformed",
		good + "z closed\n":                      "part 2: malformed",
		"r 99999999999999999999\n{}\n":           "part 1: malformed",
		strings.Replace(outcome, `"a"`, `""`, 1): `part 1: outcome of item "": appears twice, or has no ID`,
		strings.Replace(outcome, "published", "lost", 1): `part 1: outcome: item "a": written by a newer version of Bindery, which must be used: unknown state "lost"`,
		strings.Replace(outcome, `:"e3`, `:"E3`, 1):      `part 1: outcome: item "a": the digest "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" is no SHA-256 in lower-case hexadecimal`,
		"o {\"id\":\"a\",\"since\":1}\n":                 `part 1: outcome: written by a newer version of Bindery, which must be used: json: unknown field "since"`,
		outcome + outcome:                                `part 2: outcome of item "a": appears twice`,
		"p " + good[2:] + outcome:                        `part 2: outcome of item "a": appears twice`,
		outcome:                                          "no checkpoint in this frame",
	} {
		d := restore(journalOf(t))
		base := uint64(1)
		if strings.ContainsAny(payload[:1], "op") || strings.Contains(payload, outcome) {
			base = 3 // where a frame with a checkpoint is
		}
		h := header{number: 3, first: 1, base: base, synced: headerSize}
		d.Put("/journal/"+segmentName(3), h.appendFrame(h.encode(), frame{1, []byte(payload)}))
		before := d.files()
		_, err := openOn(d, "/journal")
		require.ErrorContains(t, err, "segment 000000000003.seg: offset 64, sequence 1: "+want, "%q", payload)
		require.NotErrorIs(t, err, fs.ErrNotExist)
		require.Equal(t, before, d.files())
	}
}
