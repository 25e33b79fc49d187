package awskms_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
)

func TestImport(t *testing.T) {
	s := newService(t)
	for spec, scheme := range map[types.KeySpec]string{
		types.KeySpecEccNistP256:         "ecdsa-sha2-nistp256",
		types.KeySpecRsa2048:             "rsassa-pss-sha256",
		types.KeySpecRsa3072:             "rsassa-pss-sha256",
		types.KeySpecEccNistEdwards25519: "ed25519",
	} {
		t.Run(string(spec), func(t *testing.T) {
			arn := s.newKey(t, spec, types.KeyUsageTypeSignVerify)
			alias := "alias/" + string(spec)
			_, err := s.admin.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: &arn})
			require.NoError(t, err)
			id := arn[len("arn:aws:kms:"+region+":111122223333:key/"):]

			var first *keys.PublicKey
			for _, name := range []string{arn, id, alias, "arn:aws:kms:" + region + ":111122223333:" + alias} {
				described, fetched := s.Calls("DescribeKey"), s.Calls("GetPublicKey")
				got, public, err := newClient(t, awskms.Config{AWS: account(s.url, operator)}).Import(t.Context(), name)
				require.NoError(t, err, name)
				require.Equal(t, arn, got, name)
				require.Equal(t, scheme, public.Scheme())
				if first == nil {
					first = public
				}
				require.Equal(t, first, public, name)
				require.Equal(t, described+1, s.Calls("DescribeKey"))
				require.Equal(t, fetched+1, s.Calls("GetPublicKey"))
			}
		})
	}
	require.Zero(t, s.Calls("Sign"))
}

// An ARN says in which region a key is, whatever region is configured.
func TestImportFromOtherRegion(t *testing.T) {
	s := newService(t)
	arn := s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	elsewhere := account(s.url, operator)
	elsewhere.Region = "us-east-1"
	got, public, err := newClient(t, awskms.Config{AWS: elsewhere}).Import(t.Context(), arn)
	require.NoError(t, err)
	require.Equal(t, arn, got)
	signer, err := newClient(t, awskms.Config{AWS: elsewhere}).Signer(arn, public)
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
}

// An alias that moves while a key is imported does not mix up two keys.
func TestAliasMoves(t *testing.T) {
	s := newService(t)
	first := s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	second := s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	alias := aws.String("alias/online")
	_, err := s.admin.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: alias, TargetKeyId: &first})
	require.NoError(t, err)
	client := newClient(t, awskms.Config{AWS: account(s.url, operator)})
	s.Before(func(r *http.Request, operation string) *fakekms.Error {
		if operation == "GetPublicKey" {
			_, err := s.admin.UpdateAlias(r.Context(), &kms.UpdateAliasInput{AliasName: alias, TargetKeyId: &second})
			assert.NoError(t, err)
		}
		return nil
	})
	arn, public, err := client.Import(t.Context(), *alias)
	require.NoError(t, err)
	require.Equal(t, first, arn)
	signer, err := client.Signer(arn, public)
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
}

func TestImportRefuses(t *testing.T) {
	s := newService(t)
	p256 := func() string { return s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify) }
	disabled, pending, deleted := p256(), p256(), p256()
	_, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &disabled})
	require.NoError(t, err)
	_, err = s.admin.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &pending, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	s.Delete(deleted)

	for _, test := range []struct {
		name, key string
		kind      error
		want      string
	}{
		{"P-384", s.newKey(t, types.KeySpecEccNistP384, types.KeyUsageTypeSignVerify), keys.ErrUnsupported,
			`its KeySpec is "ECC_NIST_P384", and TUF clients agree on ECC_NIST_P256, RSA and ECC_NIST_EDWARDS25519 only`},
		{"RSA for encryption", s.newKey(t, types.KeySpecRsa2048, types.KeyUsageTypeEncryptDecrypt), keys.ErrUnsupported,
			`its KeyUsage is "ENCRYPT_DECRYPT", want "SIGN_VERIFY": make another key, usage can't be changed`},
		{"symmetric", s.newKey(t, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt), keys.ErrUnsupported,
			`its KeyUsage is "ENCRYPT_DECRYPT", want "SIGN_VERIFY"`},
		{"HMAC", s.newKey(t, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac), keys.ErrUnsupported,
			`its KeyUsage is "GENERATE_VERIFY_MAC", want "SIGN_VERIFY"`},
		{"disabled", disabled, keys.ErrUnusable, "it is disabled: enable it (aws kms enable-key)"},
		{"pending deletion", pending, keys.ErrUnusable, "it is about to be deleted: cancel that (aws kms cancel-key-deletion)"},
		{"deleted", deleted, keys.ErrUnusable, "there is no such key: is the ARN right, and was the key deleted?"},
		{"no such alias", "alias/nobody", keys.ErrUnusable, "there is no such key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			arn, public, err := newClient(t, awskms.Config{AWS: account(s.url, operator)}).Import(t.Context(), test.key)
			require.ErrorIs(t, err, test.kind)
			require.ErrorContains(t, err, fmt.Sprintf("import AWS KMS key %q: ", test.key))
			require.ErrorContains(t, err, test.want)
			require.Empty(t, arn)
			require.Nil(t, public)
		})
	}
	require.Zero(t, s.Calls("GetPublicKey"), "asked for the public key of one that is no good")

	_, _, err = newClient(t, awskms.Config{AWS: account(s.url, operator)}).Import(t.Context(), "")
	require.EqualError(t, err, `import AWS KMS key "": it has no name: give the ARN, ID or alias of a key`)
}

