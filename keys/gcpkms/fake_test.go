package gcpkms_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"hash/crc32"
	"net"
	"regexp"
	"sync"
	"syscall"
	"testing"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// maxData is the documented limit of AsymmetricSignRequest.data.
const maxData = 64 << 10

// fakeKMS is two methods of the service as its documentation has them; all others
// are UNIMPLEMENTED. Its errors have the codes, texts and details of the real ones
// where those are public.
type fakeKMS struct {
	kmspb.UnimplementedKeyManagementServiceServer

	mu       sync.Mutex
	keys     map[string]*fakeKey
	calls    []string          // the methods called since the last took, in order
	tokens   []string          // the credentials that came with them
	listener *bufconn.Listener // nil while nothing listens
	stop     func()

	// Faults; nil is none. before may fail a call, or wait for ctx; the others may
	// change the right answer. call is how many calls there were since the last took.
	before      func(ctx context.Context, call int, method string) error
	afterSign   func(call int, out *kmspb.AsymmetricSignResponse)
	afterPublic func(call int, out *kmspb.PublicKey)
}

// fakeKey is one key version.
type fakeKey struct {
	algorithm kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm
	state     kmspb.CryptoKeyVersion_CryptoKeyVersionState
	private   crypto.Signer // nil for a symmetric key and a kind that Go doesn't have
	pem       string        // if private is nil and there is a public key
}

func newFake() *fakeKMS { return &fakeKMS{keys: map[string]*fakeKey{}} }

// start makes the service reachable until stop is called, or the test ends.
func (f *fakeKMS) start(t testing.TB) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer()
	kmspb.RegisterKeyManagementServiceServer(server, f)
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(listener) })
	f.set(func() { f.listener = listener })
	f.stop = sync.OnceFunc(func() {
		f.set(func() { f.listener = nil })
		server.Stop()
		served.Wait()
	})
	t.Cleanup(f.stop)
}

func (f *fakeKMS) dial(ctx context.Context, _ string) (net.Conn, error) {
	f.mu.Lock()
	listener := f.listener
	f.mu.Unlock()
	if listener == nil {
		return nil, syscall.ECONNREFUSED
	}
	return listener.DialContext(ctx)
}

// client returns the SDK's client of the fake. It is closed when the test ends.
func (f *fakeKMS) client(t testing.TB, more ...grpc.DialOption) *kms.KeyManagementClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:fake", append([]grpc.DialOption{
		grpc.WithContextDialer(f.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
	}, more...)...)
	require.NoError(t, err)
	client, err := kms.NewKeyManagementClient(t.Context(), option.WithGRPCConn(conn))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// set changes the fake while calls may be under way.
func (f *fakeKMS) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// took returns the methods called since the last took.
func (f *fakeKMS) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

