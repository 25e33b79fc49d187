package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The tour ends well, with each of the three permitted what the policies say and no more.
func TestTour(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.NoError(t, run(t.Context(), nil, &stdout, &stderr), stderr.String())
	require.Equal(t, `1. A key is created and imported
   awskms:ARN
   is key ID in metadata.
2. It signs: bins are signed in memory, snapshot and timestamp by KMS
   Generation 2 cost 2 calls of KMS.
   Generation 3 cost 2 calls of KMS.
   Generation 4 cost 2 calls of KMS.
   KMS throttles. An upload is accepted all the same, and waits.
   Status: 1 waits; publish generation 5: snapshot: snapshot: key ID: sign: sign with ARN after 5 attempts: `+
		`key unavailable for now: throttled: make fewer calls a second (Config.PerSecond), or have the account's quota raised (api error `+
		`ThrottlingException: You have exceeded the rate at which you may call KMS., request REQUEST)
   KMS no longer throttles: the upload is published.
3. It is replaced
   awskms:ARN
   is key ID in metadata.
   Root version 2 lists both keys.
   A generation is signed by the new one.
   Root version 3 lists only that. The old key can be deleted.
4. A client that knows root version 1 only
   verified all 5 files, up to root version 3.
`, anonymous(stdout.String()))
	require.Contains(t, stderr.String(), "publishing failed, it will be tried again")
}

// anonymous puts words in the place of what is different each time.
func anonymous(s string) string {
	for _, r := range []struct{ pattern, word string }{
		{`arn:aws:kms:[a-z0-9:/-]+`, "ARN"},
		{`\b[0-9a-f]{64}\b`, "ID"},
		{`request 00000000-[0-9-]+`, "request REQUEST"},
	} {
		s = regexp.MustCompile(r.pattern).ReplaceAllString(s, r.word)
	}
	return s
}

func TestArguments(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.EqualError(t, run(t.Context(), []string{"more"}, &stdout, &stderr), `unexpected argument "more"`)
	require.NoError(t, run(t.Context(), []string{"-h"}, &stdout, &stderr))
	require.Error(t, run(t.Context(), []string{"-wrong"}, &stdout, &stderr))
}

// The policies are JSON of the form that IAM takes, and name what each may do.
func TestPolicies(t *testing.T) {
	want := map[string][]string{
		"publisher.json":     {"kms:Sign"},
		"importer.json":      {"kms:DescribeKey", "kms:GetPublicKey"},
		"administrator.json": {"kms:CreateKey", "kms:DescribeKey", "kms:DisableKey", "kms:EnableKey", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion"},
	}
	files, err := filepath.Glob("policies/*.json")
	require.NoError(t, err)
	require.Len(t, files, len(want))
	for _, file := range files {
		policy, err := os.ReadFile(file)
		require.NoError(t, err)
		decoder := json.NewDecoder(bytes.NewReader(policy))
		decoder.DisallowUnknownFields()
		var document struct {
			Version   string
			Statement []struct {
				Sid, Effect, Resource string
				Action                any
				Condition             map[string]map[string]string
			}
		}
		require.NoError(t, decoder.Decode(&document), file)
		require.Equal(t, "2012-10-17", document.Version)
		for _, s := range document.Statement {
			require.Equal(t, "Allow", s.Effect)
		}
		actions, conditions, err := parsePolicy(policy)
		require.NoError(t, err)
		require.Equal(t, want[filepath.Base(file)], actions)
		for _, s := range document.Statement {
			for operator := range s.Condition {
				require.Equal(t, "StringEquals", operator, "others are not parsed")
			}
		}
		require.Len(t, conditions, len(actions), "each action is in one statement")
	}
	_, _, err = parsePolicy([]byte("{"))
	require.Error(t, err)
}

// Each condition of the policies counts: the emulator denies what one forbids.
func TestPoliciesAreEnforced(t *testing.T) {
	for name, change := range map[string]struct {
		policy   *[]byte
		old, new string
	}{
		"SigningAlgorithm": {&publisherPolicy, "ECDSA_SHA_256", "ECDSA_SHA_384"},
		"MessageType":      {&publisherPolicy, `"DIGEST"`, `"RAW"`},
		"KeySpec":          {&administratorPolicy, "ECC_NIST_P256", "ECC_NIST_P384"},
		"KeyUsage":         {&administratorPolicy, "SIGN_VERIFY", "ENCRYPT_DECRYPT"},
		"operation":        {&importerPolicy, "kms:GetPublicKey", "kms:GetKeyPolicy"},
	} {
		t.Run(name, func(t *testing.T) {
			whole := *change.policy
			t.Cleanup(func() { *change.policy = whole })
			require.Contains(t, string(whole), change.old)
			*change.policy = bytes.ReplaceAll(whole, []byte(change.old), []byte(change.new))
			var stdout, stderr bytes.Buffer
			require.ErrorContains(t, run(t.Context(), nil, &stdout, &stderr), "AccessDeniedException")
		})
	}
}

// The costs in the README are calls times price.
func TestCosts(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	const keyPrice, callPrice = 1.0, 0.15 / 10_000
	const month = 30 * 24 * 60 // minutes
	for load, calls := range map[string]int{
		"no uploads, 16,384 bins renewed":                         73 * 30 * 2,
		"a generation a minute":                                   month * 2,
		"a generation every 10 seconds":                           6 * month * 2,
		"a generation a second":                                   60 * month * 2,
		"no uploads, 16,384 bins renewed, bins signed by KMS too": 73*30*2 + 16_384*30*24/84,
		"a generation a minute, of 1,000 bins signed by KMS too":  month * (2 + 1000),
	} {
		row := fmt.Sprintf("| %s | %s | $%.2f |", load, thousands(calls), keyPrice+callPrice*float64(calls))
		require.Contains(t, string(readme), row)
	}
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}
