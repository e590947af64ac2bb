package sourcetest

import (
	"strings"
	"testing"

	"drayage/pkg/job"
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
