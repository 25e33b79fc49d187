// Package versitygw is the module of versitygw, the S3 service that tests run: see internal/s3test.
// Its go.mod and go.sum pin the program and all that it links, so that no module which is published
// requires them.
package versitygw
