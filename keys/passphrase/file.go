package passphrase

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/internal/interrupt"
)

// File returns a Source that reads the one line of a file, for services that nobody attends.
// The line feed, or carriage return and line feed, at its end is dropped, and may be missing.
// The file is read at each call, so a passphrase may be changed while the program runs.
//
// A file that every user of the machine may read or write is refused, and so is one that its group may
// write, or that isn't regular (such as a named pipe), is empty, or has a second line. The file's group
// may read it, which is how Kubernetes gives a secret to a user other than root. On Windows, the file is
// protected by its folder's permissions only. Prompts are not shown.
func File(path string) Source {
	return func(ctx context.Context, _ string) ([]byte, error) {
		line, err := interrupt.Await(ctx, func() ([]byte, error) { return readFile(path) })
		if err != nil {
			return nil, fmt.Errorf("read the passphrase from file %s: %w", path, err)
		}
		return line, nil
	}
}

// Credential returns a Source that reads a credential of the systemd service that the program
// runs as, as File does. The unit has one of
//
//	LoadCredential=NAME:/etc/index/passphrase
//	LoadCredentialEncrypted=NAME:/etc/credstore.encrypted/NAME
//
// and systemd puts the credential into the folder that the environment variable
// CREDENTIALS_DIRECTORY names, where no other service finds it.
func Credential(name string) Source {
	return func(ctx context.Context, prompt string) ([]byte, error) {
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		switch {
		case dir == "":
			return nil, fmt.Errorf("passphrase: credential %s: CREDENTIALS_DIRECTORY is not set: systemd sets it for units with LoadCredential= or LoadCredentialEncrypted=", name)
		case name == "." || !filepath.IsLocal(name) || filepath.Base(name) != name:
			return nil, fmt.Errorf("passphrase: credential %q: it must be a name as in LoadCredential=NAME:FILE, without a slash", name)
		}
		return File(filepath.Join(dir, name))(ctx, prompt)
	}
}

func readFile(path string) (line []byte, err error) {
	f, err := disk.OpenPrivate(path, false)
	if err != nil {
		return nil, reason(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if info.Size() == 0 {
		return nil, errors.New("the file is empty: it must hold the passphrase, on one line")
	}
	if line, err = readLine(f); err != nil {
		return nil, reason(err)
	}
	switch _, err := io.ReadFull(f, make([]byte, 1)); {
	case err == nil:
		clear(line)
		return nil, errors.New("the file has more than one line: it must hold the passphrase alone")
	case !errors.Is(err, io.EOF):
		return nil, reason(err)
	}
	return line, nil
}

// reason is err without the path, which is said already.
func reason(err error) error {
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		return of.Err
	}
	return err
}
