package repository

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// documentName is VERSION.ROLE.json.
var documentName = regexp.MustCompile(`^[1-9][0-9]{0,15}\.[A-Za-z0-9_-][A-Za-z0-9_.-]*\.json$`)

// ReadDocuments reads finished documents from the top of a folder, for example os.DirFS(dir) or
// an embed.FS. It reads every VERSION.root.json, and of each other role the VERSION.ROLE.json with
// the highest version. It ignores older versions, snapshots, timestamps, and files with other names,
// so a ceremony's folder of documents will do as it is. A folder without documents yields none.
//
// The error names a file that can't be read, that is no metadata, or whose content is of another
// version or type than its name says. ReadDocuments doesn't verify signatures: Create and Install do.
func ReadDocuments(fsys fs.FS) (Documents, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		// os.DirFS is a string, the folder's name, and leaves that out of its errors.
		if dir := reflect.ValueOf(fsys); dir.Kind() == reflect.String {
			err = fmt.Errorf("folder %q: %w", dir.String(), err)
		}
		return Documents{}, fmt.Errorf("read documents: %w", err)
	}
	byRole := map[string][]document{}
	for _, e := range entries {
		version, role, ok := ledger.ParseName(e.Name())
		if !ok || e.IsDir() || !documentName.MatchString(e.Name()) || role == metadata.SNAPSHOT || role == metadata.TIMESTAMP {
			continue
		}
		byRole[role] = append(byRole[role], document{version, e.Name(), e.Type()})
	}
	out := Documents{Roles: map[string][]byte{}}
	for role, all := range byRole {
		slices.SortFunc(all, func(a, b document) int { return cmp.Compare(a.version, b.version) })
		if role != metadata.ROOT {
			all = all[len(all)-1:]
		}
		for _, d := range all {
			data, err := readRegular(fsys, d)
			if err == nil {
				err = checkNamed(role, d.version, data)
			}
			if err != nil {
				return Documents{}, fmt.Errorf("read documents: %s: %w", d.name, err)
			}
			if role == metadata.ROOT {
				out.Roots = append(out.Roots, data)
			} else {
				out.Roles[role] = data
			}
		}
	}
	return out, nil
}

// document is a file that has the name of one.
type document struct {
	version int64
	name    string
	kind    fs.FileMode
}

// readRegular doesn't open what isn't a file, such as a named pipe, whose reader waits for ever.
func readRegular(fsys fs.FS, d document) ([]byte, error) {
	if d.kind&fs.ModeSymlink != 0 {
		info, err := fs.Stat(fsys, d.name)
		if err != nil {
			return nil, err
		}
		d.kind = info.Mode().Type()
	}
	if !d.kind.IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return fs.ReadFile(fsys, d.name)
}

// checkNamed returns nil if data is a document of this version, and root if the role is.
func checkNamed(role string, version int64, data []byte) error {
	var found int64
	if role == metadata.ROOT {
		doc, err := roles.Parse[metadata.RootType](data)
		if err != nil {
			return err
		}
		found = doc.Version()
	} else {
		doc, err := roles.Parse[metadata.TargetsType](data)
		if err != nil {
			return err
		}
		found = doc.Version()
	}
	if found != version {
		return fmt.Errorf("it holds version %d", found)
	}
	return nil
}
