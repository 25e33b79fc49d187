package dirstore

// For the tests in package dirstore_test.
var (
	CreateOn              = createOn
	OpenOn                = openOn
	OpenOrCreateOn        = openOrCreateOn
	CreateTargetsOn       = createTargetsOn
	OpenOrCreateTargetsOn = openOrCreateTargetsOn
)
