//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package disk

import (
	"errors"
	"fmt"
)

// flock is not reached: where there is none, OS refuses to lock.
func flock(name string) (Lock, error) {
	return nil, fmt.Errorf("lock %s: %w", name, errors.ErrUnsupported)
}

// statID is for those who write, and nobody does here.
func statID(name string) (Info, error) {
	return Info{}, fmt.Errorf("stat %s: %w", name, errors.ErrUnsupported)
}
