package keys

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFilePathOnWindows(t *testing.T) {
	for place, want := range map[string]string{
		"/C:/bindery/online.key": "C:/bindery/online.key",
		"///d:/online%20key":     "d:/online key",
		"/%43:/a":                "C:/a",
	} {
		name, err := filePath("windows", place)
		require.NoError(t, err, place)
		require.Equal(t, want, name)
		_, err = filePath("linux", place)
		require.NoError(t, err, place)
	}
	for place, want := range map[string]string{
		"/etc/online.key":  "on Windows the path must begin with a drive",
		"/C:online.key":    "on Windows the path must begin with a drive",
		"C:/online.key":    "the path must be absolute",
		"//server/share/a": `must be followed by a third "/"`,
	} {
		_, err := filePath("windows", place)
		require.ErrorContains(t, err, want, place)
	}
}
