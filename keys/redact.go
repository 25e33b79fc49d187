package keys

import "fmt"

// Format prints the scheme and the key ID under every verb, so that no log and no
// error ever holds the private key.
func (s MemorySigner) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "private key (%s, ID %s)", s.public.scheme, s.public.id)
}
