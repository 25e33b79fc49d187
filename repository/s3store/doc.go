// Package s3store keeps metadata in a bucket of Amazon S3, or of a service like it. Clients and CDNs
// can read the bucket as it is.
//
//	cfg, err := config.LoadDefaultConfig(ctx) // aws-sdk-go-v2/config
//	...
//	store, err := s3store.Open(ctx, s3store.Config{
//		AWS:       cfg,
//		Bucket:    "example-index",
//		Prefix:    "metadata/",
//		PublicURL: "https://cdn.example.org/metadata/", // where clients read
//	})
//
// # Contract
//
// Create is a PUT with If-None-Match: *, and Swap one with If-Match and the ETag of exactly the bytes that
// are to be replaced. A service that ignores these headers is refused by Open, which tries them. After a
// refusal (412, 409 or 404) the store reads the name and compares, as package bucket says.
//
// What can be read is durable, as S3 promises of its own: a PUT is answered once the object is stored
// in several places. Whether another service keeps that promise is between you and it.
//
// A request is repeated if the service throttles or fails, at most Config.Attempts times, with the SDK's
// growing pauses and its limit on retries in all. So an outage delays calls and starts no storm.
// A request that isn't answered within Config.Timeout is one that failed.
//
// Objects have the Content-Type application/json and the Cache-Control that web.Handler sends
// (repository.Caching.CacheControl), and no Content-Encoding: an edge may compress what it serves.
//
// # Permissions
//
// The publisher needs s3:GetObject, s3:PutObject and s3:DeleteObject on arn:aws:s3:::BUCKET/PREFIX*, and
// s3:ListBucket on arn:aws:s3:::BUCKET. Without the last, S3 answers 403 and not 404 for a missing
// name. With s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration, Open can warn of a bucket in
// which deleting frees nothing. Without them it warns that it can't know.
//
// Clients, or the CDN that reads for them, need s3:GetObject and s3:ListBucket, for the same reason:
// a TUF client asks for the next root until it gets a 404, and go-tuf fails on a 403.
//
// # Caches
//
// A cache in front of the bucket must not keep a 404, or any other error, of any metadata: the name of the
// next root or snapshot is known to everybody, and a 404 that was kept hides it when it comes. S3
// sends no Cache-Control with a 404, so the cache must be told. It must keep timestamp.json only as
// its Cache-Control says. Folder caches has configurations of nginx and Varnish, with which the tests run
// clients, and of CloudFront.
//
// Open tries that too, and what clients get for a missing name, if Config.PublicURL is set. Without it, Open can't know
// whether a missing name is 403 for clients, and logs a warning.
//
// # Services
//
// What is known of services, as of November 2026. "Run" means that the tests of this package run it;
// "read" that somebody's documentation or issue says so. Open decides.
//
//	service               If-None-Match: *   If-Match       known by
//	versitygw 1.8.0       yes                yes            run (not with --sidecar: a read may get bytes of one
//	                                                        version and the ETag of another)
//	Amazon S3             yes                yes            read: its user guide, "conditional writes"
//	Cloudflare R2         yes                yes            read: its documentation, "conditional operations"
//	OVHcloud              yes                yes            read: its guide, "conditional writes"
//	Scaleway              yes                yes            read: its documentation, since July 2026
//	Selectel, Servercore  yes                yes            read: their documentation
//	Exoscale SOS          yes                yes            read: its changelog of August 2025
//	Apache Ozone 2.2      yes                yes            read: HDDS-13919
//	SeaweedFS             yes                yes            read: its wiki; nothing about races
//	Ceph RGW              yes                yes            read: issues of ceph/s3-tests
//	Tigris                yes                yes            read: its announcement
//	MinIO                 yes                since August   read: issues 21526 (ignored for a missing name) and 21603
//	                                         2025           (both ignored without a read quorum)
//	Backblaze B2          no (501)           no             read: a survey of June 2026; others say yes
//	Oracle OCI            no, overwrites     no             read: the same survey
//	Google Cloud (XML)    no                 no             read: its documentation, for reads only; use gcsstore
//	Wasabi, DigitalOcean Spaces, Linode, Storj, Garage      nothing reliable found
package s3store
