package awskms_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
)

// By its URI a key is opened without a call and with the permission to sign alone
// if its public key is known, and else by whoever may ask for it.
func TestOpenByURI(t *testing.T) {
	s := newService(t)
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	asked := s.Calls("GetPublicKey")

	mine := keys.Resolver{"awskms": newClient(t, awskms.Config{AWS: account(s.url, publisher), Attempts: 1}).Open}
	opened, err := mine.Open(t.Context(), "awskms:"+arn, signer.Public())
	require.NoError(t, err)
	require.Equal(t, asked, s.Calls("GetPublicKey"))
	_, err = opened.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	_, err = mine.Open(t.Context(), "awskms:"+arn, nil)
	require.ErrorIs(t, err, keys.ErrDenied)

	operators := keys.Resolver{"awskms": newClient(t, awskms.Config{AWS: account(s.url, operator)}).Open}
	opened, err = operators.Open(t.Context(), "awskms:"+arn, nil)
	require.NoError(t, err)
	require.True(t, opened.Public().Same(signer.Public()))

	for _, public := range []*keys.PublicKey{nil, signer.Public()} {
		for _, uri := range []string{"awskms:", "awskms:alias/online", "awskms:///" + arn, "awskms:arn:aws:kms:eu-central-1:111122223333:alias/online"} {
			before := s.Calls("DescribeKey")
			opened, err = operators.Open(t.Context(), uri, public)
			require.ErrorContains(t, err, "open key "+uri+": AWS KMS key ")
			require.Nil(t, opened)
			require.Equal(t, before, s.Calls("DescribeKey"))
		}
	}
}
