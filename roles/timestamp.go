package roles

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// NewTimestamp returns an unsigned timestamp that names a snapshot by its
// version, and by the length and SHA-256 of snapshotFile (TUF specification,
// 4.6). With the length there, a client reads a snapshot larger than its default
// limit.
func NewTimestamp(version int64, expires time.Time, snapshotVersion int64, snapshotFile []byte) (*Document[metadata.TimestampType], error) {
	if len(snapshotFile) == 0 { // go-tuf would leave out the length
		return nil, fmt.Errorf("timestamp version %d: the bytes of the snapshot are missing", version)
	}
	sum := sha256.Sum256(snapshotFile)
	return New(metadata.TimestampType{
		Type:        metadata.TIMESTAMP,
		SpecVersion: SpecVersion,
		Version:     version,
		Expires:     expires,
		Meta: map[string]*metadata.MetaFiles{snapshotName: {
			Version: snapshotVersion,
			Length:  int64(len(snapshotFile)),
			Hashes:  metadata.Hashes{"sha256": sum[:]},
		}},
	})
}