var versionName = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+/cryptoKeyVersions/[0-9]+$`)

// begin counts a call and finds its key version.
func (f *fakeKMS) begin(ctx context.Context, method, name string) (key fakeKey, call int, err error) {
	f.mu.Lock()
	f.calls = append(f.calls, method)
	f.tokens = append(f.tokens, metadata.ValueFromIncomingContext(ctx, "authorization")...)
	call = len(f.calls)
	before, found := f.before, f.keys[name]
	if found != nil {
		key = *found
	}
	f.mu.Unlock()
	if before != nil {
		if err := before(ctx, call, method); err != nil {
			return fakeKey{}, call, err
		}
	}
	switch {
	case !versionName.MatchString(name):
		return fakeKey{}, call, status.Errorf(codes.InvalidArgument, "Resource name [%s] does not match pattern.", name)
	case found == nil:
		return fakeKey{}, call, status.Errorf(codes.NotFound, "CryptoKeyVersion %s not found.", name)
	case key.state != kmspb.CryptoKeyVersion_ENABLED:
		return fakeKey{}, call, notEnabled(name, key.state)
	}
	return key, call, nil
}

// notEnabled has the text and the details of the service's error.
func notEnabled(name string, state kmspb.CryptoKeyVersion_CryptoKeyVersionState) error {
	s, err := status.Newf(codes.FailedPrecondition, "%s is not enabled, current state is: %s.", name, state).WithDetails(
		&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
			{Type: "KEY_" + state.String(), Subject: name}}})
	if err != nil {
		return err
	}
	return s.Err()
}

func (f *fakeKMS) GetPublicKey(ctx context.Context, req *kmspb.GetPublicKeyRequest) (*kmspb.PublicKey, error) {
	key, call, err := f.begin(ctx, "GetPublicKey", req.Name)
	if err != nil {
		return nil, err
	}
	text := []byte(key.pem)
	if key.private != nil {
		der, err := x509.MarshalPKIXPublicKey(key.private.Public())
		if err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	}
	if len(text) == 0 {
		return nil, status.Errorf(codes.InvalidArgument, "%s does not have a public key.", req.Name)
	}
	out := &kmspb.PublicKey{
		Pem:             string(text),
		PemCrc32C:       checksum(text),
		Algorithm:       key.algorithm,
		Name:            req.Name,
		ProtectionLevel: kmspb.ProtectionLevel_SOFTWARE,
	}
	f.mu.Lock()
	after := f.afterPublic
	f.mu.Unlock()
	if after != nil {
		after(call, out)
	}
	return out, nil
}

func (f *fakeKMS) AsymmetricSign(ctx context.Context, req *kmspb.AsymmetricSignRequest) (*kmspb.AsymmetricSignResponse, error) {
	key, call, err := f.begin(ctx, "AsymmetricSign", req.Name)
	if err != nil {
		return nil, err
	}
	signature, err := key.sign(req)
	if err != nil {
		return nil, err
	}
	out := &kmspb.AsymmetricSignResponse{
		Signature:            signature,
		SignatureCrc32C:      checksum(signature),
		VerifiedDigestCrc32C: req.DigestCrc32C != nil,
		VerifiedDataCrc32C:   req.DataCrc32C != nil,
		Name:                 req.Name,
		ProtectionLevel:      kmspb.ProtectionLevel_SOFTWARE,
	}
	f.mu.Lock()
	after := f.afterSign
	f.mu.Unlock()
	if after != nil {
		after(call, out)
	}
	return out, nil
}

// sign enforces what the documentation says of a request: a digest or data and not
// both, a digest by the hash of the key's algorithm, none for Ed25519, at most 64 KiB
// of data, and checksums that are right if they are given.
func (k fakeKey) sign(req *kmspb.AsymmetricSignRequest) ([]byte, error) {
	refuse := func(format string, args ...any) ([]byte, error) {
		return nil, status.Errorf(codes.InvalidArgument, format, args...)
	}
	digest := req.Digest.GetSha256()
	switch {
	case k.private == nil:
		return refuse("The CryptoKey's purpose is not ASYMMETRIC_SIGN.")
	case (req.Digest == nil) == (len(req.Data) == 0):
		return refuse("Exactly one of digest and data is required.")
	case len(req.Data) > maxData:
		return refuse("data is %d bytes long; the limit is %d.", len(req.Data), maxData)
	case req.Digest != nil && len(digest) != sha256.Size:
		return refuse("A SHA-256 digest is required.")
	case req.DigestCrc32C != nil && req.DigestCrc32C.Value != checksum(digest).Value:
		return refuse("The checksum in field digest_crc32c did not match the data in field digest.")
	case req.DataCrc32C != nil && req.DataCrc32C.Value != checksum(req.Data).Value:
		return refuse("The checksum in field data_crc32c did not match the data in field data.")
	}
	var opts crypto.SignerOpts = crypto.SHA256
	switch k.algorithm {
	case kmspb.CryptoKeyVersion_EC_SIGN_ED25519:
		if req.Digest != nil {
			return refuse("digest is not supported by %s.", k.algorithm)
		}
		return k.private.Sign(nil, req.Data, crypto.Hash(0))
	case kmspb.CryptoKeyVersion_RSA_SIGN_PSS_2048_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PSS_3072_SHA256,
		kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA256:
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	case kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256:
	default:
		return refuse("%s is not in this fake.", k.algorithm)
	}
	if req.Digest == nil {
		sum := sha256.Sum256(req.Data)
		digest = sum[:]
	}
	return k.private.Sign(rand.Reader, digest, opts)
}

func checksum(data []byte) *wrapperspb.Int64Value {
	return wrapperspb.Int64(int64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
}

// What the service answers to one call too many, to one that no role permits, and
// to a token that expired.
var (
	errThrottled = status.Error(codes.ResourceExhausted, "Quota exceeded for quota metric 'Cryptographic requests' "+
		"and limit 'Cryptographic requests per minute' of service 'cloudkms.googleapis.com' for consumer 'project_number:42'.")
	errDenied = status.Error(codes.PermissionDenied, "Permission denied on resource '"+name+"' (or it may not exist).")
	errToken  = status.Error(codes.Unauthenticated, "Request had invalid authentication credentials. "+
		"Expected OAuth 2 access token, login cookie or other valid authentication credential.")
)
