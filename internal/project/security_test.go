package project_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// namedTest is how SECURITY.md names a test: its folder, and its name.
var namedTest = regexp.MustCompile("`([a-z0-9/]+)/(Test[A-Za-z0-9]+)`")

// What SECURITY.md claims is shown by tests, which exist.
func TestSecurityNamesItsTests(t *testing.T) {
	policy, err := os.ReadFile(filepath.Join(top, ".github", "SECURITY.md"))
	require.NoError(t, err)
	named := namedTest.FindAllSubmatch(policy, -1)
	require.NotEmpty(t, named)
	folders := map[string]string{}
	for _, n := range named {
		folder, name := string(n[1]), string(n[2])
		if folders[folder] == "" {
			files, err := filepath.Glob(filepath.Join(top, filepath.FromSlash(folder), "*_test.go"))
			require.NoError(t, err)
			for _, file := range files {
				source, err := os.ReadFile(file)
				require.NoError(t, err)
				folders[folder] += "\n" + string(source)
			}
		}
		require.True(t, strings.Contains(folders[folder], "\nfunc "+name+"("), "SECURITY.md names %s, and %s has no such test", name, folder)
	}
	all := regexp.MustCompile(`Test[A-Z][A-Za-z0-9]+`).FindAllString(string(policy), -1)
	require.Len(t, named, len(all), "SECURITY.md names a test without its folder")
}

// untested are cells of the table that say something which no test can show.
var untested = []string{
	"None within TUF. Clients must be given a new first root by hand",
	"Sign all that this key may sign, as long as the permission lasts: the rows of the keys say what",
	"Read what was accepted and isn't published yet",
	"Nothing but the key files is secret: see those",
}

// Each cell of the table names a test, but for these.
func TestSecurityTable(t *testing.T) {
	policy, err := os.ReadFile(filepath.Join(top, ".github", "SECURITY.md"))
	require.NoError(t, err)
	rows, without := 0, []string{}
	for line := range strings.Lines(string(policy)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| **") {
			continue
		}
		rows++
		require.Len(t, cells, 4, line)
		for _, cell := range cells[1:] {
			if !namedTest.MatchString(cell) {
				without = append(without, strings.TrimSpace(cell))
			}
		}
	}
	require.Positive(t, rows)
	require.ElementsMatch(t, untested, without)
}
