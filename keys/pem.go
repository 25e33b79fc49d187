package keys

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// decodePEM returns the content of a PEM block of one of the types. pem.Decode
// passes over what is around a block, broken blocks included; here nothing may
// be, but white space after it.
func decodePEM(data []byte, types ...string) ([]byte, error) {
	begin := []byte("-----BEGIN ")
	block, rest := pem.Decode(data)
	switch {
	case block == nil || !bytes.HasPrefix(data, begin):
		return nil, errors.New("it does not begin with a PEM block")
	case bytes.Count(data, begin) > 1 || len(bytes.TrimSpace(rest)) > 0:
		return nil, errors.New("something follows the PEM block")
	case !slices.Contains(types, block.Type):
		return nil, fmt.Errorf("PEM type %q, want %q", block.Type, types[0])
	case len(block.Headers) > 0:
		return nil, errors.New("a PEM block with headers, as OpenSSL's old encrypted keys have: only blocks without headers are read")
	}
	return block.Bytes, nil
}
