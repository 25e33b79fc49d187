package keystest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/stretchr/testify/require"
)

// fault is a signer with one fault.
type fault struct {
	keys.Signer
	limit int // none if 0
	sign  func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error)
}

func (f fault) MaxMessage() int {
	if f.limit > 0 {
		return f.limit
	}
	return f.Signer.MaxMessage()
}

func (f fault) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return f.sign(ctx, f.Signer, message)
}

// renamed changes its key's ID after the first call.
type renamed struct {
	keys.Signer
	calls *atomic.Int64
}

func (r renamed) Public() *keys.PublicKey {
	if r.calls.Add(1) == 1 {
		return r.Signer.Public()
	}
	p := r.Signer.Public()
	k, err := keys.ParsePublicKey("other", p.Type(), p.Scheme(), p.Value())
	if err != nil {
		panic(err)
	}
	return k
}

// faults are faulty signers, by the part of the suite that must notice.
var faults = map[string]func(s keys.Signer) keys.Signer{
	"public_key": func(s keys.Signer) keys.Signer { return renamed{s, new(atomic.Int64)} },
	"sizes": func(s keys.Signer) keys.Signer {
		return fault{Signer: s, sign: func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error) {
			return s.Sign(ctx, message[:min(len(message), 4096)])
		}}
	},
	"too_large": func(s keys.Signer) keys.Signer {
		return fault{Signer: s, limit: 4096, sign: func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error) {
			return s.Sign(ctx, message)
		}}
	},
	"message_is_left_alone": func(s keys.Signer) keys.Signer {
		return fault{Signer: s, sign: func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error) {
			_ = append(message, 0) // writes past its end
			return s.Sign(ctx, message)
		}}
	},
	"context": func(s keys.Signer) keys.Signer {
		return fault{Signer: s, sign: func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error) {
			return s.Sign(context.WithoutCancel(ctx), message)
		}}
	},
	"concurrent": func(s keys.Signer) keys.Signer {
		var busy atomic.Int64
		both := make(chan struct{})
		return fault{Signer: s, sign: func(ctx context.Context, s keys.Signer, message []byte) ([]byte, error) {
			if !strings.HasPrefix(string(message), "message ") {
				return s.Sign(ctx, message)
			}
			if busy.Add(1) == 2 { // the second caller's message is signed for the first, too
				close(both)
			}
			<-both
			return s.Sign(ctx, []byte("message of whoever came last"))
		}}
	},
	"go-tuf_verifies": func(keys.Signer) keys.Signer { return newRaw() },
	"what_is_shown": func(s keys.Signer) keys.Signer {
		return struct {
			keys.Signer
			pin string
		}{s, secret}
	},
}

const secret = "hunter2"

// newRaw signs as a PKCS#11 token does, r and s without ASN.1.

func newRaw() keys.Signer {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	s, err := keys.NewSigner(private)
	if err != nil {
		panic(err)
	}
	return fault{Signer: s, sign: func(_ context.Context, _ keys.Signer, message []byte) ([]byte, error) {
		digest := sha256.Sum256(message)
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		return slices.Concat(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))), nil
	}}
}

// TestFaultySigner does nothing but in the process that TestSuiteNoticesFaults
// starts for each fault, where it has to fail.
func TestFaultySigner(t *testing.T) {
	faulty, ok := faults[os.Getenv("KEYSTEST_FAULT")]
	if !ok {
		t.Skip("run by TestSuiteNoticesFaults")
	}
	keystest.TestSigner(t, func(t *testing.T) keys.Signer {
		s, err := keys.GenerateP256()
		require.NoError(t, err)
		return faulty(s)
	}, secret)
}

func TestSuiteNoticesFaults(t *testing.T) {
	for part := range faults {
		t.Run(part, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultySigner$")
			cmd.Env = append(os.Environ(), "KEYSTEST_FAULT="+part)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Contains(t, string(out), "--- FAIL: TestFaultySigner/"+part+" ")
			require.NotContains(t, string(out), "panic:")
		})
	}
}
