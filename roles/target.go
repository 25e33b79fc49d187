package roles

import "encoding/json"

// Target describes one target file: what a client must find under its path
// (TUF specification, 4.5).
type Target struct {
	// Path is relative to the targets' base URL, with "/" between segments.
	Path string `json:"path"`

	// Length is the file's size in bytes.
	Length int64 `json:"length"`

	// Hashes are lower-case hex, by the algorithm's name in metadata: "sha256"
	// always, "sha512" and "blake2b-256" if wanted.
	Hashes map[string]string `json:"hashes"`

	// Custom is a JSON object for the application, signed with the target, or nil.
	Custom json.RawMessage `json:"custom,omitempty"`
}
