package dirjournal

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"time"
)

// Outcomes before the newest ones are in files: see the package comment. In memory is, of each, a part of the
// hash of its ID, so that nearly every new ID is known to be new without a look at the disk.

const (
	olderMagic   = "bndryout"
	olderVersion = 1
	olderHead    = 24
	olderTmp     = "outcomes.tmp" // such a file that has no name yet

	// keepFor is how long a file of outcomes is kept after its newest one was decided: the 7 days that
	// are promised, and one more, because a copy of the journal may have been begun a day before the file went.
	keepFor = RememberFor + 24*time.Hour
)

// RememberFor is how long a journal remembers every outcome, by the times of the publisher's records, even
// if it isn't among the newest Remembered.
const RememberFor = 7 * 24 * time.Hour

// olderFile is a file of outcomes, as a checkpoint lists it.
type olderFile struct {
	Name     string    `json:"name"`
	Outcomes int       `json:"outcomes"`
	Newest   time.Time `json:"newest"` // time of the newest record when it was written
	CRC      uint32    `json:"crc"`    // of its beginning: see olderFile.encode
}

func isOlderName(name string) bool {
	var n uint64
	_, err := fmt.Sscanf(name, "%d.out", &n)
	return err == nil && name == olderName(n)
}

func olderName(frame uint64) string { return fmt.Sprintf("%012d.out", frame) }

// idHash is what is in memory of an ID.
func idHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// older are the outcomes in files. Its zero value has none.
type older struct {
	files []olderFile // oldest first
	ids   []uint64    // the hashes of all IDs, ascending
	at    []uint32    // of each hash: which outcome it is, counted through all files
}

// place is where an outcome is.
type olderPlace struct {
	file olderFile
	n    int // of the file's outcomes
}

// places returns where there may be an outcome of this ID, the newest first. It does no I/O.
func (o *older) places(id string) []olderPlace {
	if len(o.ids) == 0 {
		return nil
	}
	hash := idHash(id)
	i, found := slices.BinarySearch(o.ids, hash)
	if !found {
		return nil
	}
	var out []olderPlace
	for ; i < len(o.ids) && o.ids[i] == hash; i++ {
		n := int(o.at[i])
		for _, f := range o.files {
			if n < f.Outcomes {
				out = append(out, olderPlace{f, n})
				break
			}
			n -= f.Outcomes
		}
	}
	slices.SortStableFunc(out, func(a, b olderPlace) int { return cmp.Compare(b.file.Name, a.file.Name) })
	return out
}

// add adds a file whose hashes are ascending.
func (o *older) add(f olderFile, hashes []uint64) {
	first := uint32(0)
	for _, f := range o.files {
		first += uint32(f.Outcomes)
	}
	o.files = append(slices.Clip(o.files), f)
	ids, at := make([]uint64, 0, len(o.ids)+len(hashes)), make([]uint32, 0, len(o.ids)+len(hashes))
	i := 0
	for n, hash := range hashes {
		for ; i < len(o.ids) && o.ids[i] <= hash; i++ {
			ids, at = append(ids, o.ids[i]), append(at, o.at[i])
		}
		ids, at = append(ids, hash), append(at, first+uint32(n))
	}
	o.ids, o.at = append(ids, o.ids[i:]...), append(at, o.at[i:]...)
}

// lasting are the files that are still kept at a time.
func (o *older) lasting(now time.Time) []olderFile {
	n := 0
	for n < len(o.files) && o.files[n].Newest.Before(now.Add(-keepFor)) {
		n++
	}
	return o.files[n:]
}

// expire forgets the files that are kept no longer, and returns their names.
func (o *older) expire(now time.Time) (gone []string) {
	last := o.lasting(now)
	drop := uint32(0)
	for _, f := range o.files[:len(o.files)-len(last)] {
		gone = append(gone, f.Name)
		drop += uint32(f.Outcomes)
	}
	if len(gone) == 0 {
		return nil
	}
	ids, at := make([]uint64, 0, len(o.ids)), make([]uint32, 0, len(o.at))
	for i, n := range o.at {
		if n >= drop {
			ids, at = append(ids, o.ids[i]), append(at, n-drop)
		}
	}
	o.files, o.ids, o.at = slices.Clone(last), ids, at
	return gone
}

