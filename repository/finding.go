package repository

// Severity says what a Finding means for clients.
type Severity string

// The severities, the worst first.
const (
	// SeverityError: some client fails now, or trusts what it should not.
	SeverityError Severity = "error"
	// SeverityWarning: clients are well, and soon may not be.
	SeverityWarning Severity = "warning"
	// SeverityNote: no client is concerned, a tidy operator may be.
	SeverityNote Severity = "note"
)

// Finding is one thing that Audit found. Its JSON encoding is stable.
type Finding struct {
	Severity Severity `json:"severity"`

	// Check is what was checked, a word of this table:
	//
	//	missing     a file that other metadata, or a client, asks for
	//	unreadable  a file that is there and can't be read
	//	size        more bytes than clients read
	//	length      another length than the referring metadata says
	//	hash        other content than the referring metadata says
	//	format      no metadata, or of a form that not all clients read
	//	signature   too few valid signatures, or an invalid one beside enough of them
	//	version     another version than the name or the referring metadata says, or a lower one than before
	//	expiry      expired, or soon to be
	//	keys        the keys of a role, of which clients make different things or no use
	//	delegation  a role that can't be reached, or that can't be audited
	//	target      an entry that some client refuses
	//	misplaced   an entry where clients don't look for it
	//	file        a target file that is missing, or isn't what its entry says
	//	journal     store and journal disagree
	//	orphan      metadata that nothing refers to
	//	stray       a name that is no metadata's
	Check string `json:"check"`

	// Name is the file in the store; for the check "file" that in the folder of
	// targets; empty for the journal as a whole.
	Name string `json:"name"`

	// Target is the path of a target, for the checks target, misplaced and file.
	Target string `json:"target,omitempty"`

	// Problem is a sentence for people.
	Problem string `json:"problem"`
}

// The values of Finding.Check.
const (
	checkMissing    = "missing"
	checkUnreadable = "unreadable"
	checkSize       = "size"
	checkLength     = "length"
	checkHash       = "hash"
	checkFormat     = "format"
	checkSignature  = "signature"
	checkVersion    = "version"
	checkExpiry     = "expiry"
	checkKeys       = "keys"
	checkDelegation = "delegation"
	checkTarget     = "target"
	checkMisplaced  = "misplaced"
	checkFile       = "file"
	checkJournal    = "journal"
	checkOrphan     = "orphan"
	checkStray      = "stray"
)
