package gcpkms_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// change lets every answer to AsymmetricSign be changed.
func change(f func(*kmspb.AsymmetricSignResponse)) func(*fakeKMS) {
	return func(fake *fakeKMS) {
		fake.afterSign = func(_ int, out *kmspb.AsymmetricSignResponse) { f(out) }
	}
}

// failing lets every call fail.
func failing(err error) func(*fakeKMS) {
	return func(fake *fakeKMS) {
		fake.before = func(context.Context, int, string) error { return err }
	}
}

func inState(state kmspb.CryptoKeyVersion_CryptoKeyVersionState) func(*fakeKMS) {
	return func(fake *fakeKMS) { fake.keys[name].state = state }
}

// faults are what can become of a key after it was imported, and of its service:
// with the error, and with how many calls were made until it was returned.
var faults = map[string]struct {
	fault func(*fakeKMS)
	is    error // nil: none of ours
	text  string
	calls int
}{
	"deleted":   {func(f *fakeKMS) { delete(f.keys, name) }, keys.ErrUnusable, "there is no such key: is the name right?", 1},
	"disabled":  {inState(kmspb.CryptoKeyVersion_DISABLED), keys.ErrUnusable, "only an enabled version signs: ", 1},
	"scheduled": {inState(kmspb.CryptoKeyVersion_DESTROY_SCHEDULED), keys.ErrUnusable, "current state is: DESTROY_SCHEDULED", 1},
	"destroyed": {inState(kmspb.CryptoKeyVersion_DESTROYED), keys.ErrUnusable, "current state is: DESTROYED", 1},

	// The name now means a key of another kind: the service refuses what it is sent,
	// or it signs by another algorithm.
	"Ed25519 instead": {func(f *fakeKMS) { f.keys[name] = enabled(ed) }, keys.ErrUnusable, "of another kind than the public key", 1},
	"RSA instead":     {func(f *fakeKMS) { f.keys[name] = enabled(pss2) }, keys.ErrSignature, "is this the name of another key?", 1},
	"another P-256 key instead": {func(f *fakeKMS) { f.keys[name].private = generate(p256) },
		keys.ErrSignature, "is this the name of another key?", 1},

	"another key's signature": {change(func(out *kmspb.AsymmetricSignResponse) {
		digest := sha256.Sum256([]byte("message"))
		out.Signature, _ = generate(p256).Sign(nil, digest[:], nil)
		out.SignatureCrc32C = checksum(out.Signature)
	}), keys.ErrSignature, "does not verify", 1},
	"a signature of something else": {change(func(out *kmspb.AsymmetricSignResponse) {
		digest := sha256.Sum256([]byte("something else"))
		out.Signature, _ = privates()[p256].Sign(nil, digest[:], nil)
		out.SignatureCrc32C = checksum(out.Signature)
	}), keys.ErrSignature, "does not verify", 1},
	"no signature": {change(func(out *kmspb.AsymmetricSignResponse) {
		out.Signature, out.SignatureCrc32C = nil, checksum(nil)
	}), keys.ErrSignature, "does not verify", 1},
	"another name": {change(func(out *kmspb.AsymmetricSignResponse) { out.Name = other }),
		nil, `the service answered for another key, "` + other + `"`, 1},

	"signature damaged": {change(func(out *kmspb.AsymmetricSignResponse) { out.Signature[8] ^= 1 }),
		keys.ErrUnavailable, "after 5 attempts: key unavailable for now: the signature was damaged on the way", 5},
	"checksum damaged": {change(func(out *kmspb.AsymmetricSignResponse) { out.SignatureCrc32C.Value ^= 1 }),
		keys.ErrUnavailable, "the signature was damaged on the way", 5},
	"no checksum": {change(func(out *kmspb.AsymmetricSignResponse) { out.SignatureCrc32C = nil }),
		keys.ErrUnavailable, "a signature without its checksum", 5},
	"request not compared": {change(func(out *kmspb.AsymmetricSignResponse) { out.VerifiedDigestCrc32C = false }),
		keys.ErrUnavailable, "did not compare the checksum of what it was to sign", 5},

	"throttled":     {failing(errThrottled), keys.ErrUnavailable, "throttled: make fewer calls a second (Config.PerSecond)", 5},
	"down":          {failing(status.Error(codes.Unavailable, "maintenance")), keys.ErrUnavailable, "maintenance", 5},
	"failed inside": {failing(status.Error(codes.Internal, "bad luck")), keys.ErrUnavailable, "bad luck", 5},
	"aborted":       {failing(status.Error(codes.Aborted, "bad luck")), keys.ErrUnavailable, "bad luck", 5},
	"canceled":      {failing(status.Error(codes.Canceled, "stream reset")), keys.ErrUnavailable, "stream reset", 5},
	"too late":      {failing(status.Error(codes.DeadlineExceeded, "bad luck")), keys.ErrUnavailable, "bad luck", 5},
	"unknown":       {failing(status.Error(codes.Unknown, "bad gateway")), keys.ErrUnavailable, "bad gateway", 5},
	"not offered":   {failing(status.Error(codes.Unimplemented, "no such method")), nil, "no such method", 1},
	"denied":        {failing(errDenied), keys.ErrDenied, "a role must permit the call", 1},
	"token expired": {failing(errToken), keys.ErrDenied, "the credentials are missing, expired or wrong: renew them", 1},
	"slow": {func(f *fakeKMS) {
		f.before = func(ctx context.Context, _ int, _ string) error { <-ctx.Done(); return ctx.Err() }
	}, keys.ErrUnavailable, "after 5 attempts: key unavailable for now: no answer within 10s", 5},
}

