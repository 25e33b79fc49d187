// Package fakekms is AWS Key Management Service as its documentation describes it,
// as far as signing goes: an http.Handler that the AWS SDK talks to, with real keys
// in memory. It enforces the documented limits, key states, key usages and
// permissions, counts calls, and can be told to fail. It believes the access key in
// the Authorization header and does not verify the request's signature.
//
// Tests run against it, and examples/kms where there is no AWS account.
package fakekms

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Account is the account all keys belong to.
const Account = "111122223333"

// Error is an error as KMS answers it.
type Error struct {
	Status        int // 0 means 400
	Code, Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// KMS is the service.
type KMS struct {
	mu      sync.Mutex
	keys    map[string]*key   // by ARN
	aliases map[string]string // region and name of an alias: ARN
	users   map[string]user   // by access key
	calls   map[string]int    // by operation, refused ones included
	made    int               // keys and requests, for their IDs
	before  func(*http.Request, string) *Error

	under, most int // calls under way
}

// user is whom an access key belongs to.
type user struct {
	expired bool
	actions []string // nil: all

	// conditions are by action: what keys of IAM conditions must be.
	conditions map[string]map[string]string
}

// New returns a service without keys, where nobody may do anything.
func New() *KMS {
	return &KMS{
		keys:    map[string]*key{},
		aliases: map[string]string{},
		users:   map[string]user{},
		calls:   map[string]int{},
	}
}

// Permit lets an access key do what the actions name, such as "kms:Sign"; none
// means all.
func (k *KMS) Permit(accessKey string, actions ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users[accessKey] = user{actions: actions}
}

// Restrict lets an access key that is permitted an action do it only where the
// condition keys of IAM, such as "kms:MessageType", have these values.
func (k *KMS) Restrict(accessKey, action string, conditions map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.users[accessKey]
	if u.conditions == nil {
		u.conditions = map[string]map[string]string{}
	}
	u.conditions[action] = conditions
	k.users[accessKey] = u
}

// Expire makes an access key one whose session is over.
func (k *KMS) Expire(accessKey string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.users[accessKey] = user{expired: true}
}

// Before has f called before each operation, such as "Sign", outside of all locks:
// it may wait, or return the error to answer with. Nil ends that.
func (k *KMS) Before(f func(r *http.Request, operation string) *Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = f
}

// Calls is how often an operation was asked for, also in vain.
func (k *KMS) Calls(operation string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[operation]
}

// MostAtOnce is the largest number of calls that were under way together.
func (k *KMS) MostAtOnce() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.most
}

var credential = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/,]+)/[0-9]{8}/([a-z0-9-]+)/kms/aws4_request, `)

func (k *KMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	k.mu.Lock()
	k.calls[operation]++
	k.made++
	w.Header().Set("X-Amzn-RequestId", fmt.Sprintf("00000000-0000-0000-0000-%012d", k.made))
	k.under++
	k.most = max(k.most, k.under)
	before := k.before
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.under--
		k.mu.Unlock()
	}()

	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	// With the body read, the server notices when the client hangs up.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	var answer any
	var failed *Error
	switch {
	case err != nil:
		failed = refuse("SerializationException", "%v", err)
	case before != nil:
		failed = before(r, operation)
	}
	if failed == nil {
		answer, failed = k.serve(r, operation, body)
	}
	if failed != nil {
		if failed.Status == 0 {
			failed.Status = http.StatusBadRequest
		}
		w.WriteHeader(failed.Status)
		answer = map[string]string{"__type": failed.Code, "message": failed.Message}
	}
	json.NewEncoder(w).Encode(answer)
}

func (k *KMS) serve(r *http.Request, operation string, body []byte) (any, *Error) {
	serve, ok := operations[operation]
	if !ok {
		return nil, refuse("UnknownOperationException", "%q", operation)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var in request
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return nil, refuse("SerializationException", "%v", err)
	}
	region, failed := k.authorize(r, operation, in)
	if failed != nil {
		return nil, failed
	}
	return serve(k, region, in)
}

// authorize returns the region that a call is for.
func (k *KMS) authorize(r *http.Request, operation string, in request) (region string, failed *Error) {
	found := credential.FindStringSubmatch(r.Header.Get("Authorization"))
	if found == nil {
		return "", refuse("MissingAuthenticationTokenException", "Request is missing Authentication Token")
	}
	u, ok := k.users[found[1]]
	action := "kms:" + operation
	switch {
	case !ok:
		return "", refuse("UnrecognizedClientException", "The security token included in the request is invalid.")
	case u.expired:
		return "", refuse("ExpiredTokenException", "The security token included in the request is expired")
	case u.actions != nil && !slices.Contains(u.actions, action), !k.fulfilled(u.conditions[action], found[2], operation, in):
		return "", refuse("AccessDeniedException", "User: arn:aws:iam::%s:user/%s is not authorized to perform: %s because no identity-based policy allows the %s action",
			Account, found[1], action, action)
	}
	return found[2], nil
}

// fulfilled reports whether a request is one that conditions allow. A condition key
// that isn't known here has no value.
func (k *KMS) fulfilled(conditions map[string]string, region, operation string, in request) bool {
	values := map[string]string{
		"kms:SigningAlgorithm": in.SigningAlgorithm,
		"kms:MessageType":      in.MessageType,
		"kms:KeySpec":          in.KeySpec,
		"kms:KeyUsage":         in.KeyUsage,
	}
	if operation != "CreateKey" {
		if found, failed := k.find(region, in.KeyId); failed == nil {
			values["kms:KeySpec"], values["kms:KeyUsage"] = found.spec, found.usage
		}
	}
	for name, want := range conditions {
		if got, ok := values[name]; !ok || got != want {
			return false
		}
	}
	return true
}
