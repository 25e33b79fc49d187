//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// errNoFlock is what systems answer where a file system can't lock something. NFS of
// macOS and the BSDs lock no directory.
var errNoFlock = []error{syscall.EBADF, syscall.EINVAL, syscall.EISDIR, errors.ErrUnsupported}

func flock(name string) (Lock, error) {
	for {
		l, err := flockOnce(name)
		if err != nil {
			return nil, err
		}
		// Another program may have removed or replaced the locked file at this very moment. The lock
		// then holds nothing.
		now, err := statID(name)
		if err == nil && now.ID == l.id {
			return l, nil
		}
		l.Close()
		if err != nil {
			return nil, err
		}
	}
}

func flockOnce(name string) (*fileLock, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	flag := os.O_RDWR // over NFS an exclusive lock needs a file opened for writing
	if info.IsDir() {
		flag = os.O_RDONLY
	}
	f, err := os.OpenFile(name, flag, 0)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		if info, err = f.Stat(); err == nil {
			return &fileLock{f, idOf(info)}, nil
		}
	}
	f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrLocked
	}
	for _, no := range errNoFlock {
		if errors.Is(err, no) {
			err = fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
			break
		}
	}
	return nil, fmt.Errorf("lock %s: %w", name, err)
}

type fileLock struct {
	*os.File
	id any
}

func (l *fileLock) ID() any { return l.id }

func (l *fileLock) Note(text string) {
	if l.Truncate(0) == nil {
		l.WriteAt([]byte(text), 0)
	}
}

func idOf(info os.FileInfo) any {
	s := info.Sys().(*syscall.Stat_t)
	return [2]uint64{uint64(s.Dev), uint64(s.Ino)}
}

func statID(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{idOf(info), info.Size(), info.ModTime()}, nil
}
