package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// README.md has a configuration that is right, and each member, request and code that there is.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(data)
	_, block, found := strings.Cut(readme, "```json\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	_, err = configOf(t, block)
	require.NoError(t, err)

	requireMembers(t, readme, reflect.TypeFor[config]())
	for _, c := range codes {
		require.Contains(t, readme, "`"+c.code+"`")
	}
	for _, source := range []string{"api.go", "ceremony.go", "token.go"} {
		code, err := os.ReadFile(source)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`"(GET|PUT|POST|DELETE) (/[^"{]*)`).FindAllStringSubmatch(string(code), -1) {
			require.Contains(t, readme, m[1]+" "+strings.TrimSuffix(m[2], "/"))
		}
		for _, m := range regexp.MustCompile(`refuse\(w, [^,]*, "(\w+)"|status, code(?:, err)? = [^,]*, "(\w+)"`).FindAllStringSubmatch(string(code), -1) {
			require.Contains(t, readme, "`"+m[1]+m[2]+"`")
		}
	}
}

func requireMembers(t *testing.T, readme string, v reflect.Type) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Field(i)
		name := field.Tag.Get("json")
		require.True(t, regexp.MustCompile("[`.\"]"+name+"[`.\"]").MatchString(readme), name)
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			requireMembers(t, readme, inner)
		}
	}
}
