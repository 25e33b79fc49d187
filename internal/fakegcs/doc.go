// Package fakegcs is the module of fake-gcs-server, the service like Google Cloud Storage that tests of
// repository/gcsstore run. Its go.mod and go.sum pin the program and all that it links, so that no
// module which is published requires them.
package fakegcs
