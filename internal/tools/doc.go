// Package tools is the module of the tools that check this repository. Its go.mod pins
// their versions, so that no module which is published requires them.
package tools
