package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

// state is all that a publisher must know to go on: the fold of the journal's
// records. It changes by apply only, while publishing as in recovery.
type state struct {
	epoch int64
	chain string // hash of the last record

	planned int64 // highest generation of an intent: its versions may be in the store
	sealed  *seal // will be published, and isn't known to be

	generation int64 // last committed; 0 before the first
	signed     time.Time
	expiry     expiry
	timestamp  []byte // exact bytes of the committed timestamp; nil before the first
	snapshot   blob   // of that generation

	docs      docs   // accepted; those of targets and bins are published by the next generation
	published docs   // as of the committed generation
	unwritten []file // accepted documents that may not be in the store yet

	keys []string // names of keys, for binState.Key
	bins []binState
}

// last is the highest generation that clients may see.
func (s *state) last() int64 {
	if s.sealed != nil {
		return s.sealed.generation
	}
	return s.generation
}

// maxBins is the most that delegation knows.
const maxBins = 65_536

// blob identifies bytes in the store.
type blob struct {
	SHA256 string `json:"sha256"`
	Length int64  `json:"length"`
}

func blobOf(data []byte) blob {
	sum := sha256.Sum256(data)
	return blob{SHA256: hex.EncodeToString(sum[:]), Length: int64(len(data))}
}

// expiry is when the two small online roles of a generation expire.
type expiry struct {
	Snapshot  int64 `json:"snapshot"`  // Unix seconds
	Timestamp int64 `json:"timestamp"` // Unix seconds
}

// docs are versions of the offline documents.
type docs struct {
	Root    doc `json:"root"`
	Targets doc `json:"targets"`
	Bins    doc `json:"bins"`
}

// sameSnapshot tells whether a snapshot says the same of both: root is not in it.
func (d docs) sameSnapshot(other docs) bool {
	return d.Targets == other.Targets && d.Bins == other.Bins
}

type doc struct {
	Version int64 `json:"version"`
	blob
}

// binState is what is published of one bin. Its version is the generation that
// signed it, so that burning a generation burns every version in it.
type binState struct {
	Version int64 `json:"v"`
	blob
	Signed  int64 `json:"signed"`  // Unix seconds
	Expires int64 `json:"expires"` // Unix seconds
	Key     int   `json:"key"`     // index into keys
}

// file is a name and its content.
type file struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
	// AtCommit: to be written back to back with the next timestamp, because the
	// current one does not verify under it.
	AtCommit bool `json:"at_commit,omitempty"`
}

// The bodies of records.
type (
	documentsBody struct {
		Docs  docs   `json:"docs"` // all that are in force now
		Files []file `json:"files"`
	}

	// seal says that its generation will be published, and exactly how.
	seal struct {
		Signed    int64       `json:"signed"` // Unix seconds
		Expires   expiry      `json:"expires"`
		Items     string      `json:"items"` // SHA-256 (hex) over the digests of the items decided
		Keys      []string    `json:"keys"`
		Bins      []binChange `json:"bins"`
		Docs      docs        `json:"docs"`
		Snapshot  blob        `json:"snapshot"`
		Timestamp []byte      `json:"timestamp"`

		generation int64
	}

	binChange struct {
		Index int `json:"i"`
		binState
	}

	checkpointBody struct {
		Planned   int64      `json:"planned"`
		Signed    int64      `json:"signed"`
		Expires   expiry     `json:"expires"`
		Timestamp []byte     `json:"timestamp"`
		Snapshot  blob       `json:"snapshot"`
		Docs      docs       `json:"docs"`
		Published docs       `json:"published"`
		Keys      []string   `json:"keys"`
		Bins      []binState `json:"bins"`
	}
)

// record completes a record with the state's epoch and place in the chain.
func (s *state) record(kind RecordKind, generation int64, body any, outcomes []ItemOutcome) (Record, error) {
	rec := Record{Epoch: s.epoch, Kind: kind, Generation: generation, Prev: s.chain, Outcomes: outcomes}
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return rec, fmt.Errorf("encode %s record: %w", kind, err)
		}
		rec.Body = b
	}
	return rec, nil
}