// Who may only sign can't import, and is told which permission is missing.
func TestImportNeedsPermission(t *testing.T) {
	s := newService(t)
	arn := s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify)
	importer := func() error {
		_, _, err := newClient(t, awskms.Config{AWS: account(s.url, "AKIAIMPORTER")}).Import(t.Context(), arn)
		return err
	}
	s.Permit("AKIAIMPORTER", "kms:Sign")
	require.ErrorIs(t, importer(), keys.ErrDenied)
	require.ErrorContains(t, importer(), "not authorized to perform: kms:DescribeKey")
	s.Permit("AKIAIMPORTER", "kms:DescribeKey")
	require.ErrorContains(t, importer(), "not authorized to perform: kms:GetPublicKey")
	s.Permit("AKIAIMPORTER", "kms:DescribeKey", "kms:GetPublicKey")
	require.NoError(t, importer())
}

// What KMS says need not make sense.
func TestImportNonsense(t *testing.T) {
	const arn = "arn:aws:kms:" + region + ":111122223333:key/1"
	const describe, get = "TrentService.DescribeKey", "TrentService.GetPublicKey"
	metadata := func(arn, spec, algorithm string) string {
		return fmt.Sprintf(`{"KeyMetadata":{"Arn":%q,"KeyId":"1","KeySpec":%q,"KeyUsage":"SIGN_VERIFY","KeyState":"Enabled","SigningAlgorithms":[%q]}}`, arn, spec, algorithm)
	}
	p256 := metadata(arn, "ECC_NIST_P256", "ECDSA_SHA_256")
	public := func(spec types.KeySpec) string {
		s := newService(t)
		name := s.newKey(t, spec, types.KeyUsageTypeSignVerify)
		out, err := s.admin.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &name})
		require.NoError(t, err)
		return fmt.Sprintf(`{"KeyId":%q,"PublicKey":%q}`, arn, base64.StdEncoding.EncodeToString(out.PublicKey))
	}
	for _, test := range []struct {
		name    string
		answers map[string]string
		kind    error
		want    string
	}{
		{"no description", map[string]string{describe: `{}`}, nil, "KMS returned no description of the key"},
		{"another service", map[string]string{describe: metadata("arn:aws:s3:::b", "ECC_NIST_P256", "ECDSA_SHA_256")}, nil,
			`KMS says it is "arn:aws:s3:::b": not the ARN of a key`},
		{"only ED25519_PH", map[string]string{describe: metadata(arn, "ECC_NIST_EDWARDS25519", "ED25519_PH_SHA_512")}, keys.ErrUnsupported,
			`it does not sign with ED25519_SHA_512, which TUF clients verify, but with ["ED25519_PH_SHA_512"] only`},
		{"being made", map[string]string{describe: `{"KeyMetadata":{"KeyId":"1","KeyState":"Creating"}}`}, keys.ErrUnusable,
			`its state is "Creating": wait until it is "Enabled", or use another key`},
		{"description of another key", map[string]string{describe: metadata(arn+"2", "ECC_NIST_P256", "ECDSA_SHA_256")}, nil,
			`KMS described another key, "` + arn + `2"`},
		{"public key of another key", map[string]string{describe: p256, get: strings.Replace(public(types.KeySpecEccNistP256), arn, arn+"2", 1)}, nil,
			`KMS returned the public key of another key, "` + arn + `2"`},
		{"public key of no key", map[string]string{describe: p256, get: strings.Replace(public(types.KeySpecEccNistP256), arn, "", 1)}, nil,
			`KMS returned the public key of another key, ""`},
		{"no public key", map[string]string{describe: p256, get: `{"KeyId":"` + arn + `"}`}, nil, "the public key KMS returned: "},
		{"public key of another kind", map[string]string{describe: p256, get: public(types.KeySpecEccNistEdwards25519)}, nil,
			"KMS says it is of KeySpec ECC_NIST_P256, but returned the public key of an ed25519 key"},
		{"public key on P-384", map[string]string{describe: p256, get: public(types.KeySpecEccNistP384)}, keys.ErrUnsupported,
			"ECDSA on P-384: clients agree on P-256 only"},
		{"no JSON", map[string]string{describe: `<html>`}, keys.ErrUnavailable, "KMS could not be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := answering(t, test.answers).Import(t.Context(), arn)
			require.ErrorContains(t, err, test.want)
			if test.kind != nil {
				require.ErrorIs(t, err, test.kind)
			}
		})
	}
}
