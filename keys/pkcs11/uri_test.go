package pkcs11

import (
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for place, want := range map[string]Config{
		"token=bindery;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so": {Token: "bindery", Object: "root", Module: "/usr/lib/softhsm/libsofthsm2.so"},
		"serial=8f2a;id=%01%FF%00;type=private":                                 {Serial: "8f2a", ID: []byte{1, 0xff, 0}},
		"manufacturer=Snake%20Oil%2c%20Inc.;model=1.0;token=a%3Bb%3Dc;id=abc":   {Manufacturer: "Snake Oil, Inc.", Model: "1.0", Token: "a;b=c", ID: []byte("abc")},
		"token=a+b&c=d:e%2Ff;object=sch%C3%B6n":                                 {Token: "a+b&c=d:e/f", Object: "schön"},
	} {
		var cfg Config
		require.NoError(t, cfg.parse(place), place)
		require.Equal(t, want, cfg)
	}
	cfg := Config{Module: "/default.so", Timeout: 1}
	require.NoError(t, cfg.parse("token=a;id=b"))
	require.Equal(t, Config{Module: "/default.so", Timeout: 1, Token: "a", ID: []byte("b")}, cfg)
}

func TestParseRefuses(t *testing.T) {
	for place, want := range map[string]string{
		"":                             "byte 0: an attribute is missing",
		"?module-path=/m":              "byte 0: an attribute is missing",
		"token=a;":                     "byte 8: an attribute is missing",
		"token=a;;id=b":                "byte 8: an attribute is missing",
		"token=a?":                     "byte 8: an attribute is missing",
		"token=a?module-path=/m&":      "byte 23: an attribute is missing",
		"token":                        `byte 0: attribute "token" has no value`,
		"token=":                       `byte 0: attribute "token" has no value`,
		"token=a;id=":                  `byte 8: attribute "id" has no value`,
		"=a":                           "byte 0: not the name of an attribute",
		"Token=a":                      "byte 0: not the name",
		"to%6ben=a":                    "byte 0: not the name",
		"token=a;token=b":              `byte 8: attribute "token" appears twice`,
		"id=a;id=a":                    `byte 5: attribute "id" appears twice`,
		"token=a;label=b":              `byte 8: unknown attribute "label"`,
		"token=a;module-path=/m":       `byte 8: unknown attribute "module-path"`,
		"token=a?token=b":              `byte 8: unknown attribute "token"`,
		"token=a?id=b":                 `byte 8: unknown attribute "id"`,
		"token=a;slot-id=1":            `byte 8: attribute "slot-id": slots are numbered anew`,
		"token=a?module-name=softhsm2": `byte 8: attribute "module-name": what it finds depends on the machine`,
		"token=a?pin-source=/etc/pin":  `byte 8: attribute "pin-source": the PIN comes from the program`,
		"token=a?pin-value=hunter2":    `byte 8: attribute "pin-value": a secret does not belong in a URI`,
		"token=a;pin-value=hunter2":    `byte 8: attribute "pin-value": a secret`,
		"token=a;type=public":          `attribute "type": only "private" keys sign`,
		"token=%1":                     `byte 0: attribute "token": wrong percent-encoding`,
		"token=a/b":                    `byte 0: attribute "token": wrong percent-encoding`,
		"token=%00":                    `byte 0: attribute "token": not UTF-8`,
		"token=%ff":                    `byte 0: attribute "token": not UTF-8`,
		"token=a?module-path=/m?x":     `attribute "module-path": wrong percent-encoding`,
		"token=a?module-path=/m;id=b":  `attribute "module-path": wrong percent-encoding`,
	} {
		err := new(Config).parse(place)
		require.ErrorContains(t, err, want, place)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestConfigRefuses(t *testing.T) {
	good := Config{Module: "/m", Token: "a", Object: "b"}
	_, err := good.withDefaults()
	require.NoError(t, err)
	for want, change := range map[string]func(*Config){
		"the module is not given":                  func(c *Config) { c.Module = "" },
		`the path of the module, "m", is not abso`: func(c *Config) { c.Module = "m" },
		"neither label nor serial number":          func(c *Config) { c.Token = "" },
		"neither label nor ID":                     func(c *Config) { c.Object = "" },
		"Config.MaxMessage is below zero: -1":      func(c *Config) { c.MaxMessage = -1 },
		"Config.Timeout is below zero: -1ns":       func(c *Config) { c.Timeout = -1 },
	} {
		cfg := good
		change(&cfg)
		s, err := Open(t.Context(), cfg)
		require.Nil(t, s)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "pkcs11: ")
	}
}

func TestOpenerRefuses(t *testing.T) {
	r := keys.Resolver{"pkcs11": Opener(Config{Module: "/m", Token: "not this", Object: "nor this"})}
	for uri, want := range map[string]string{
		"pkcs11:token=a;slot-id=1":                   "slots are numbered anew",
		"pkcs11:object=a":                            "neither label nor serial number of the token",
		"pkcs11:token=a":                             "neither label nor ID of the key",
		"pkcs11:token=a;id=b?module-path=m":          "is not absolute",
		"pkcs11:token=a;id=b?pin-value=hunter2":      `attribute "pin-value"`,
		"pkcs11:token=a;pin-value=hunter2;id=b":      `attribute "pin-value"`,
		"pkcs11:token=a b":                           "byte 14: ' ' must be percent-encoded",
		"pkcs11:" + strings.Repeat("token=a;", 1000): "at most 2048",
	} {
		s, err := r.Open(t.Context(), uri, nil)
		require.Nil(t, s)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func FuzzParse(f *testing.F) {
	for _, place := range []string{
		"token=bindery;object=root;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so",
		"serial=8f2a;id=%01%FF%00;type=private", "manufacturer=Snake%20Oil%2c%20Inc.;model=1.0;token=a%3Bb",
		"token=a?pin-value=1234", "token=a?pin-source=/etc/pin&module-name=x", "slot-id=1", "", "token=a;", "id=%", "type=public",
		"token=a:pin-value", // a label like any other
	} {
		f.Add(place)
	}
	f.Fuzz(func(t *testing.T, place string) {
		var cfg Config
		if err := cfg.parse(place); err != nil {
			for i, c := range []byte(err.Error()) {
				require.True(t, c >= ' ' && c != 0x7f, "byte %d of %q", i, err)
			}
			return
		}
		// What was parsed is all there is: written again, it is the same.
		var again Config
		require.NoError(t, again.parse(format(cfg)))
		require.Equal(t, cfg, again)
		path, query, _ := strings.Cut(place, "?")
		for _, attribute := range append(strings.Split(path, ";"), strings.Split(query, "&")...) {
			require.False(t, strings.HasPrefix(attribute, "pin-value"))
		}
	})
}

// format writes a URI with every byte escaped.
func format(cfg Config) string {
	var path []string
	add := func(name, value string) {
		if value == "" {
			return
		}
		var escaped strings.Builder
		for _, b := range []byte(value) {
			escaped.WriteString("%" + string("0123456789abcdef"[b>>4]) + string("0123456789abcdef"[b&15]))
		}
		path = append(path, name+"="+escaped.String())
	}
	add("token", cfg.Token)
	add("serial", cfg.Serial)
	add("manufacturer", cfg.Manufacturer)
	add("model", cfg.Model)
	add("object", cfg.Object)
	add("id", string(cfg.ID))
	add("type", "private")
	place := strings.Join(path, ";")
	path = nil
	if add("module-path", cfg.Module); path != nil {
		place += "?" + path[0]
	}
	return place
}
