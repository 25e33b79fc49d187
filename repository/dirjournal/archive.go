package dirjournal

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

const (
	beginName = "begin"       // where the history begins: see the package comment
	beginTmp  = "begin.tmp"   // such a file that has no name yet
	copyTmp   = "archive.tmp" // a segment in the archive that has no name yet
)

var _ repository.Archiver = (*Journal)(nil)

// Archivable implements repository.Archiver. It reads no segment.
func (j *Journal) Archivable(ctx context.Context, to string) ([]repository.ArchivedFile, error) {
	segments, err := j.segments(ctx)
	var files []repository.ArchivedFile
	if err == nil {
		files, err = j.sizes(segments)
	}
	if err == nil && to != "" {
		err = j.checkArchive(to, files)
	}
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", j.dir.name, err)
	}
	return files, nil
}

// segments lists the segments. The writer does that, so it begins none meanwhile.
func (j *Journal) segments(ctx context.Context) (segments []uint64, err error) {
	err = j.do(ctx, func() error {
		if err := j.dir.still(); err != nil {
			return err
		}
		l, err := list(j.dir.fsys, j.dir.name)
		segments = l.segments
		return err
	})
	return segments, err
}

func (j *Journal) sizes(segments []uint64) (files []repository.ArchivedFile, err error) {
	for _, number := range segments {
		info, err := j.dir.fsys.Stat(j.dir.path(segmentName(number)))
		if err != nil {
			return nil, err
		}
		files = append(files, repository.ArchivedFile{Name: segmentName(number), Bytes: info.Size})
	}
	return files, nil
}

// checkArchive returns nil if the folder can take the files, as far as that shows without a write.
func (j *Journal) checkArchive(to string, files []repository.ArchivedFile) error {
	info, err := j.dir.fsys.Stat(to)
	if err != nil {
		return fmt.Errorf("the archive must be a folder that exists: %w", err)
	}
	if info.ID == j.dir.id {
		return fmt.Errorf("the archive %s is the journal's own folder: name another one", to)
	}
	for e, err := range j.dir.fsys.ReadDir(to) {
		if err != nil {
			return err
		}
		for _, f := range files {
			if e.Name == f.Name && e.Size != f.Bytes {
				return otherSegment(to, f.Name)
			}
		}
	}
	return nil
}

func otherSegment(to, name string) error {
	return fmt.Errorf("%s is another journal's segment: name another folder: %w", filepath.Join(to, name), fs.ErrExist)
}

// Archive implements repository.Archiver. It reads each segment twice that is copied, and checks it. Other
// calls don't wait for it. A second Archive waits for the first.
func (j *Journal) Archive(ctx context.Context, checkpoint, to string) ([]repository.ArchivedFile, error) {
	j.archiving.Lock()
	defer j.archiving.Unlock()
	files, err := j.archive(ctx, checkpoint, to)
	if err != nil {
		return nil, fmt.Errorf("archive history of journal %s: %w", j.dir.name, err)
	}
	return files, nil
}

func (j *Journal) archive(ctx context.Context, checkpoint, to string) ([]repository.ArchivedFile, error) {
	segments, err := j.segments(ctx)
	if err != nil {
		return nil, err
	}
	first, err := j.beginsWith(segments, checkpoint)
	if err != nil {
		return nil, err
	}
	begin := segments[first]
	segments = segments[:first]
	files, err := j.sizes(segments)
	if err != nil {
		return nil, err
	}
	if to != "" {
		// The archive gets nothing that is damaged.
		if _, err := replay(j.dir.fsys, j.dir.name, append(slices.Clone(segments), begin), whole, func(part) error { return ctx.Err() }); err != nil {
			return nil, err
		}
		if err := j.copyTo(ctx, to, segments, files); err != nil {
			return nil, err
		}
	}
	if err := j.writeBegin(begin); err != nil {
		return nil, err
	}
	for _, f := range files { // the oldest first, one by one, so that what is left has no gap
		if err := j.running(ctx); err != nil {
			return nil, err
		}
		if err := j.dir.fsys.Remove(j.dir.path(f.Name)); err != nil {
			return nil, err
		}
		if err := j.dir.sync(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// running returns nil as long as the journal is open and its own.
func (j *Journal) running(ctx context.Context) error {
	if err := j.enter(ctx); err != nil {
		return err
	}
	j.mu.Unlock()
	return j.dir.still()
}

// beginsWith finds the newest segment that begins with a checkpoint record, by the hash of that.
func (j *Journal) beginsWith(segments []uint64, checkpoint string) (int, error) {
	for i, number := range slices.Backward(segments) {
		h, err := readHeader(j.dir.fsys, j.dir.name, number)
		if err != nil {
			return 0, err
		}
		if !h.beginsAtCheckpoint() {
			continue
		}
		c, _, err := readSegment(j.dir.fsys, j.dir.name, number)
		if err != nil {
			return 0, err
		}
		found := false
		if len(c.frames) > 0 {
			err = parts(c.frames[0].payload, func(p part) error {
				if p.kind == checkpointPart {
					r, err := ledger.ParseRecord(p.data)
					found = err == nil && r.Hash() == checkpoint
					return err
				}
				return nil
			})
		}
		if err != nil {
			return 0, place(number, err)
		}
		if found {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no segment begins with the checkpoint record %.12s", checkpoint)
}

// copyTo makes copies of segments durable in another folder, perhaps on another disk. An earlier call may have
// left copies whose names aren't durable, so each is made again.
func (j *Journal) copyTo(ctx context.Context, to string, segments []uint64, files []repository.ArchivedFile) error {
	if err := j.checkArchive(to, files); err != nil {
		return err
	}
	fsys, tmp := j.dir.fsys, filepath.Join(to, copyTmp)
	for _, number := range segments {
		if err := j.running(ctx); err != nil {
			return err
		}
		_, data, err := readSegment(fsys, j.dir.name, number)
		if err != nil {
			return err
		}
		name := filepath.Join(to, segmentName(number))
		switch old, err := disk.ReadFile(fsys, name, maxSegment); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !bytes.Equal(old, data):
			return otherSegment(to, segmentName(number))
		}
		if err := replaceFile(fsys, tmp, name, data); err != nil {
			return err
		}
	}
	return fsys.SyncDir(to)
}

// replaceFile gives a name a new content. Its name is durable with the next sync of its folder.
func replaceFile(fsys disk.FS, tmp, name string, data []byte) error {
	err := disk.WriteFile(fsys, tmp, data, 0o600)
	if errors.Is(err, fs.ErrExist) { // left by a process that was killed
		if err = fsys.Remove(tmp); err == nil {
			err = disk.WriteFile(fsys, tmp, data, 0o600)
		}
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		fsys.Remove(tmp) // frees its space; if this fails, the next call removes it
	}
	return err
}

// begin is the content of the file of that name.
type begin struct {
	Segment uint64 `json:"segment"`
}

// writeBegin notes, durably, with which segment the history begins.
func (j *Journal) writeBegin(number uint64) error {
	text, err := json.Marshal(begin{number})
	if err != nil {
		return err
	}
	err = replaceFile(j.dir.fsys, j.dir.path(beginTmp), j.dir.path(beginName), append(text, '\n'))
	return cmp.Or(err, j.dir.sync())
}

// readBegin returns the number of the segment that the file names, or 0 if there is no such file.
func readBegin(fsys disk.FS, dir string) uint64 {
	text, err := disk.ReadFile(fsys, filepath.Join(dir, beginName), 4096)
	if err != nil {
		return 0
	}
	b, err := jsontext.Decode[begin](text)
	if err != nil {
		return 0
	}
	return b.Segment
}
