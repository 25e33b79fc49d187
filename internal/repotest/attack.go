package repotest

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Attacker has the online keys of a repository and write access to its store.
type Attacker struct {
	Bins, Online keys.Signer
	Timestamp    keys.Signer // nil: Online
	Store        repository.Store
	Expires      time.Time
}

// Publish publishes a generation of any version up to 2^63-1, in which edit has changed what each bin
// lists. It signs every bin again. It returns the timestamp.
func (a Attacker) Publish(t testing.TB, version int64, edit func(bin string) []roles.TargetEdit) []byte {
	t.Helper()
	ctx := context.Background()
	if a.Timestamp == nil {
		a.Timestamp = a.Online
	}
	a.Expires = a.Expires.UTC().Truncate(time.Second)
	get := func(name string) []byte {
		data, err := a.Store.Get(ctx, name)
		require.NoError(t, err)
		return data
	}
	write := func(role string, data []byte) {
		require.NoError(t, a.Store.Create(ctx, fmt.Sprintf("%d.%s.json", version, role), data))
	}
	before := get("timestamp.json")
	timestamp, err := metadata.Timestamp().FromBytes(before) // reads any version
	require.NoError(t, err)
	snapshot, err := roles.ParseSnapshot(get(fmt.Sprintf("%d.snapshot.json", timestamp.Signed.Meta["snapshot.json"].Version)))
	require.NoError(t, err)

	known := min(version, largest)
	var raised []roles.MetaEdit
	for m, err := range snapshot.Meta() {
		require.NoError(t, err)
		if !isBin.MatchString(m.Role) {
			continue
		}
		bin, err := roles.ParseBin(get(fmt.Sprintf("%d.%s.json", m.Version, m.Role)))
		require.NoError(t, err)
		bin, err = bin.Edit(known, a.Expires, edit(m.Role))
		require.NoError(t, err)
		write(m.Role, forged(t, bin, version, a.Bins))
		raised = append(raised, roles.MetaEdit{Role: m.Role, Version: known})
	}
	snapshot, err = snapshot.Edit(known, a.Expires, raised)
	require.NoError(t, err)
	file := forged(t, snapshot, version, a.Online)
	write(metadata.SNAPSHOT, file)
	next, err := roles.NewTimestamp(known, a.Expires, known, file)
	require.NoError(t, err)
	after := forged(t, next, version, a.Timestamp)
	require.NoError(t, a.Store.Swap(ctx, "timestamp.json", before, after))
	return after
}

// largest is the largest version that all clients read. Package roles makes no larger ones.
const largest int64 = 1<<53 - 1

// forged is the file of d, signed, in which each version that is as large as package roles makes it is
// version instead.
func forged(t testing.TB, d roles.Signed, version int64, signer keys.Signer) []byte {
	t.Helper()
	canonical := d.Canonical()
	if version > largest {
		canonical = bytes.ReplaceAll(canonical, fmt.Append(nil, largest), fmt.Append(nil, version))
	}
	sig, err := roles.Sign(context.Background(), signer, canonical)
	require.NoError(t, err)
	return fmt.Appendf(nil, `{"signatures":[{"keyid":%q,"sig":%q}],"signed":%s}`, sig.KeyID, hex.EncodeToString(sig.Sig), canonical)
}
