// Package roles builds, signs, parses and verifies the metadata of TUF
// (specification 1.0.34, sections 4 and 5).
//
// A metadata file is a signed part and signatures over its canonical JSON:
//
//	{"signatures": [{"keyid": "…", "sig": "…"}], "signed": {"_type": "timestamp", "version": 7, …}}
//
// Document is any such file; it keeps the bytes it was read from, and its signed
// part is of one of go-tuf's types. Bin and Snapshot are the two that are large
// and change with every upload: they are edited as bytes and never decoded.
//
// An Authority says whose signatures make a document valid. A root names the
// authorities of the top-level roles, a targets document those of the roles it
// delegates to.
package roles
