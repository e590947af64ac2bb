package files

import (
	"context"
	"errors"

	"drayage/pkg/job"
)

// found is a file that a pattern matched.
type found struct {
	version
	pattern int    // its index in Config.Paths
	path    string // as the pattern has it: relative ones start at Config.Dir
}

// errStop ends a walk without an error.
var errStop = errors.New("stop")

// walk calls yield with every file, pattern by pattern, each in the order of
// its names, with the names of one directory a level or one page of a listing in
// memory. It starts with the file at path from of the pattern first, or with the
// one after it. It is an error when a pattern matches nothing.
func (s *Source) walk(ctx context.Context, first int, from string, yield func(found) error) error {
	for i := first; i < len(s.globs); i++ {
		g := s.globs[i]
		t, err := s.treeAt(g.at)
		if err != nil {
			return err
		}
		n := 0
		err = t.walk(ctx, g, from, func(p string, v version) error {
			n++
			for _, earlier := range s.globs[:i] {
				if earlier.at == g.at && t.reaches(earlier, p) {
					return nil
				}
			}
			return yield(found{v, i, p})
		})
		if errors.Is(err, errStop) {
			return nil
		}
		if err == nil && n == 0 && from == "" {
			err = s.nothing(g)
		}
		if err != nil {
			return err
		}
		from = ""
	}
	return nil
}

// nothing is the error of a glob that matches no file.
func (s *Source) nothing(g glob) error {
	if g.at != (place{}) {
		return job.Permanentf("the glob %q matches no object: check the address, and that there are objects below %s%s", g.text, g.at, g.base)
	}
	return job.Permanentf("the glob %q matches no file below %s: check the path, or where relative paths start", g.text, s.local().abs(g.base))
}
