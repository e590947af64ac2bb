package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// found is a file that a pattern matched.
type found struct {
	pattern int         // its index in Config.Paths
	path    string      // as the pattern has it: relative ones start at Config.Dir
	info    fs.FileInfo // of the file, links followed; always a regular file
}

// glob is one pattern, split where its first meta character is.
type glob struct {
	text string
	base string   // the directory, or the file of a pattern without meta characters
	rest string   // the pattern below base; "" for a plain path
	segs []string // of rest; nil when a brace holds a slash, so that they can not be told
}

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

// reaches reports whether the walk of g yields the file at p.
func (s *Source) reaches(g glob, p string) bool {
	if g.rest == "" {
		return s.abs(g.base) == s.abs(p)
	}
	rel, err := filepath.Rel(s.abs(g.base), s.abs(p))
	if rel = filepath.ToSlash(rel); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return false
	}
	if ok, _ := doublestar.Match(g.rest, rel); !ok {
		return false
	}
	for i, c := range rel {
		if c != '/' {
			continue
		}
		info, err := os.Lstat(filepath.Join(s.abs(g.base), rel[:i]))
		if err != nil || !g.enters(rel[:i], info.Mode()&fs.ModeSymlink != 0) {
			return false
		}
	}
	return true
}

// abs is where the path of a pattern is on this machine.
func (s *Source) abs(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(s.cfg.Dir, p)
}

// errStop ends a walk without an error.
var errStop = errors.New("stop")

// walk calls yield with every file, pattern by pattern, each in the order of
// its names, with the names of one directory a level in memory. It starts with the file at
// path from of the pattern first, or with the one after it. It is an error when
// a pattern matches nothing.
func (s *Source) walk(ctx context.Context, first int, from string, yield func(found) error) error {
	for i := first; i < len(s.globs); i++ {
		g := s.globs[i]
		n := 0
		err := s.walkOne(ctx, g, from, func(p string, info fs.FileInfo) error {
			n++
			for _, earlier := range s.globs[:i] {
				if s.reaches(earlier, p) {
					return nil
				}
			}
			return yield(found{i, p, info})
		})
		if errors.Is(err, errStop) {
			return nil
		}
		if err == nil && n == 0 && from == "" {
			err = permanent("the glob %q matches no file below %s: check the path, or where relative paths start", g.text, s.abs(g.base))
		}
		if err != nil {
			return err
		}
		from = ""
	}
	return nil
}

func (s *Source) walkOne(ctx context.Context, g glob, from string, yield func(string, fs.FileInfo) error) error {
	// A file whose name has meta characters is meant by its name.
	literal := path.Clean(filepath.ToSlash(g.text))
	if g.rest == "" {
		literal = g.base
	}
	info, err := os.Stat(s.abs(literal))
	switch {
	case err == nil && info.Mode().IsRegular():
		return yield(literal, info)
	case g.rest != "":
	case err != nil:
		return openError(literal, err)
	case info.IsDir():
		return permanent("%s is a directory: name its files, such as %s/*.csv or %s/**", g.text, g.text, g.text)
	default:
		return permanent("%s is not a regular file but %s", g.text, info.Mode().Type())
	}
	if _, err := os.Stat(s.abs(g.base)); errors.Is(err, fs.ErrNotExist) {
		return permanent("the glob %q matches no file: %s does not exist: check the path, or where relative paths start", g.text, s.abs(g.base))
	}
	var after []string
	if from != "" {
		if rel, err := filepath.Rel(filepath.FromSlash(g.base), filepath.FromSlash(from)); err == nil {
			after = strings.Split(filepath.ToSlash(rel), "/")
		}
	}
	return s.walkDir(ctx, g, nil, after, yield)
}

// walkDir walks the directory below g.base whose path elements are dir, from
// the element after on.
func (s *Source) walkDir(ctx context.Context, g glob, dir, after []string, yield func(string, fs.FileInfo) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := path.Join(append([]string{g.base}, dir...)...)
	entries, err := os.ReadDir(s.abs(at))
	if err != nil {
		return openError(at, err)
	}
	for _, e := range entries {
		rel := append(slices.Clone(dir), e.Name())
		var below []string
		if len(after) > 0 {
			if e.Name() < after[0] {
				continue
			}
			if e.Name() == after[0] {
				below = after[1:]
			}
		}
		relPath, full := strings.Join(rel, "/"), path.Join(at, e.Name())
		link := e.Type()&fs.ModeSymlink != 0
		var info fs.FileInfo
		isDir := e.IsDir()
		if !isDir {
			if ok, _ := doublestar.Match(g.rest, relPath); !ok && !link {
				continue
			} else if info, err = os.Stat(s.abs(full)); err != nil {
				if !ok || errors.Is(err, fs.ErrNotExist) && !link {
					continue // a link that is not asked for, or a file removed meanwhile
				}
				return openError(full, err)
			} else if isDir = info.IsDir(); !isDir && (!ok || !info.Mode().IsRegular()) {
				continue
			}
		}
		if isDir {
			if g.enters(relPath, link) {
				err = s.walkDir(ctx, g, rel, below, yield)
			}
		} else {
			err = yield(full, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
