package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first file may be empty, and then a byte is what can be added to it.
func TestFirstFileIsEmpty(t *testing.T) {
	files := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(files, "__init__.py"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(files, "b"), []byte("b"), 0o644))
	out, err := quickstart(t, "-files", files, "-bins", "2")
	require.NoError(t, err)
	require.Contains(t, out, "The proxy adds a byte to the empty file __init__.py. The client says:\n      download length mismatch error: ")
	require.Contains(t, out, "length 1 is larger than expected 0\n")
}

// The bit is flipped in the hash of the path named, whatever else is in its bin.
func TestFlipHash(t *testing.T) {
	type entry struct {
		Hashes map[string]string `json:"hashes"`
		Length int               `json:"length"`
	}
	bin := map[string]map[string]map[string]entry{"signed": {"targets": {}}}
	before := bin["signed"]["targets"]
	paths := []string{"a", "a/b", "b", "hashes", "signed", "targets", "x/a"}
	for i, path := range paths {
		before[path] = entry{Hashes: map[string]string{"blake2b-256": strings.Repeat("1", 64), "sha256": strings.Repeat(string("0248ace"[i]), 63) + "2"}}
	}
	for _, path := range paths {
		body, err := json.Marshal(bin) // which sorts and leaves no spaces, as canonical JSON
		require.NoError(t, err)
		var after map[string]map[string]map[string]entry
		require.NoError(t, json.Unmarshal(flipHash(body, path), &after))
		for _, other := range paths {
			if other == path {
				require.NotEqual(t, before[other], after["signed"]["targets"][other], path)
			} else {
				require.Equal(t, before[other], after["signed"]["targets"][other], path)
			}
		}
	}
	require.Equal(t, "{}", string(flipHash([]byte("{}"), "a")))
}