// Every failure names the key, has its kind and the way on, and is final or was
// tried as often as it may be; and the key goes on working when it is over.
func TestFaults(t *testing.T) {
	for what, c := range faults {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, client := newClient(t, gcpkms.Config{})
				s := newSigner(t, fake, client)
				fake.set(func() { c.fault(fake) })
				sig, err := s.Sign(t.Context(), []byte("message"))
				require.Nil(t, sig)
				onlyIs(t, err, c.is)
				require.ErrorContains(t, err, c.text)
				require.ErrorContains(t, err, "sign with "+name+" (key ID "+s.Public().ID()+"): ")
				require.NotContains(t, err.Error(), "\n")
				require.Len(t, fake.took(), c.calls)

				fake.set(func() {
					fake.before, fake.afterSign = nil, nil
					fake.keys[name] = enabled(p256)
				})
				_, err = s.Sign(t.Context(), []byte("message"))
				require.NoError(t, err)
				require.Equal(t, []string{"AsymmetricSign"}, fake.took())
			})
		})
	}
}

// What failed once is asked for again, and the log says so.
func TestFaultsThatPass(t *testing.T) {
	for what, c := range faults {
		if c.is != keys.ErrUnavailable {
			continue
		}
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				fake, client := newClient(t, gcpkms.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				s := newSigner(t, fake, client)
				fake.set(func() {
					c.fault(fake)
					before, after := fake.before, fake.afterSign
					fake.before = func(ctx context.Context, call int, method string) error {
						if call > 1 || before == nil {
							return nil
						}
						return before(ctx, call, method)
					}
					fake.afterSign = func(call int, out *kmspb.AsymmetricSignResponse) {
						if call == 1 && after != nil {
							after(call, out)
						}
					}
				})
				sig, err := s.Sign(t.Context(), []byte("message"))
				require.NoError(t, err)
				require.NoError(t, s.Public().Verify([]byte("message"), sig))
				require.Len(t, fake.took(), 2)
				require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
				require.Contains(t, log.String(), "key="+name)
			})
		})
	}
}

// The raw form has a checksum of its own.
func TestRawRequestNotCompared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{Attempts: 2})
		fake.keys[name] = enabled(ed)
		s := newSigner(t, fake, client)
		fake.afterSign = func(_ int, out *kmspb.AsymmetricSignResponse) {
			out.VerifiedDigestCrc32C, out.VerifiedDataCrc32C = true, false
		}
		_, err := s.Sign(t.Context(), []byte("message"))
		onlyIs(t, err, keys.ErrUnavailable)
		require.ErrorContains(t, err, "did not compare the checksum")
		require.Len(t, fake.took(), 2)
	})
}

