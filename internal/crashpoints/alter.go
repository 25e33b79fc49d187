package crashpoints

import (
	"bytes"
	"fmt"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// healing is how an altered file is repaired.
type healing int

const (
	_        healing = iota
	replaced         // by a copy of what it was
	rebuilt          // from the journal, in a new generation
	healings         // their number
)

// alteration is a change to a bin's file.
type alteration struct {
	bin          int
	name         string
	right, wrong []byte
}

// alter changes what the file of path's bin says about path.
func (s *session) alter(path string) error {
	a := &alteration{bin: s.history.layout.Find(path)}
	var err error
	if a.name, err = s.current(a.bin); err != nil {
		return err
	}
	a.right = s.read(a.name)
	at := bytes.Index(a.right, []byte(path))
	if at < 0 {
		return fmt.Errorf("%s has no %s", a.name, path)
	}
	const key = `"sha256":"`
	at += bytes.Index(a.right[at:], []byte(key)) + len(key)
	a.wrong = bytes.Clone(a.right)
	a.wrong[at] ^= 1 // another digit
	s.ledger.set(func() { s.ledger.altered = a })
	s.disk.Put(storeDir+"/"+a.name, a.wrong)
	return nil
}

// current returns the name of a bin's file in the newest generation.
func (s *session) current(bin int) (string, error) {
	snapshot, err := roles.ParseSnapshot(s.read(fmt.Sprintf("%d.snapshot.json", s.ledger.generation())))
	if err != nil {
		return "", err
	}
	for meta, err := range snapshot.Meta() {
		if err != nil {
			return "", err
		}
		if meta.Role == s.history.layout.Name(bin) {
			return fmt.Sprintf("%d.%s.json", meta.Version, meta.Role), nil
		}
	}
	return "", nil
}

func (s *session) read(name string) []byte {
	data, _ := s.disk.Read(storeDir + "/" + name)
	return data
}

// heal restores the altered file, or rebuilds the bin.
func (s *session) heal(how healing) error {
	a := s.ledger.altered
	if a == nil || how == 0 {
		return nil
	}
	if how == rebuilt {
		if err := s.repo.Rebuild(s.ctx, s.history.layout.Name(a.bin)); err != nil {
			return err
		}
	}
	// Clients of old generations need it, too.
	s.disk.Put(storeDir+"/"+a.name, a.right)
	s.ledger.set(func() { s.ledger.altered, s.ledger.healed = nil, append(s.ledger.healed, a.name) })
	return nil
}

// waiting returns the items that can't be published while a bin's file is altered and the bin is
// not rebuilt: those that touch the bin, and later ones that share a path with them.
func (s *session) waiting() map[*entry]bool {
	a := s.ledger.altered
	if a == nil {
		return nil
	}
	if name, err := s.current(a.bin); err == nil && name != a.name {
		return nil
	}
	held := map[string]bool{}
	waiting := map[*entry]bool{}
	for _, e := range s.ledger.unresolved() {
		var paths []string
		for _, t := range e.item.Add {
			paths = append(paths, t.Path)
		}
		paths = append(paths, e.item.Remove...)
		for _, path := range paths {
			if held[path] || s.history.layout.Find(path) == a.bin {
				waiting[e] = true
			}
		}
		for _, path := range paths {
			held[path] = held[path] || waiting[e]
		}
	}
	return waiting
}

// patient requires that the items that must wait do wait.
func (s *session) patient() error {
	for e := range s.waiting() {
		o, err := s.outcome(s.ctx, e)
		if err != nil { // a fault was met since
			return err
		}
		if o.State != repository.Accepted {
			return broken("item %s is %s, and its bin was altered", e.item.ID, o.State)
		}
	}
	return nil
}
