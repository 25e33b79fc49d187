// Package ceremony lets people sign TUF metadata with offline keys: at different times, on
// machines without a network (PEP 458, "Offline keys").
//
// The person who prepares a ceremony makes the new documents, and a request that holds them:
//
//	request, err := ceremony.NewRequest(ceremony.Proposal{
//		Reason: "Bob leaves, Dora joins",
//		Names:  names,   // of people, by key ID
//		Current: current, // what is published now
//		New:    []ceremony.Document{{Role: "root", File: root.Bytes()}},
//	})
//	...
//	err = os.WriteFile("request.json", request.Bytes(), 0o644) // for the USB stick
//
// Each holder reads what it changes (Request.Steps), compares Request.Digest with a copy on
// paper, and signs:
//
//	response, notebook, err := request.Sign(ctx, signer, notebook, time.Now())
//
// Sign checks the request against the root that the holder's notebook trusts.
// Request.Merge puts responses together in any order, says who is still missing, and gives
// out documents once they are complete. Nothing in this package reads or writes a file, or
// asks what time it is.
//
// Names of people and URIs of keys never get into metadata, where they would change key IDs.
// The files of a ceremony hold them.
//
// # Files
//
// There are four kinds of file. Each is a JSON object whose member "format" names the kind
// and its version. Duplicate or unknown members, trailing data and values of another type are
// errors that name the place. A file's name has no meaning.
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
//   - names has a name for each key, by key ID. The author of the request chose them. They
//     are shown together with the key IDs;
//   - declares: compromise allows a change under which clients would refuse what is published
//     now; lowers lists the roles whose threshold goes down: "root", "targets", "snapshot",
//     "timestamp", "bins", or "each bin";
//   - destroyed lists the one-time keys that signed documents of this request and were then
//     destroyed, as {"role": "targets", "keyids": ["…"], "at": "2030-01-31T12:00:00Z"};
//   - current is what is published now, and empty for a new repository. roots are consecutive
//     and complete, and the last is in force: a holder who trusts any of them can follow.
//     targets and bins may be left out if no document follows them and none changes who signs
//     them. There are no bins if targets delegate to none: the first ones have version 1;
//   - documents are to be published in this order. Each is of the role "root", "targets" or
//     "bins". digest is the SHA-256 of the canonical form of "signed". A document has no
//     signatures or, if one-time keys signed it, all that it needs. Documents stay byte for
//     byte as they were, except for white space around them.
//
// The digest that people compare is of the whole request, so that a holder's screen can't
// show anything but what was printed. It is the SHA-256 of the canonical form of
//
//	{
//	  "format": "bindery-ceremony-request/1",
//	  "reason": …, "names": …, "declares": …, "destroyed": …,
//	  "current": [{"role": "root", "version": 1, "digest": "81d0…"}],
//	  "documents": [{"role": "root", "version": 2, "digest": "5b1c…", "signed": []}]
//	}
//
// Reason, names, declares and destroyed are as in the file. Current lists the last of the
// roots, targets and bins, as far as they are there. Signed lists the key IDs of a document's
// signatures, sorted. Earlier roots of current can lead to no other root, so the digest
// leaves them out.
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
// A card gives the public key of a future holder. Its proof of the private key is a signature
// over the canonical form of the card without "proof".
//
//	{
//	  "format": "bindery-ceremony-card/1",
//	  "name": "Dora",
//	  "key": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "…"}},
//	  "proof": "…"
//	}
//
// A notebook stays with a holder's key. It has the root that the holder trusts, and what the
// key has signed, so that it never signs two documents of one version.
//
//	{
//	  "format": "bindery-ceremony-notebook/1",
//	  "trusted": {"role": "root", "version": 1, "digest": "5b1c…"},
//	  "signed": [{"role": "root", "version": 2, "digest": "81d0…"}]
//	}
//
// # What is refused
//
// NewRequest and ParseRequest refuse documents that some client can't follow or reads
// differently: a version that is skipped or already in force, a key of an unknown kind, one
// key under two IDs, a threshold that can't be met, an expiry in fractions of a second, an online
// role that more than one key must sign. They also refuse a threshold that goes down without a
// declaration.
//
// They refuse a key under an ID that isn't the SHA-256 of the canonical form of its entry. A
// published entry may stay as it is, whatever its ID; Steps then has a warning, because tough can't
// read the document. NextRoot and NextTargets keep such entries. RootSpec refuses a root with a key
// that Bindery can't use until the caller drops that key by its ID.
//
// ErrLocksOut is wrapped if clients would refuse what is published now. Only a declared
// compromise allows that. Overlap makes the root that avoids it. This package doesn't know
// whether a dropped key still signs online: the repository checks that when the root is
// installed.
package ceremony
