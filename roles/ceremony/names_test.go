package ceremony_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A name that may be taken for another is warned of, once a request.
func TestNamesThatLookAlike(t *testing.T) {
	for name, c := range map[string]struct {
		names []string
		want  []string
	}{
		"plain":     {[]string{"Ada", "Bob", "\u0410\u0434\u0430", "\u674e Ada \u30a2\u30c0", "\u00c9mile 2"}, nil},
		"the same":  {[]string{"Ada", "Ada"}, nil},
		"no letter": {[]string{"1", "2"}, nil},
		"mixed": {[]string{"Ada", "Ad\u0430"}, []string{
			"the name Ad\u0430 (\"Ad\\u0430\") mixes Cyrillic and Latin letters: compare its key ID"}},
		"other case": {[]string{"Ada", "ADA"}, []string{
			`the names ADA ("ADA") and Ada ("Ada") are of different keys and nearly the same: compare the key IDs`}},
		"other width": {[]string{"Ada", "\uff21da"}, []string{
			"the names Ada (\"Ada\") and \uff21da (\"\\uff21da\") are of different keys and nearly the same: compare the key IDs"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.names...)
			steps := w.request(w.first(len(c.names)/2 + 1)).Steps()
			var got []string
			for i, step := range steps {
				for _, warning := range step.Warnings {
					if warning[:9] == "the name " || warning[:9] == "the names" {
						require.Zero(t, i)
						got = append(got, warning)
					}
				}
			}
			require.Equal(t, c.want, got)
		})
	}
	// Of a key that nothing says anything of, the name doesn't matter.
	w := begun(t)
	w.names["00"] = "ada"
	require.Empty(t, w.request(w.next(nil)).Steps()[0].Warnings)
}
