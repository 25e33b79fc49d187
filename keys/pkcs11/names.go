//go:build pkcs11 && cgo

package pkcs11

import (
	"fmt"
	"strings"
)

// tokenName describes the token that is looked for.
func (cfg Config) tokenName() string {
	return "token" + describe("", cfg.Token) + describe("serial", cfg.Serial) +
		describe("manufacturer", cfg.Manufacturer) + describe("model", cfg.Model)
}

// keyName describes the key that is looked for.
func (cfg Config) keyName() string {
	name := "key" + describe("", cfg.Object)
	if len(cfg.ID) > 0 {
		name += fmt.Sprintf(" ID %x", cfg.ID)
	}
	return name
}

func describe(what, value string) string {
	if value == "" {
		return ""
	}
	return strings.TrimSuffix(" "+what, " ") + fmt.Sprintf(" %q", value)
}
