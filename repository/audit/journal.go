package audit

import (
	"bytes"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// journalView is what the journal says, or nothing if there is none.
type journalView struct {
	state    *ledger.State
	given    map[int64]bool         // generations of intents that were given up
	recorded map[string]ledger.Blob // what published names must hold

	// otherRoot is the name of the root that the journal installed, if the store has another under it.
	otherRoot string
	// related reports that the store has a document that people signed exactly as the journal
	// installed it.
	related bool
}

// burnt reports whether the journal knows that this generation was given up. It
// knows what happened since the checkpoint it was read from.
func (v journalView) burnt(generation int64) bool { return v.given[generation] }

// readJournal folds the journal's records.
func (a *auditor) readJournal() {
	if a.cfg.Journal == nil {
		return
	}
	v := journalView{state: &ledger.State{}, given: map[int64]bool{}}
	var open int64 // of the last intent that was neither sealed nor followed
	for step, err := range a.cfg.Journal.Read(a.ctx, ledger.FromCheckpoint) {
		if err == nil && step.Record != nil {
			err = v.state.Apply(*step.Record)
		}
		if err != nil {
			if a.ctx.Err() == nil {
				a.errorf(checkJournal, "", "%v", err)
			}
			return
		}
		if step.Record == nil {
			continue
		}
		switch step.Record.Kind() {
		case ledger.KindIntent:
			if open > 0 {
				v.given[open] = true
			}
			open = step.Record.Generation
		case ledger.KindSeal:
			open = 0
		}
	}
	if v.state.Chain != "" {
		a.journal = v
	}
}

// compareRoot looks for the documents that people signed, as the journal installed them, in the
// store. It reports a root that the store lacks. compareTimestamp reports one that is another, because
// the timestamp shows whether the journal is this repository's.
func (a *auditor) compareRoot(newest rootDocument) {
	v := &a.journal
	if v.state == nil {
		return
	}
	for _, documents := range []map[string]ledger.Doc{v.state.Documents, v.state.Published} {
		for role, d := range documents {
			name := ledger.Name(d.Version, role)
			data, err := a.store.Get(a.ctx, name)
			switch same := err == nil && ledger.BlobOf(data) == d.Blob; {
			case same:
				v.related = true
			case err == nil && role == metadata.ROOT:
				v.otherRoot = name
			}
		}
	}
	if version := a.installedRoot(); version > newest.Version() && v.related {
		name := ledger.Name(version, metadata.ROOT)
		if !slices.Contains(a.listed, name) {
			a.errorf(checkMissing, name, "by the journal it was installed, and it does not exist: clients don't come beyond root %d: "+
				"restore it, exactly as it was", newest.Version())
		}
	}
}

// compareTimestamp holds the published timestamp against the journal, and if they
// agree lets the files that follow be compared.
func (a *auditor) compareTimestamp(t *roles.Document[metadata.TimestampType]) {
	v := &a.journal
	if v.state == nil {
		return
	}
	s := v.state
	ours := func() bool { return bytes.Equal(t.Bytes(), s.Timestamp()) }
	if s.Sealed != nil && bytes.Equal(t.Bytes(), s.Sealed.Timestamp()) { // it was swapped in, and not noted yet
		commit, err := s.Next(s.Epoch, s.Last(), a.now, &ledger.Commit{})
		if err != nil || s.Apply(commit) != nil {
			return
		}
	}
	if v.otherRoot != "" && !v.related && !ours() {
		a.errorf(checkJournal, "", "it is the journal of another repository: nothing that it installed or published is in this store, and %s is another root: "+
			"give the journal and the store that belong together", v.otherRoot)
		a.journal = journalView{}
		return
	}
	if v.otherRoot != "" {
		a.errorf(checkJournal, v.otherRoot, "it is not the root that the journal installed: it was replaced: restore it, exactly as it was")
	}
	switch version := t.Version(); {
	case ours():
		v.recorded = map[string]ledger.Blob{ledger.Name(s.Generation, metadata.SNAPSHOT): s.Snapshot}
		for role, d := range s.Published {
			v.recorded[ledger.Name(d.Version, role)] = d.Blob
		}
		for role, row := range s.Table.All() {
			v.recorded[ledger.Name(row.Version, role)] = row.Blob()
		}
	case version == s.Generation:
		a.errorf(checkJournal, ledger.Timestamp, "it is not the one that the journal recorded for generation %d", version)
	case version < s.Generation:
		a.errorf(checkJournal, ledger.Timestamp, "it is version %d, and by the journal generation %d is published: was the store restored from a backup? RestoreStore goes on from the journal",
			version, s.Generation)
	case version > s.Planned:
		a.warnf(checkJournal, ledger.Timestamp, "it is version %d, and the journal knows of %d: "+
			"was the generation published just now? Then audit again. Otherwise the journal was restored from a backup: RestoreJournal goes on from the store",
			version, s.Planned)
	}
}

// compareRecorded reports a file that clients accept and that isn't the one
// which the journal recorded.
func (a *auditor) compareRecorded(name string, data []byte) {
	if want, ok := a.journal.recorded[name]; ok && want != ledger.BlobOf(data) {
		a.errorf(checkJournal, name, "it is not what was published by the journal: nothing that changes it is published before it is mended")
	}
}