// find returns the outcome of an ID. An error says nothing about it. It reads the disk only if there
// nearly certainly is one.
func (o *older) find(d dir, id string) (r remembered, found bool, err error) {
	return findOlder(d, o.places(id), id)
}

func findOlder(d dir, places []olderPlace, id string) (r remembered, found bool, err error) {
	for _, p := range places {
		if r, err = p.read(d); err != nil || r.id == id {
			return r, err == nil, err
		}
	}
	return remembered{}, false, nil
}

// encodeOlder returns the content of a file, and the hashes in it.
func encodeOlder(name string, outcomes []*known, newest time.Time) (olderFile, []byte, []uint64) {
	type hashed struct {
		hash uint64
		k    *known
	}
	all := make([]hashed, len(outcomes))
	for i, k := range outcomes {
		all[i] = hashed{idHash(k.id), k}
	}
	slices.SortFunc(all, func(a, b hashed) int { return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.k.id, b.k.id)) })
	hashes := make([]uint64, len(all))
	data := append(make([]byte, 0, olderHead+(12+usualOutcome)*len(all)+4), olderMagic...)
	data = binary.BigEndian.AppendUint32(data, olderVersion)
	data = binary.BigEndian.AppendUint64(data, uint64(len(all)))
	data = append(data, 0, 0, 0, 0) // the checksum
	for i, h := range all {
		hashes[i] = h.hash
		data = binary.BigEndian.AppendUint64(data, h.hash)
	}
	crc := olderChecksum(data)
	binary.BigEndian.PutUint32(data[olderHead-4:], crc)
	ends := len(data) // offsets are written once they are known
	data = append(data, make([]byte, 4*len(all))...)
	begin := len(data)
	for i, h := range all {
		at := len(data)
		data = h.k.append(data)
		data = binary.BigEndian.AppendUint32(data, crc32.Checksum(data[at:], castagnoli))
		binary.BigEndian.PutUint32(data[ends+4*i:], uint32(len(data)-begin))
	}
	return olderFile{Name: name, Outcomes: len(all), Newest: newest, CRC: crc}, data, hashes
}

// olderChecksum covers the beginning of a file but for the checksum itself.
func olderChecksum(beginning []byte) uint32 {
	c := crc32.Checksum(beginning[:olderHead-4], castagnoli)
	return crc32.Update(c, castagnoli, beginning[olderHead:])
}

