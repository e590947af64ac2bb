package source

import (
	"fmt"
	"strings"
)

// FieldError is a mistake in one field of a source's configuration.
type FieldError struct {
	Field   string // the key below the kind in the pipeline file, such as "delimiter" or "settings.max_threads"
	Problem string
	Hint    string // what to do; may be empty
}

func (e *FieldError) Error() string {
	s := e.Field + ": " + e.Problem
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// FieldErrors are all the mistakes of a configuration. As an error they are never
// empty.
type FieldErrors []*FieldError

func (e FieldErrors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Complain reports a mistake in a field; problem and args are as for fmt.Sprintf.
type Complain func(field, hint, problem string, args ...any)

// Bad adds a mistake, as Complain has it.
func (e *FieldErrors) Bad(field, hint, problem string, args ...any) {
	*e = append(*e, &FieldError{Field: field, Problem: fmt.Sprintf(problem, args...), Hint: hint})
}

// Err is e, or nil where it is empty.
func (e FieldErrors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// Unwrap lets errors.As find the first FieldError.
func (e FieldErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}
