package keys

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"unicode"
)

// FileOpener opens key files, as ReadFile does, for a Resolver. The place is an
// absolute path, which an empty authority may precede (RFC 8089, 2):
//
//	file:/etc/bindery/online.key
//	file:///etc/bindery/online.key
//
// On Windows the path begins with a drive (RFC 8089, E.2):
//
//	file:/C:/bindery/online.key
//
// The passphrase is what ask returns, which is called with a prompt that names the
// file, once ReadFile is known to take such a file. Package passphrase has functions for
// ask; any other will do.
func FileOpener(ask func(ctx context.Context, prompt string) ([]byte, error)) Opener {
	return func(ctx context.Context, place string, _ *PublicKey) (Signer, error) {
		name, err := filePath(runtime.GOOS, place)
		if err != nil {
			return nil, err
		}
		f, err := openFile(name)
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", name, err)
		}
		_ = f.Close() // nothing was written
		passphrase, err := ask(ctx, "Passphrase of key file "+name)
		if err != nil {
			return nil, fmt.Errorf("passphrase of key file %s: %w", name, err)
		}
		s, err := ReadFile(name, passphrase)
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

func filePath(goos, place string) (string, error) {
	if authority, found := strings.CutPrefix(place, "//"); found {
		if !strings.HasPrefix(authority, "/") {
			return "", errors.New(`"file://" must be followed by a third "/": files on other hosts can't be opened`)
		}
		place = authority
	}
	switch {
	case strings.HasPrefix(place, "//"):
		return "", errors.New(`the path begins with "//": write one "/"`)
	case !strings.HasPrefix(place, "/"):
		return "", errors.New("the path must be absolute: what a relative one names depends on where the program was started")
	case strings.Contains(place, "?"):
		return "", errors.New(`a "?" in the path of a file must be written as %3F`)
	}
	name, err := url.PathUnescape(place)
	switch {
	case err != nil:
		return "", err
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", errors.New("a control character in the path") // which a prompt would show
	case goos == "windows" && !drive.MatchString(name):
		return "", errors.New("on Windows the path must begin with a drive, as /C:/ is")
	case goos == "windows":
		name = name[1:]
	}
	return name, nil
}

var drive = regexp.MustCompile(`^/[A-Za-z]:/`)
