package job

import (
	"strings"
	"testing"
)

func TestValidID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"a": true, "0-_z": true, strings.Repeat("x", MaxID): true,
		"": false, strings.Repeat("x", MaxID+1): false,
		"A": false, "a.b": false, "a b": false, "*": false, ">": false, "a/b": false, "ä": false, "a\n": false,
	} {
		if got := ValidID(id); got != want {
			t.Errorf("ValidID(%q) = %v, want %v", id, got, want)
		}
	}
}