// hash is the link that the next record carries.
func (r Record) hash() (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// apply folds one record into s, or says why it can't follow the records before
// it. s is unusable after an error.
func (s *state) apply(r Record) error {
	if err := s.follow(r); err != nil {
		return fmt.Errorf("journal: %s record of generation %d: %w", r.Kind, r.Generation, err)
	}
	hash, err := r.hash()
	if err != nil {
		return err
	}
	s.chain = hash
	return nil
}

func (s *state) follow(r Record) error {
	if r.Prev != s.chain {
		return fmt.Errorf("the chain is broken: it follows record %.12s, not %.12s", r.Prev, s.chain)
	}
	switch r.Kind {
	case KindDocuments:
		var b documentsBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		s.docs = b.Docs
		s.unwritten = append(s.unwritten, b.Files...)
	case KindIntent:
		if r.Generation <= s.planned { // where one is sealed, a restoration will give it up
			return fmt.Errorf("it follows generation %d", s.planned)
		}
		s.planned = r.Generation
	case KindSeal:
		if r.Generation != s.planned || s.sealed != nil {
			return fmt.Errorf("there is no intent before it")
		}
		b := &seal{generation: r.Generation}
		if err := json.Unmarshal(r.Body, b); err != nil {
			return err
		}
		s.sealed = b
	case KindCommit:
		if s.sealed == nil || s.sealed.generation != r.Generation {
			return fmt.Errorf("there is no seal before it")
		}
		return s.commit()
	case KindCheckpoint:
		var b checkpointBody
		if err := json.Unmarshal(r.Body, &b); err != nil {
			return err
		}
		for i, bin := range b.Bins {
			if bin.Key < 0 || bin.Key >= len(b.Keys) {
				return fmt.Errorf("bin %d, key %d: out of range", i, bin.Key)
			}
		}
		*s = state{
			epoch: s.epoch, planned: b.Planned, generation: r.Generation, signed: time.Unix(b.Signed, 0).UTC(), expiry: b.Expires,
			timestamp: b.Timestamp, snapshot: b.Snapshot, docs: b.Docs, published: b.Published,
			keys: b.Keys, bins: b.Bins,
		}
	default:
		return fmt.Errorf("unknown kind: written by a newer version?")
	}
	return nil
}

// commit makes the sealed generation the committed one.
func (s *state) commit() error {
	b := s.sealed
	for _, c := range b.Bins {
		if c.Index < 0 || c.Index >= maxBins || c.Key < 0 || c.Key >= len(b.Keys) {
			return fmt.Errorf("bin %d, key %d: out of range", c.Index, c.Key)
		}
		for c.Index >= len(s.bins) {
			s.bins = append(s.bins, binState{})
		}
		s.bins[c.Index] = c.binState
	}
	s.keys = b.Keys
	s.generation, s.signed, s.expiry = b.generation, time.Unix(b.Signed, 0).UTC(), b.Expires
	s.timestamp, s.snapshot, s.published = b.Timestamp, b.Snapshot, b.Docs
	s.sealed, s.unwritten = nil, nil // a generation writes what is unwritten first
	return nil
}

// checkpoint returns the record from which the whole state can be read again.
// There must be nothing sealed and nothing unwritten.
func (s *state) checkpoint() (Record, error) {
	return s.record(KindCheckpoint, s.generation, checkpointBody{
		Planned: s.planned, Signed: s.signed.Unix(), Expires: s.expiry, Timestamp: s.timestamp, Snapshot: s.snapshot,
		Docs: s.docs, Published: s.published, Keys: s.keys, Bins: s.bins,
	}, nil)
}

// load folds what a new leader found.
func load(log Log) (*state, error) {
	s := &state{epoch: log.Epoch}
	for i, r := range log.Records {
		if i == 0 && r.Kind == KindCheckpoint {
			s.chain = r.Prev // what came before it need not be read
		}
		if err := s.apply(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// keyName names a key by its ID and its material: a document may list another
// key under the same ID, or the same one under another, and both make a difference
// to clients.
func keyName(k *keys.PublicKey) string { return k.ID() + " " + k.Fingerprint() }

// keyIndex returns the index of a name in names, adding it if need be.
func keyIndex(names []string, name string) ([]string, int) {
	if i := slices.Index(names, name); i >= 0 {
		return names, i
	}
	return append(slices.Clip(names), name), len(names)
}
