package sourcetest

import (
	"errors"
	"strings"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// WantError tests that there is an error, its class, and that it says each of
// some texts. Without an error the test ends.
func WantError(t *testing.T, err error, class job.Class, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("there is no error")
	}
	if got := job.ClassOf(err); got != class {
		t.Errorf("the class of %q is %s, not %s", err, got, class)
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

// WantMistake tests that err is a mistake in a field of a configuration, which says
// a text and no secret; none where field is empty. Secrets have "secret" in them.
func WantMistake(t *testing.T, err error, field, says string) {
	t.Helper()
	var wrong *source.FieldError
	switch {
	case field == "" && err == nil:
	case field == "" || !errors.As(err, &wrong) || wrong.Field != field || !strings.Contains(wrong.Error(), says) || job.ClassOf(err) != job.Permanent:
		t.Errorf("the mistake in %q is %v", field, err)
	case strings.Contains(err.Error(), "secret"):
		t.Errorf("a secret is shown: %v", err)
	}
}
