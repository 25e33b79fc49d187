package s3store_test

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/s3store"
)

// A service of one's own, that is not in reach.
func ExampleOpen() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := s3store.Open(ctx, s3store.Config{
		AWS: aws.Config{ // or what aws-sdk-go-v2/config.LoadDefaultConfig finds
			Region:       "us-east-1",
			BaseEndpoint: aws.String("http://127.0.0.1:1"),
			Credentials:  credentials.NewStaticCredentialsProvider("key", "secret", ""),
		},
		PathStyle: true,
		Bucket:    "example-index",
		Prefix:    "metadata/",
		PublicURL: "http://127.0.0.1:1/example-index/metadata/", // where clients read
		Caching:   repository.Caching{MaxAge: time.Minute},      // as in repository.Config
		Attempts:  1,
	})
	fmt.Println(store == nil, err != nil)
	// Output: true true
}
