package files

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// glob is one pattern, split where its first meta character is.
type glob struct {
	text string
	at   place
	name string   // of an object: without meta characters what a walk calls it
	base string   // the directory, or the file of a pattern without meta characters; of objects what their keys begin with
	rest string   // the pattern below base, of objects that of the key; "" for a plain path
	segs []string // of rest; nil when a brace holds a slash, so that they can not be told
}

// Base is the folder below which a pattern's files are, or the file of one
// without meta characters.
func Base(pattern string) string { return filepath.FromSlash(newGlob(pattern).base) }

func newGlob(pattern string) glob {
	p := path.Clean(filepath.ToSlash(pattern))
	base, rest := doublestar.SplitPattern(p)
	if !strings.ContainsAny(rest, `*?[{\`) {
		return glob{text: pattern, base: path.Join(base, rest)}
	}
	g := glob{text: pattern, base: base, rest: rest}
	depth := 0
	for _, c := range rest {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth > 0 {
				return g
			}
		}
	}
	g.segs = strings.Split(rest, "/")
	return g
}

// enters reports whether a directory below base may hold matches. Links to
// directories are followed where the pattern names their level, and not
// below **, where they could lead in circles.
func (g glob) enters(dir string, link bool) bool {
	if g.segs == nil {
		return !link
	}
	n := strings.Count(dir, "/") + 1
	if slices.Contains(g.segs[:min(n, len(g.segs))], "**") {
		return !link
	}
	if n >= len(g.segs) {
		return false
	}
	ok, _ := doublestar.Match(strings.Join(g.segs[:n], "/"), dir)
	return ok
}
