// Package ceremony is how people who hold offline keys sign TUF metadata: at
// different times, on machines that have no network (PEP 458, "Offline keys").
//
// Whoever prepares a ceremony makes the new documents and a Request that holds them,
// one file on a USB stick. Each holder checks it against the root that he or she
// trusts, reads what it changes (Request.Steps), compares its Digest with a copy on
// paper, and signs: a Response, another file. Request.Merge puts responses together
// in any order, says who is still missing, and gives out documents once they are
// complete. Nothing in this package reads or writes a file, or asks what time it is.
//
// Names of people and the places of keys never get into metadata, where they would
// change key IDs. The files of a ceremony carry them.
//
// # Files
//
// There are four kinds, each one JSON object whose member "format" says which it is,
// and which version of the format. They are read strictly: duplicate or unknown
// members, trailing data or a value of another type are errors that name the place.
// What a file is called means nothing.
//
// A request, of at most 8 MB:
//
//	{
//	  "format": "bindery-ceremony-request/1",
//	  "reason": "Bob leaves, Dora joins",
//	  "names": {"1f0c…": "Ada", "9d42…": "Bob", "77aa…": "Dora", "c01d…": "online, awskms:alias/tuf"},
//	  "declares": {"compromise": false, "lowers": []},
//	  "destroyed": [],
//	  "current": {"roots": [{"signatures": […], "signed": {…}}], "targets": {…}, "bins": {…}},
//	  "documents": [
//	    {"role": "root", "digest": "5b1c…", "file": {"signatures": [], "signed": {…}}}
//	  ]
//	}
//
// Of its members,
//
//   - names are what to call a key, by key ID: what the author of the request says,
//     and shown together with the key IDs;
//   - declares: compromise allows a change under which clients would refuse what is
//     published now; lowers are the roles whose threshold goes down: "root",
//     "targets", "snapshot", "timestamp", "bins", or "each bin";
//   - destroyed are the one-time keys that signed documents of this request and that
//     exist no more, as {"role": "targets", "keyids": ["…"], "at": "2030-01-31T12:00:00Z"};
//   - current is what is published now, and empty for a new repository. roots are
//     consecutive and complete, and the last is in force; a holder who trusts any of
//     them can follow. targets and bins may be left out where no document follows
//     them and none changes who signs them;
//   - documents are what shall be published, in this order: "root", "targets" or
//     "bins". digest is the SHA-256 of the canonical form of "signed". A document
//     has no signatures, or, signed by one-time keys, all that it needs. Documents
//     stay byte for byte as they were, but for white space around them.
//
// The digest that people compare is one of the whole request, so that nothing on a
// holder's screen can be another than what was printed: the SHA-256 of the canonical form
// of
//
//	{
//	  "format": "bindery-ceremony-request/1",
//	  "reason": …, "names": …, "declares": …, "destroyed": …,
//	  "current": [{"role": "root", "version": 1, "digest": "81d0…"}],
//	  "documents": [{"role": "root", "version": 2, "digest": "5b1c…", "signed": []}]
//	}
//
// where reason, names, declares and destroyed are as in the file, current are the last of
// the roots, targets and bins, those that are there, and signed are the key IDs of a
// document's signatures, sorted. Of current, the roots before the last lead to that one
// and nowhere else.
//
// A response, of at most 64 kB:
//
//	{
//	  "format": "bindery-ceremony-response/1",
//	  "signatures": [
//	    {"role": "root", "version": 2, "digest": "5b1c…", "keyid": "1f0c…", "sig": "…"}
//	  ]
//	}
//
// A card, by which somebody who shall become a holder gives a public key, with a
// proof of having the private one: a signature over the canonical form of the card
// without "proof".
//
//	{
//	  "format": "bindery-ceremony-card/1",
//	  "name": "Dora",
//	  "key": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "…"}},
//	  "proof": "…"
//	}
//
// A notebook, which a holder keeps with the key: the root that he or she trusts, and
// what the key has signed, so that it never signs two documents of one version.
//
//	{
//	  "format": "bindery-ceremony-notebook/1",
//	  "trusted": {"role": "root", "version": 1, "digest": "5b1c…"},
//	  "signed": [{"role": "root", "version": 2, "digest": "81d0…"}]
//	}
//
// # What is refused
//
// No Request can be made or read whose documents a client could not follow, or that
// one client would understand differently than another: a version that is left out or
// in force already, a key of an unknown kind, one key under two IDs, a new key under an
// ID that isn't its own, a threshold that no keys can meet, an expiry in parts of seconds, an online role that more than one
// key must sign. Nor one whose threshold of a role goes down without a declaration.
//
// ErrLocksOut is wrapped when clients would refuse what is published now, which only a
// declared compromise allows. Overlap makes the root that avoids it. Whether a key
// that is dropped signs online to this day is not known here: repository.Install
// finds out.
package ceremony
