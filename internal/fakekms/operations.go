package fakekms

import (
	"cmp"
	"fmt"
)

// request holds the parameters of every operation.
type request struct {
	KeyId, AliasName, TargetKeyId  string
	KeySpec, KeyUsage, Description string
	Message                        []byte
	MessageType, SigningAlgorithm  string
	PendingWindowInDays            int
}

type operation func(k *KMS, region string, in request) (any, *Error)

var operations = map[string]operation{
	"CreateKey":   (*KMS).createKey,
	"CreateAlias": (*KMS).pointAlias,
	"UpdateAlias": (*KMS).pointAlias,
	"Sign":        (*KMS).sign,
	"DescribeKey": onKey(func(f *key) (any, *Error) { return map[string]any{"KeyMetadata": f.metadata()}, nil }),
	"GetPublicKey": onKey(func(f *key) (any, *Error) {
		if failed := f.usable(); failed != nil {
			return nil, failed
		}
		der, failed := f.public()
		return map[string]any{
			"KeyId": f.arn, "KeySpec": f.spec, "KeyUsage": f.usage,
			"SigningAlgorithms": algorithms[f.spec], "PublicKey": der,
		}, failed
	}),
	"EnableKey":  onKey(func(f *key) (any, *Error) { return f.become("Enabled") }),
	"DisableKey": onKey(func(f *key) (any, *Error) { return f.become("Disabled") }),
	"ScheduleKeyDeletion": onKey(func(f *key) (any, *Error) {
		f.state = "PendingDeletion"
		return map[string]any{"KeyId": f.arn, "KeyState": f.state}, nil
	}),
}

func onKey(do func(*key) (any, *Error)) operation {
	return func(k *KMS, region string, in request) (any, *Error) {
		found, failed := k.find(region, in.KeyId)
		if failed != nil {
			return nil, failed
		}
		return do(found)
	}
}

func (k *KMS) createKey(region string, in request) (any, *Error) {
	f := &key{spec: cmp.Or(in.KeySpec, "SYMMETRIC_DEFAULT"), usage: cmp.Or(in.KeyUsage, "ENCRYPT_DECRYPT"), state: "Enabled"}
	var err error
	if f.private, err = generate(f.spec); err != nil {
		return nil, refuse("ValidationException", "%v", err)
	}
	k.made++
	f.id = fmt.Sprintf("%08x-12ab-34cd-56ef-1234567890ab", k.made)
	f.arn = "arn:aws:kms:" + region + ":" + Account + ":key/" + f.id
	k.keys[f.arn] = f
	return map[string]any{"KeyMetadata": f.metadata()}, nil
}

// pointAlias makes an alias, or has it mean another key.
func (k *KMS) pointAlias(region string, in request) (any, *Error) {
	found, failed := k.find(region, in.TargetKeyId)
	if failed != nil {
		return nil, failed
	}
	k.aliases["arn:aws:kms:"+region+":"+Account+":"+in.AliasName] = found.arn
	return struct{}{}, nil
}

func (k *KMS) sign(region string, in request) (any, *Error) {
	found, failed := k.find(region, in.KeyId)
	if failed != nil {
		return nil, failed
	}
	if failed := found.usable(); failed != nil {
		return nil, failed
	}
	signature, failed := found.sign(in.Message, cmp.Or(in.MessageType, "RAW"), in.SigningAlgorithm)
	return map[string]any{"KeyId": found.arn, "Signature": signature, "SigningAlgorithm": in.SigningAlgorithm}, failed
}

func (f *key) become(state string) (any, *Error) {
	if f.state == "PendingDeletion" {
		return nil, f.usable()
	}
	f.state = state
	return struct{}{}, nil
}

func (f *key) metadata() map[string]any {
	m := map[string]any{
		"AWSAccountId": Account, "Arn": f.arn, "KeyId": f.id, "Enabled": f.state == "Enabled",
		"KeySpec": f.spec, "KeyUsage": f.usage, "KeyState": f.state,
	}
	if f.usage == "SIGN_VERIFY" {
		m["SigningAlgorithms"] = algorithms[f.spec]
	}
	return m
}

// Delete removes a key, as when its time of waiting is over.
func (k *KMS) Delete(arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, arn)
}

// Swap has one key's signatures made with another one.
func (k *KMS) Swap(arn, other string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[arn].substitute = k.keys[other].private
}
