package keys

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// A key file is one PEM block of the type that cosign uses. Its content is
// go-securesystemslib's "encrypted" format (scrypt and NaCl secretbox) around the
// private key in PKCS#8.
const (
	pemType    = "ENCRYPTED SIGSTORE PRIVATE KEY"
	oldPEMType = "ENCRYPTED COSIGN PRIVATE KEY"

	maxFile = 64 << 10 // a key of 8,192 bits takes some 10 kB
)

// WriteFile writes the private key of s, encrypted with passphrase, to a new file that
// only its owner may read (mode 0600). It never overwrites a file: the error wraps
// fs.ErrExist. When WriteFile returns nil, the file is durable. After an error, there is
// no file. Any passphrase will do that isn't empty: passphrase.CheckNew refuses weak ones.
//
// A file system without links and modes, such as a FAT stick, doesn't protect the file
// from anyone who has the stick. On Windows, the file is readable to everyone who may
// read the directory, and its name is durable on NTFS only, because Windows can't sync a
// directory.
//
// Encrypting takes a few tenths of a second and 128 MiB, on purpose.
func WriteFile(name string, s *MemorySigner, passphrase []byte) error {
	if len(passphrase) == 0 {
		return fmt.Errorf("write key file %s: the passphrase is empty", name)
	}
	// Linking finds out for certain, though only after the costly encryption.
	if _, err := os.Lstat(name); err == nil {
		return writeFailed(&os.PathError{Op: "create", Path: name, Err: os.ErrExist})
	}
	der, err := x509.MarshalPKCS8PrivateKey(s.private)
	if err != nil {
		return fmt.Errorf("write key file %s: %w", name, err)
	}
	box, err := encrypted.EncryptWithCustomKDFParameters(der, passphrase, encrypted.OWASP)
	if err != nil {
		return fmt.Errorf("write key file %s: %w", name, err)
	}
	if err := writeNew(name, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: box}), os.Link); err != nil {
		return writeFailed(err)
	}
	return nil
}

// writeFailed is for an error that names the file.
func writeFailed(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write key file: %w: name another file, a key file is never replaced", err)
	}
	return fmt.Errorf("write key file: %w", err)
}

// writeNew writes a file under a temporary name and links it into place, so
// that it is there whole or not at all, and never in place of another.
func writeNew(name string, data []byte, link func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".bindery-key-") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := writeSynced(f, data); err != nil {
		return err
	}
	err = link(f.Name(), name)
	if disk.NoLinks(err) {
		// A stick with FAT has no links. There, a loss of power may leave a part.
		err = writeInPlace(name, data)
	}
	if err != nil {
		return err
	}
	if err := disk.SyncName(name); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// writeInPlace writes a new file under its name, and leaves none where that fails.
func writeInPlace(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := writeSynced(f, data); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// writeSynced writes data durably and closes f.
func writeSynced(f *os.File, data []byte) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadFile reads a key file that WriteFile or cosign wrote. The error wraps
// ErrPassphrase if the passphrase is wrong, ErrUnsupported for a key that not all
// clients verify. Any other error says why the file is not a key file.
//
// ReadFile refuses a file that every user of the machine may read or write, or that its
// group may write: anyone who copies it can try passphrases. The error says which mode is
// needed. It makes an exception for file systems that keep no modes, such as FAT, and for
// Windows. It also refuses what isn't a regular file, such as a named pipe or a device,
// without reading it, and a file of more than 64 KiB.
func ReadFile(name string, passphrase []byte) (*MemorySigner, error) {
	s, err := readFile(name, passphrase)
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", name, err)
	}
	return s, nil
}

func readFile(name string, passphrase []byte) (*MemorySigner, error) {
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxFile:
		return nil, fmt.Errorf("more than %d bytes: not a key file", maxFile)
	}
	return parseFile(data, passphrase)
}

// openFile opens a key file that is one by its kind and mode. The error lacks the name.
func openFile(name string) (*os.File, error) {
	f, err := disk.OpenPrivate(name, true)
	if of, ok := errors.AsType[*fs.PathError](err); ok {
		err = of.Err
	}
	return f, err
}

func parseFile(data, passphrase []byte) (*MemorySigner, error) {
	box, err := decodePEM(data, pemType, oldPEMType)
	if err != nil {
		return nil, fmt.Errorf("not an encrypted key file: %w", notKeyFile(data, err))
	}
	der, err := encrypted.Decrypt(box, passphrase)
	switch {
	case err != nil && err.Error() == "encrypted: decryption failed":
		return nil, fmt.Errorf("%w (or the file is damaged): give the one it was written with, or restore the file from a copy", ErrPassphrase)
	case err != nil:
		return nil, damaged(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, damaged(err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a private key of type %T, which can't sign: make another key", ErrUnsupported, private)
	}
	return NewSigner(signer)
}

func damaged(err error) error {
	return fmt.Errorf("damaged (%w): restore the file from a copy", err)
}
