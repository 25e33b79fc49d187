package ceremony_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// A new repository. One-time keys sign targets and bins, and two of three holders the
// root that names them; in earnest each of them on a machine of his or her own.
func Example() {
	ctx, now := context.Background(), time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	holders := map[string]*keys.MemorySigner{}
	names := map[string]string{}
	root := roles.Authority{Threshold: 2}
	for _, name := range []string{"Ada", "Bob", "Cleo"} {
		key, err := keys.GenerateEd25519()
		if err != nil {
			log.Fatal(err)
		}
		holders[name], names[key.Public().ID()] = key, name
		root.Keys = append(root.Keys, key.Public())
	}
	request, err := prepare(ctx, root, names, now)
	if err != nil {
		log.Fatal(err)
	}

	// Each holder reads what request.Steps says, compares request.Digest with paper, and
	// signs. What is asked for and answered are files.
	var responses []*ceremony.Response
	for _, name := range []string{"Cleo", "Ada"} {
		asked, err := ceremony.ParseRequest(request.Bytes())
		if err != nil {
			log.Fatal(err)
		}
		response, notebook, err := asked.Sign(ctx, holders[name], ceremony.Notebook{}, now)
		if err != nil {
			log.Fatal(err)
		}
		_ = notebook.Bytes() // is kept with the key
		responses = append(responses, response)

		progress, err := request.Merge(responses...)
		if err != nil {
			log.Fatal(err)
		}
		quorum := progress.Documents[0].Quorums[0]
		fmt.Printf("%s signed; %d of %d; %d documents can be published\n",
			name, len(quorum.Signed), quorum.Threshold, len(progress.Files()))
	}
	// Output:
	// Cleo signed; 1 of 2; 0 documents can be published
	// Ada signed; 2 of 2; 3 documents can be published
}

// prepare makes the request for the first documents.
func prepare(ctx context.Context, root roles.Authority, names map[string]string, now time.Time) (*ceremony.Request, error) {
	expires := now.AddDate(1, 0, 0)
	online, err := keys.GenerateP256() // of the index, say in a KMS
	if err != nil {
		return nil, err
	}
	names[online.Public().ID()] = "online"
	onlineKey := roles.Authority{Keys: []*keys.PublicKey{online.Public()}, Threshold: 1}
	layout, err := delegation.New("bins", 16384, delegation.Succinct)
	if err != nil {
		return nil, err
	}

	targetsKeys, err := ceremony.NewOneTime("targets", 2)
	if err != nil {
		return nil, err
	}
	binsKeys, err := ceremony.NewOneTime("bins", 2)
	if err != nil {
		return nil, err
	}
	targets, err := delegation.NewTargets(1, expires, binsKeys.Authority())
	if err == nil {
		targets, err = targetsKeys.Sign(ctx, targets)
	}
	if err != nil {
		return nil, err
	}
	bins, err := layout.NewRole(1, expires, onlineKey)
	if err == nil {
		bins, err = binsKeys.Sign(ctx, bins)
	}
	if err != nil {
		return nil, err
	}
	first, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires,
		Root: root, Targets: targetsKeys.Authority(), Snapshot: onlineKey, Timestamp: onlineKey,
	})
	if err != nil {
		return nil, err
	}
	return ceremony.NewRequest(ceremony.Proposal{
		Reason:    "The first root",
		Names:     names,
		Destroyed: []ceremony.Destroyed{targetsKeys.Destroy(now), binsKeys.Destroy(now)},
		New: []ceremony.Document{
			{Role: "root", File: first.Bytes()},
			{Role: "targets", File: targets.Bytes()},
			{Role: "bins", File: bins.Bytes()},
		},
	})
}