// load reads the beginning of the file, and returns its hashes.
func (f olderFile) load(d dir) ([]uint64, error) {
	r, err := d.fsys.Open(d.path(f.Name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("outcomes that the journal remembers are missing: put the file back, or forget them: make it an empty file: %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() == 0 {
		return nil, nil // forgotten
	}
	size := int64(olderHead) + 8*int64(f.Outcomes)
	if f.Outcomes < 0 || size > r.Size() {
		return nil, f.damaged("it was cut")
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, f.damaged(err.Error())
	}
	switch {
	case !bytes.HasPrefix(data, []byte(olderMagic)):
		return nil, f.damaged("wrong first bytes")
	case binary.BigEndian.Uint32(data[8:]) != olderVersion:
		return nil, fmt.Errorf("%s: format %d, and this program reads format %d only", f.Name, binary.BigEndian.Uint32(data[8:]), olderVersion)
	case binary.BigEndian.Uint64(data[12:]) != uint64(f.Outcomes), binary.BigEndian.Uint32(data[20:]) != f.CRC, olderChecksum(data) != f.CRC:
		return nil, f.damaged("wrong checksum")
	}
	hashes := make([]uint64, f.Outcomes)
	for i := range hashes {
		hashes[i] = binary.BigEndian.Uint64(data[olderHead+8*i:])
	}
	if !slices.IsSorted(hashes) {
		return nil, f.damaged("out of order")
	}
	return hashes, nil
}

func (f olderFile) damaged(why string) error {
	return fmt.Errorf("%s: damaged: %s: put a copy from a backup in its place, or forget its outcomes: make it an empty file", f.Name, why)
}

// read reads one outcome: its place in the file, and itself.
func (p olderPlace) read(d dir) (remembered, error) {
	r, err := d.fsys.Open(d.path(p.file.Name))
	if err != nil {
		return remembered{}, err
	}
	defer r.Close()
	// The end of the one before it, and its own.
	table := int64(olderHead) + 8*int64(p.file.Outcomes)
	var ends [8]byte
	from := ends[:]
	if p.n == 0 {
		from = ends[4:]
	}
	if _, err := r.ReadAt(from, table+4*int64(p.n+1)-int64(len(from))); err != nil {
		return remembered{}, p.file.damaged(err.Error())
	}
	begin, end := int64(binary.BigEndian.Uint32(ends[:])), int64(binary.BigEndian.Uint32(ends[4:]))
	if begin+4 > end || end-begin > maxOutcome {
		return remembered{}, p.file.damaged("an impossible offset")
	}
	data := make([]byte, end-begin)
	if _, err := r.ReadAt(data, table+4*int64(p.file.Outcomes)+begin); err != nil {
		return remembered{}, p.file.damaged(err.Error())
	}
	data, sum := data[:len(data)-4], data[len(data)-4:]
	if binary.BigEndian.Uint32(sum) != crc32.Checksum(data, castagnoli) {
		return remembered{}, p.file.damaged("an outcome has a wrong checksum")
	}
	outcome, err := parseOutcome(data)
	if err != nil {
		return remembered{}, p.file.damaged(err.Error())
	}
	return outcome, nil
}

// maxOutcome is more than any outcome has bytes.
const maxOutcome = 1 << 20

// spill writes outcomes beyond those that are kept in memory to a file. The writer calls it between two frames. If
// it fails, the outcomes stay in memory, and it is tried again once there are more.
func (j *Journal) spill() {
	over := len(j.queue.final) - j.limits.remember
	if over < max(j.spillAt, 1) || j.closed() || j.dir.still() != nil {
		return
	}
	f, data, hashes := encodeOlder(olderName(j.next), j.queue.final[:over], j.queue.now)
	err := replaceFile(j.dir.fsys, j.dir.path(olderTmp), j.dir.path(f.Name), data)
	if err == nil {
		err = j.dir.sync()
	}
	if err != nil {
		j.spillAt = over + j.limits.spill
		return
	}
	j.spillAt = j.limits.spill
	j.mu.Lock()
	defer j.mu.Unlock()
	j.queue.older.add(f, hashes)
	j.queue.forget(over)
}

// closed reports whether the journal has ended.
func (j *Journal) closed() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ended != nil
}

// loadOlder reads the hashes of the files that the checkpoint listed, and removes what it didn't list: a later one
// would have. A file that vanished was expired when the journal was copied.
func (q *queue) loadOlder(d dir) error {
	listed := q.older.files
	q.older.files = nil
	for _, f := range listed {
		hashes, err := f.load(d)
		if errors.Is(err, fs.ErrNotExist) && f.Newest.Before(q.now.Add(-RememberFor)) {
			continue
		}
		if err != nil {
			return err
		}
		f.Outcomes = len(hashes)
		q.older.add(f, hashes)
	}
	return nil
}

// removeUnlisted removes files of outcomes that no checkpoint lists. A failure does no harm.
func (j *Journal) removeUnlisted(names []string) {
	for _, name := range names {
		if !slices.ContainsFunc(j.queue.older.files, func(f olderFile) bool { return f.Name == name }) {
			j.dir.fsys.Remove(j.dir.path(name))
		}
	}
}

// later answers the calls of Outcomes that need the disk.
func (j *Journal) later(id string, places []olderPlace) (remembered, error) {
	r, found, err := findOlder(j.dir, places, id)
	if errors.Is(err, fs.ErrNotExist) { // perhaps it has just expired
		j.mu.Lock()
		places = j.queue.older.places(id)
		j.mu.Unlock()
		if len(places) == 0 {
			return remembered{}, nil
		}
	}
	if err != nil || !found {
		return remembered{}, err
	}
	return r, nil
}
