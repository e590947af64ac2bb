package source

import (
	"slices"
	"strings"

	"drayage/pkg/job"
)

// CheckDeclared returns the error, marked job.Permanent, of a declared column that
// is not among those that what has. Two names are the same by same.
func CheckDeclared(what string, declared []job.Column, has []string, same func(a, b string) bool) error {
	for _, want := range declared {
		if !slices.ContainsFunc(has, func(name string) bool { return same(name, want.Name) }) {
			return job.Permanentf("%s: it has no column %q, which the pipeline declares; it has %s", what, want.Name, strings.Join(has, ", "))
		}
	}
	return nil
}

// CheckOnce reports each declared column that has the name of an earlier one.
func CheckOnce(declared []job.Column, bad Complain) {
	seen := map[string]bool{}
	for _, c := range declared {
		if seen[c.Name] {
			bad("columns", "", "the name %q is there twice", c.Name)
		}
		seen[c.Name] = true
	}
}

// SameName reports whether two names of columns are the same in a database that
// tells capital letters from small ones.
func SameName(a, b string) bool { return a == b }
