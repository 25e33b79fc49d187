package gcsstore_test

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/gcsstore"
)

// A service that is not in reach.
func ExampleOpen() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := storage.NewClient(ctx, // without options it is Google's, with credentials of the environment
		option.WithEndpoint("http://127.0.0.1:1/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		fmt.Println(err)
		return
	}
	store, err := gcsstore.Open(ctx, gcsstore.Config{
		Client:    client,
		Bucket:    "example-index",
		Prefix:    "metadata/",
		PublicURL: "http://127.0.0.1:1/example-index/metadata/", // where clients read
		Caching:   repository.Caching{MaxAge: time.Minute},      // as in repository.Config
		Attempts:  1,
	})
	fmt.Println(store == nil, err != nil)
	// Output: true true
}
