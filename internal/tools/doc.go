// Package tools is the module of the tools that check this repository. Its go.mod pins
// their versions, so that no module which is published requires them. Its test makes a
// release, for which it needs a package that the root should not require.
package tools
