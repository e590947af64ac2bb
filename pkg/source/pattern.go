package source

import (
	"fmt"
	"regexp"
	"strings"
)

// CompilePattern compiles a regular expression of the engine, which are RE2's:
// Go's, and \C for any byte.
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(anyByte(pattern))
	if err != nil {
		return nil, fmt.Errorf("compiling a pattern: %w", err)
	}
	return re, nil
}

// anyByte writes \C as what comes nearest to it here: in text that is no UTF-8
// Go takes a single byte for a letter, and in other text the letters around one
// that is taken apart match as well.
func anyByte(pattern string) string {
	if !strings.Contains(pattern, `\C`) {
		return pattern
	}
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] != '\\' || i+1 == len(pattern):
			b.WriteByte(pattern[i])
		case pattern[i+1] == 'C':
			b.WriteString("(?s:.)")
			i++
		default:
			b.WriteString(pattern[i : i+2])
			i++
		}
	}
	return b.String()
}