// A request that is damaged on the way is one that the service refuses, not one
// that the key is wrong for.
func TestRequestDamaged(t *testing.T) {
	for _, a := range []algorithm{p256, ed} {
		synctest.Test(t, func(t *testing.T) {
			fake := newFake()
			fake.keys[name] = enabled(a)
			fake.start(t)
			left := 1 // requests to damage
			damage := func(ctx context.Context, method string, in, out any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if sign, ok := in.(*kmspb.AsymmetricSignRequest); ok && left > 0 {
					left--
					damaged := proto.CloneOf(sign)
					if damaged.Digest == nil {
						damaged.Data[0] ^= 1
					} else {
						damaged.Digest.GetSha256()[0] ^= 1
					}
					in = damaged
				}
				return invoke(ctx, method, in, out, conn, opts...)
			}
			client, err := gcpkms.New(gcpkms.Config{KMS: fake.client(t, grpc.WithUnaryInterceptor(damage))})
			require.NoError(t, err)
			s := newSigner(t, fake, client)
			_, err = s.Sign(t.Context(), []byte("message"))
			require.NoError(t, err)
			require.Len(t, fake.took(), 2)

			left = 5
			_, err = s.Sign(t.Context(), []byte("message"))
			onlyIs(t, err, keys.ErrUnavailable)
			require.ErrorContains(t, err, "after 5 attempts: key unavailable for now: what was sent was damaged on the way")
			require.Len(t, fake.took(), 5)
		})
	}
}

// The SDK would try again where Attempts says not to.
func TestSDKDoesNotRepeat(t *testing.T) {
	for _, code := range []codes.Code{codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted} {
		fake, client := newClient(t, gcpkms.Config{Attempts: 1})
		s := newSigner(t, fake, client)
		failing(status.Error(code, "once"))(fake)
		_, err := s.Sign(t.Context(), []byte("message"))
		require.Equal(t, code, status.Code(err), "the status can be asked for")
		_, err = client.Import(t.Context(), name)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.Equal(t, []string{"AsymmetricSign", "GetPublicKey"}, fake.took())
	}
}

// A caller who waits less than the service takes gets its context's error, and
// what the service said last.
func TestCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{})
		s := newSigner(t, fake, client)
		fake.before = func(ctx context.Context, call int, _ string) error {
			if call == 1 {
				return errThrottled
			}
			<-ctx.Done()
			return ctx.Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := s.Sign(ctx, []byte("message"))
		require.Equal(t, 3*time.Second, time.Since(start))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.ErrorContains(t, err, "Quota exceeded")
		require.Len(t, fake.took(), 2)

		ctx, cancelNow := context.WithCancel(t.Context())
		go func() { time.Sleep(time.Second); cancelNow() }()
		fake.set(func() {
			fake.before = func(ctx context.Context, _ int, _ string) error { <-ctx.Done(); return ctx.Err() }
		})
		_, err = s.Sign(ctx, []byte("message"))
		onlyIs(t, err, context.Canceled)
		require.ErrorContains(t, err, name)
	})
}

// While nothing listens signatures fail, and when it is back they are made, with
// the same client.
func TestGoneAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{})
		s := newSigner(t, fake, client)
		fake.stop()
		_, err := s.Sign(t.Context(), []byte("message"))
		onlyIs(t, err, keys.ErrUnavailable)
		require.ErrorContains(t, err, "the service could not be reached or failed inside")
		require.ErrorContains(t, err, "connection refused")
		require.Empty(t, fake.took())
		fake.start(t)
		time.Sleep(2 * time.Minute) // how long gRPC waits at most before it connects again
		_, err = s.Sign(t.Context(), []byte("message"))
		require.NoError(t, err)
		require.Equal(t, []string{"AsymmetricSign"}, fake.took())
	})
}
