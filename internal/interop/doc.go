// Package interop has TUF clients in other languages judge what Bindery
// publishes: python-tuf and tuf-js, at the versions and hashes that
// python/requirements.txt and js/package-lock.json give. (go-tuf judges it in every
// test of the engine, see internal/repotest.) All that is done by tests; the package
// itself installs these programs, for them and for internal/cmd/bench. It also installs
// moto, an emulator of AWS that others wrote, as moto/requirements.txt pins it, and psycopg, a
// driver for PostgreSQL: the tests of keys/awskms and repository/pgjournal use them.
//
// With BINDERY_INTEROP=1 in the environment the tests install all these below the user's
// cache directory, and fail if they can't. Without it they are skipped, because they take
// minutes. They need python3 with its venv module, and node with npm; they talk to servers on
// the loopback interface.
package interop
