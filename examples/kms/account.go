package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bindery-tuf/bindery/internal/fakekms"
)

// account is an AWS account and three who work in it: one who makes and retires
// keys, one who imports their public keys, and the publisher, who may only sign.
// In a real account all three are whoever the environment names.
type account struct {
	administrator       *kms.Client
	importer, publisher aws.Config
	emulator            *fakekms.KMS // nil: the real KMS
	close               func()
}

func openAccount(ctx context.Context, inAWS bool) (*account, error) {
	if !inAWS {
		return emulate()
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.Region == "" {
		return nil, errors.New("no region: set AWS_REGION")
	}
	return &account{
		administrator: kms.NewFromConfig(cfg),
		importer:      cfg, publisher: cfg,
		close: func() {},
	}, nil
}

// What each of the three may do. The emulator takes actions and conditions from
// here, so that these are known to suffice. The resources are those of the documents'
// example; here they are all keys of the account.
var (
	//go:embed policies/administrator.json
	administratorPolicy []byte
	//go:embed policies/importer.json
	importerPolicy []byte
	//go:embed policies/publisher.json
	publisherPolicy []byte
)

// emulate serves an emulator on the loopback interface.
func emulate() (*account, error) {
	a := &account{emulator: fakekms.New()}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: a.emulator}
	go server.Serve(listener)
	a.close = func() { server.Close() }

	user := func(accessKey string, policy []byte) aws.Config {
		actions, conditions, policyErr := parsePolicy(policy)
		err = errors.Join(err, policyErr)
		a.emulator.Permit(accessKey, actions...)
		for action, must := range conditions {
			a.emulator.Restrict(accessKey, action, must)
		}
		return aws.Config{
			Region:       "eu-central-1",
			BaseEndpoint: aws.String("http://" + listener.Addr().String()),
			Credentials:  credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
		}
	}
	a.administrator = kms.NewFromConfig(user("AKIAADMINISTRATOR", administratorPolicy))
	a.importer = user("AKIAIMPORTER", importerPolicy)
	a.publisher = user("AKIAPUBLISHER", publisherPolicy)
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// parsePolicy returns all actions that a policy allows, and the conditions of each.
func parsePolicy(policy []byte) (actions []string, conditions map[string]map[string]string, err error) {
	var document struct {
		Statement []struct {
			Action    any
			Condition struct{ StringEquals map[string]string }
		}
	}
	if err := json.Unmarshal(policy, &document); err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	conditions = map[string]map[string]string{}
	for _, s := range document.Statement {
		list, ok := s.Action.([]any)
		if !ok {
			list = []any{s.Action}
		}
		for _, action := range list {
			actions = append(actions, fmt.Sprint(action))
			conditions[fmt.Sprint(action)] = s.Condition.StringEquals
		}
	}
	return actions, conditions, nil
}

// newKey makes a key that can sign TUF metadata and returns its ARN.
func (a *account) newKey(ctx context.Context) (arn string, err error) {
	out, err := a.administrator.CreateKey(ctx, &kms.CreateKeyInput{
		KeySpec:     types.KeySpecEccNistP256,
		KeyUsage:    types.KeyUsageTypeSignVerify,
		Description: aws.String("bindery: snapshot and timestamp (example)"),
	})
	if err != nil {
		return "", fmt.Errorf("create a key: %w", err)
	}
	return *out.KeyMetadata.Arn, nil
}

// retire has a key, named by its ARN or the URI of that, deleted after the shortest
// time that KMS allows. It costs nothing from now on.
func (a *account) retire(ctx context.Context, key string) error {
	_, id, _ := strings.Cut(key, ":key/")
	_, err := a.administrator.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{
		KeyId: &id, PendingWindowInDays: aws.Int32(7),
	})
	if err != nil {
		return fmt.Errorf("schedule the deletion of %s: %w", key, err)
	}
	return nil
}
