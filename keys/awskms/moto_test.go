package awskms_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/interop"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/keys/keystest"
)

// startMoto returns the URL of moto, which runs until the test ends.
func startMoto(t *testing.T) string {
	cmd := exec.Command(interop.NeedPython(t, "moto"), "-I", interop.Script(t, "../../internal/interop/moto/server.py"))
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, stdin.Close())
		_, err := io.Copy(io.Discard, stdout)
		require.NoError(t, err)
		require.NoError(t, cmd.Wait())
	})
	url, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(url)
}

func motoAccount(url string) aws.Config {
	return aws.Config{
		BaseEndpoint: &url,
		Region:       "us-west-2",
		Credentials:  credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	}
}

func newKMSKey(t *testing.T, admin *kms.Client, spec types.KeySpec, usage types.KeyUsageType) types.KeyMetadata {
	t.Helper()
	out, err := admin.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
	require.NoError(t, err)
	return *out.KeyMetadata
}

func TestMotoSigns(t *testing.T) {
	cfg := motoAccount(startMoto(t))
	admin := kms.NewFromConfig(cfg)
	client, err := awskms.New(awskms.Config{AWS: cfg, PerSecond: 1e6})
	require.NoError(t, err)
	for _, spec := range []types.KeySpec{types.KeySpecEccNistP256, types.KeySpecRsa2048, types.KeySpecRsa3072} {
		t.Run(string(spec), func(t *testing.T) {
			key := newKMSKey(t, admin, spec, types.KeyUsageTypeSignVerify)
			alias := "alias/" + string(spec)
			_, err := admin.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: key.KeyId})
			require.NoError(t, err)
			arn, public, err := client.Import(t.Context(), alias)
			require.NoError(t, err)
			require.Equal(t, *key.Arn, arn)
			signer, err := client.Signer(arn, public)
			require.NoError(t, err)
			keystest.TestSigner(t, func(*testing.T) keys.Signer { return signer })
		})
	}
}

// What can't sign is refused for the reason that moto's description of it gives.
func TestMotoKeysRefused(t *testing.T) {
	cfg := motoAccount(startMoto(t))
	admin := kms.NewFromConfig(cfg)
	client, err := awskms.New(awskms.Config{AWS: cfg, Attempts: 1})
	require.NoError(t, err)

	disabled := newKMSKey(t, admin, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	_, err = admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: disabled.KeyId})
	require.NoError(t, err)
	pending := newKMSKey(t, admin, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	_, err = admin.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: pending.KeyId, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	gone := types.KeyMetadata{Arn: aws.String(*pending.Arn + "0")}

	for _, test := range []struct {
		name string
		key  types.KeyMetadata
		kind error
		want string
	}{
		{"P-384", newKMSKey(t, admin, types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify), keys.ErrUnsupported, `its KeySpec is "ECC_NIST_P384"`},
		{"for encryption", newKMSKey(t, admin, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt), keys.ErrUnsupported, `its KeyUsage is "ENCRYPT_DECRYPT"`},
		{"symmetric", newKMSKey(t, admin, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt), keys.ErrUnsupported, `its KeyUsage is "ENCRYPT_DECRYPT"`},
		{"HMAC", newKMSKey(t, admin, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac), keys.ErrUnsupported, `its KeyUsage is "GENERATE_VERIFY_MAC"`},
		{"disabled", disabled, keys.ErrUnusable, "it is disabled"},
		{"about to be deleted", pending, keys.ErrUnusable, "it is about to be deleted"},
		{"gone", gone, keys.ErrUnusable, "there is no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := client.Import(t.Context(), *test.key.Arn)
			require.ErrorIs(t, err, test.kind)
			require.ErrorContains(t, err, *test.key.Arn)
			require.ErrorContains(t, err, test.want)
		})
	}

	// Gone after it was imported.
	key, err := keys.GenerateP256()
	require.NoError(t, err)
	signer, err := client.Signer(*gone.Arn, key.Public())
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, *gone.Arn)
}

// The example publishes with a key that moto has, as it would in an account.
func TestMotoPublishes(t *testing.T) {
	sources, err := filepath.Glob("../../examples/kms/*.go")
	require.NoError(t, err)
	for _, name := range sources {
		interop.Script(t, name)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "-C", "../../examples/kms", ".", "-aws")
	cmd.Env = append(os.Environ(), "GOWORK=off", "AWS_ENDPOINT_URL_KMS="+startMoto(t), "AWS_REGION=us-west-2",
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Empty(t, stderr.String())
	for _, line := range []string{
		"Generation 2 cost 2 calls of KMS.", "Generation 3 cost 2 calls of KMS.", "Generation 4 cost 2 calls of KMS.",
		"verified all 4 files, up to root version 3.",
	} {
		require.Contains(t, string(out), "   "+line+"\n")
	}
}
