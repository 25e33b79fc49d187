package ceremony

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Holder is a person who holds a key.
type Holder struct {
	Name string
	Key  *keys.PublicKey
}

// card is the file of a Holder. The proof is a signature over the card without its proof. No TUF
// metadata has that form.
type card struct {
	Format string  `json:"format"`
	Name   string  `json:"name"`
	Key    cardKey `json:"key"`
	Proof  string  `json:"proof,omitempty"`
}

type cardKey struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"`
	} `json:"keyval"`
}

func cardKeyOf(k *keys.PublicKey) (c cardKey) {
	c.Type, c.Scheme, c.Value.Public = k.Type(), k.Scheme(), k.Value()
	return c
}

// id is the ID that the specification defines (4.2).
func (c cardKey) id() (string, error) {
	message, err := canonical(c)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(message)
	return hex.EncodeToString(sum[:]), nil
}

var cardMembers = schema.Members{
	"name": nameRule,
	"key": schema.Closed(schema.Members{
		"keytype": schema.Text,
		"scheme":  schema.Text,
		"keyval":  schema.Closed(schema.Members{"public": schema.Text}, nil),
	}, nil),
	"proof": schema.Hex,
}

// NewCard returns the card (a file) of the holder of signer. It refuses a name that is empty, is
// longer than 80 bytes, has invisible characters, or reads like a name with a key ID. For a name with
// letters of two scripts, Steps has a warning.
func NewCard(ctx context.Context, signer keys.Signer, name string) ([]byte, error) {
	if err := checkName("the name", name); err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	c := card{Format: cardKind.format(), Name: name, Key: cardKeyOf(signer.Public())}
	message, err := cjson.Canonicalize(encode(c))
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	proof, err := roles.Sign(ctx, signer, message)
	if err != nil {
		return nil, fmt.Errorf("card: %w", err)
	}
	c.Proof = hex.EncodeToString(proof.Sig)
	return append(encode(c), '\n'), nil
}

// ParseCard reads a card and verifies its proof. The key has the ID that the
// specification defines.
func ParseCard(file []byte) (Holder, error) {
	var c card
	if err := cardKind.decode(file, &c); err != nil {
		return Holder{}, err
	}
	h := Holder{Name: c.Name}
	id, err := c.Key.id()
	if err != nil {
		return Holder{}, fmt.Errorf("card of %s: %w", c.Name, err)
	}
	h.Key, err = keys.ParsePublicKey(id, c.Key.Type, c.Key.Scheme, c.Key.Value.Public)
	if err != nil {
		return Holder{}, fmt.Errorf("card of %s: %w", c.Name, err)
	}
	proof, err := hex.DecodeString(c.Proof)
	if err != nil {
		return Holder{}, fmt.Errorf("card of %s: proof: %w", c.Name, err)
	}
	c.Proof = ""
	message, err := canonical(c)
	if err == nil {
		err = h.Key.Verify(message, proof)
	}
	if err != nil {
		return Holder{}, fmt.Errorf("card of %s: the proof that its author has the private key: %w", c.Name, err)
	}
	return h, nil
}

func canonical(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return cjson.Canonicalize(data)
}
