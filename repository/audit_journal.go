package repository

import (
	"bytes"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// journalView is what the journal says, or nothing if there is none.
type journalView struct {
	state    *state
	given    map[int64]bool  // generations of intents that were given up
	recorded map[string]blob // what published names must hold
}

// burnt tells whether the journal knows that this generation was given up. It
// knows what happened since the checkpoint it was read from.
func (v journalView) burnt(generation int64) bool { return v.given[generation] }

// readLog folds the journal's records.
func (a *auditor) readLog() {
	if a.cfg.Log == nil {
		return
	}
	s, err := load(*a.cfg.Log)
	if err != nil {
		a.errorf(checkJournal, "", "%v", err)
		return
	}
	v := journalView{state: s, given: map[int64]bool{}}
	var open int64 // of the last intent that was neither sealed nor followed
	for _, r := range a.cfg.Log.Records {
		switch r.Kind {
		case KindIntent:
			if open > 0 {
				v.given[open] = true
			}
			open = r.Generation
		case KindSeal:
			open = 0
		}
	}
	a.journal = v
}

// compareTimestamp holds the published timestamp against the journal, and if they
// agree lets the files that follow be compared.
func (a *auditor) compareTimestamp(t *roles.Document[metadata.TimestampType]) {
	v := &a.journal
	if v.state == nil {
		return
	}
	if s := v.state.sealed; s != nil && bytes.Equal(t.Bytes(), s.Timestamp) {
		if v.state.commit() != nil {
			return
		}
	}
	s := v.state
	switch version := t.Version(); {
	case bytes.Equal(t.Bytes(), s.timestamp):
		v.recorded = map[string]blob{
			versioned(s.generation, metadata.SNAPSHOT):               s.snapshot,
			versioned(s.published.Targets.Version, metadata.TARGETS): s.published.Targets.blob,
			versioned(s.published.Bins.Version, delegation.BinsRole): s.published.Bins.blob,
		}
	case version == s.generation:
		a.errorf(checkJournal, timestampName, "it is not the one that the journal recorded for generation %d", version)
	case version < s.generation:
		a.errorf(checkJournal, timestampName, "it is version %d, and by the journal generation %d is published: was the store restored from a backup?",
			version, s.generation)
	case version > s.planned:
		a.warnf(checkJournal, timestampName, "it is version %d, and the journal knows of %d: was the journal restored from a backup, or the generation published just now?",
			version, s.planned)
	}
}

// recordBins adds the bins to what can be compared.
func (a *auditor) recordBins(role string, doc *roles.Document[metadata.TargetsType]) {
	if role != delegation.BinsRole || a.journal.recorded == nil {
		return
	}
	layout, err := delegation.Parse(doc)
	if err != nil || layout.Len() != len(a.journal.state.bins) {
		return
	}
	for i, b := range a.journal.state.bins {
		a.journal.recorded[versioned(b.Version, layout.Name(i))] = b.blob
	}
}

// compareRecorded reports a file that clients accept and that isn't the one
// which the journal recorded.
func (a *auditor) compareRecorded(name string, data []byte) {
	if want, ok := a.journal.recorded[name]; ok && want != blobOf(data) {
		a.errorf(checkJournal, name, "it is not what was published by the journal: nothing that changes it is published before it is mended")
	}
}
