package repotest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/bindery-tuf/bindery/roles"
)

// File returns the target of a file with that content.
func File(path, content string) roles.Target {
	sum := sha256.Sum256([]byte(content))
	return roles.Target{Path: path, Length: int64(len(content)), Hashes: map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// Files returns n targets, of a project's files.
func Files(project string, n int) []roles.Target {
	out := make([]roles.Target, n)
	for i := range out {
		out[i] = File(fmt.Sprintf("packages/%s/%s-%d.tar.gz", project, project, i), fmt.Sprint(project, i))
	}
	return out
}
