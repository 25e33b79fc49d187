// Package gcsstore keeps metadata in a bucket of Google Cloud Storage. Clients and CDNs can read the bucket as
// it is.
//
//	client, err := storage.NewClient(ctx) // cloud.google.com/go/storage
//	...
//	store, err := gcsstore.Open(ctx, gcsstore.Config{
//		Client:    client,
//		Bucket:    "example-index",
//		Prefix:    "metadata/",
//		PublicURL: "https://cdn.example.org/metadata/", // where clients read
//	})
//
// # Contract
//
// Create writes on the condition that there is no such object, and Swap on that of the generation of exactly
// the bytes that are to be replaced. Open tries that. After a refusal the store reads the name and
// compares, as package bucket says. What can be read is durable.
//
// A request is repeated if the service throttles or fails, at most Config.Attempts times, with growing pauses. A
// request that isn't answered within Config.Timeout is one that failed. The client must be of HTTP
// (storage.NewClient): the errors of gRPC aren't known here.
//
// Objects have the Content-Type application/json and the Cache-Control that web.Handler sends
// (repository.Caching.CacheControl), and no Content-Encoding. Without a Cache-Control of its own the service
// would let everybody cache a public object for an hour.
//
// # One write a second
//
// The service takes one write a second under the same name, and each generation swaps timestamp.json. So
// generations must be a second apart: Store.MinInterval says so to the repository, whose
// Config.MinInterval must not be less.
//
// # Permissions
//
// The publisher needs storage.objects.get, create, delete and list on the bucket: roles/storage.objectUser has
// them. With storage.buckets.get, Open can warn of a bucket in which deleting frees nothing at once. Without it, it
// warns that it can't know.
//
// Clients, or the CDN that reads for them, need storage.objects.get and list: roles/storage.objectViewer, for
// allUsers if the bucket is public. Without list the service answers 403 and not 404 for a missing name, and
// a TUF client asks for the next root until it gets a 404. Open tries that if Config.PublicURL is set. Without it, Open
// can't know what clients get, and logs a warning.
//
// A cache in front of the bucket must not keep a 404: see package s3store, "Caches".
package gcsstore
