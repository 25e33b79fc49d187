module github.com/bindery-tuf/bindery

go 1.26

require (
	github.com/secure-systems-lab/go-securesystemslib v0.11.1
	github.com/stretchr/testify v1.12.0
	github.com/theupdateframework/go-tuf/v2 v2.4.2
	golang.org/x/sync v0.19.0
	golang.org/x/sys v0.47.0
)

require (
	golang.org/x/text v0.34.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
)
