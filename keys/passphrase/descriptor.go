package passphrase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/bindery-tuf/bindery/internal/interrupt"
)

// Descriptor returns a Source that reads from an open file descriptor of the process. The
// Source owns the descriptor from then on:
//
//	yours -passphrase-fd 3 3< <(pass show tuf/online)
//
// Each call reads one line and drops the line feed, or carriage return and line feed, at
// its end. The last line may lack it. So several passphrases can follow one another, in the
// order in which they are asked for. Prompts are not shown.
//
// After a call failed, or its context ended first, every later call fails: the first may
// have read their lines.
//
// On Windows, standard input (0) is the only descriptor that a program is given. For any
// other, the error wraps errors.ErrUnsupported.
func Descriptor(fd int) (Source, error) {
	f, err := descriptor(runtime.GOOS, fd)
	if err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	if _, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("passphrase: %w", err)
	}
	return lines(f, f.Name()), nil
}

func descriptor(goos string, fd int) (*os.File, error) {
	if goos == "windows" {
		if fd != 0 {
			return nil, unsupported(fmt.Sprintf("file descriptor %d: windows is not supported: it gives a program no descriptor but 0, standard input", fd))
		}
		return os.Stdin, nil // os.NewFile takes a handle there
	}
	f := os.NewFile(uintptr(fd), fmt.Sprintf("file descriptor %d", fd))
	if f == nil {
		return nil, fmt.Errorf("there is no file descriptor %d: the program that starts this one must open it (in a shell: N< FILE)", fd)
	}
	return f, nil
}

// lines returns a Source of the lines of r.
func lines(r io.Reader, name string) Source {
	var broken error // after it the place in r isn't known
	return inTurn(func(ctx context.Context, _ string) ([]byte, error) {
		if broken != nil {
			return nil, fmt.Errorf("read the passphrase from %s: an earlier read failed: %w", name, broken)
		}
		line, err := interrupt.Await(ctx, func() ([]byte, error) { return readLine(r) })
		if broken = err; broken != nil {
			return nil, fmt.Errorf("read the passphrase from %s: %w", name, broken)
		}
		return line, nil
	})
}

// readLine reads one line and nothing after it.
func readLine(r io.Reader) ([]byte, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		_, err := io.ReadFull(r, one)
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil, errors.New("no line left: give one line for each passphrase")
		case errors.Is(err, io.EOF):
			return line, check(line)
		case err != nil:
			return nil, err
		case one[0] == '\n':
			line = bytes.TrimSuffix(line, []byte("\r"))
			return line, check(line)
		case len(line) > maxLength+1: // room for the carriage return
			return nil, check(line)
		}
		line = append(line, one[0])
	}
}
