package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// local is the tree of this machine's files.
type local struct {
	dir   string       // where relative paths start
	allow *allow.Rules // what may be read
}

func versionOf(info fs.FileInfo) version {
	return version{Size: info.Size(), MTime: info.ModTime().UnixNano()}
}

// reaches implements tree.
func (l local) reaches(g glob, p string) bool {
	if g.rest == "" {
		return l.abs(g.base) == l.abs(p)
	}
	rel, err := filepath.Rel(l.abs(g.base), l.abs(p))
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
		info, err := os.Lstat(filepath.Join(l.abs(g.base), rel[:i]))
		if err != nil || !g.enters(rel[:i], info.Mode()&fs.ModeSymlink != 0) {
			return false
		}
	}
	return true
}

// abs is where the path of a pattern is on this machine.
func (l local) abs(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(l.dir, p)
}

// walk implements tree, with the names of one directory a level in memory.
func (l local) walk(ctx context.Context, g glob, from string, yield func(string, version) error) error {
	// A file whose name has meta characters is meant by its name.
	literal := path.Clean(filepath.ToSlash(g.text))
	if g.rest == "" {
		literal = g.base
	}
	info, err := l.allow.Stat(l.abs(literal))
	switch {
	case err == nil && info.Mode().IsRegular():
		return yield(literal, versionOf(info))
	case g.rest != "":
	case err != nil:
		return openError(literal, err)
	case info.IsDir():
		return job.Permanentf("%s is a directory: name its files, such as %s/*.csv or %s/**", g.text, g.text, g.text)
	default:
		return job.Permanentf("%s is not a regular file but %s", g.text, info.Mode().Type())
	}
	if _, err := l.allow.Stat(l.abs(g.base)); errors.Is(err, fs.ErrNotExist) {
		return job.Permanentf("the glob %q matches no file: %s does not exist: check the path, or where relative paths start", g.text, l.abs(g.base))
	}
	var after []string
	if from != "" {
		if rel, err := filepath.Rel(filepath.FromSlash(g.base), filepath.FromSlash(from)); err == nil {
			after = strings.Split(filepath.ToSlash(rel), "/")
		}
	}
	return l.walkDir(ctx, g, nil, after, yield)
}

// walkDir walks the directory below g.base whose path elements are dir, from
// the element after on.
func (l local) walkDir(ctx context.Context, g glob, dir, after []string, yield func(string, version) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := path.Join(append([]string{g.base}, dir...)...)
	entries, err := l.allow.ReadDir(l.abs(at))
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
			} else if info, err = l.allow.Stat(l.abs(full)); err != nil {
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
				err = l.walkDir(ctx, g, rel, below, yield)
			}
		} else {
			err = yield(full, versionOf(info))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version implements tree.
func (l local) version(_ context.Context, path string) (version, error) {
	info, err := l.regular(path)
	if err != nil {
		return version{}, err
	}
	return versionOf(info), nil
}

// regular looks at the file at path.
func (l local) regular(path string) (fs.FileInfo, error) {
	info, err := l.allow.Stat(l.abs(path))
	if err != nil {
		return nil, openError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, job.Permanentf("%s is not a regular file but %s", path, info.Mode().Type())
	}
	return info, nil
}

// open implements tree.
func (l local) open(_ context.Context, path string, _ version) (blob, version, error) {
	// Not opened before it is known to be a file: a pipe would block.
	if _, err := l.regular(path); err != nil {
		return nil, version{}, err
	}
	h, err := l.allow.Open(l.abs(path))
	if err != nil {
		return nil, version{}, openError(path, err)
	}
	info, err := h.Stat()
	if err != nil {
		h.Close()
		return nil, version{}, fmt.Errorf("looking at %s: %w", path, err)
	}
	return &localBlob{h, l, path}, versionOf(info), nil
}

// planned compares the file at path with the version that was planned, and
// returns an error when it is another one.
func (l local) planned(path string, v version) (fs.FileInfo, error) {
	info, err := l.allow.Stat(l.abs(path))
	switch {
	case err != nil && absent(err):
		return nil, goneError(path)
	case err != nil:
		return nil, openError(path, err)
	case !info.Mode().IsRegular():
		return nil, job.Permanentf("%s: %w: it is not a regular file any more but %s", path, source.ErrChanged, info.Mode().Type())
	case versionOf(info) != v:
		return nil, job.Permanentf("%s: %w: it had %d bytes, modified %d, and now has %d, modified %d (nanoseconds of Unix time); start a new job for the new file",
			path, source.ErrChanged, v.Size, v.MTime, info.Size(), info.ModTime().UnixNano())
	}
	return info, nil
}

// localBlob is a file of this machine.
type localBlob struct {
	*os.File
	tree local
	path string
}

// local implements blob.
func (b *localBlob) local() *os.File { return b.File }

// section implements blob.
func (b *localBlob) section(start, end int64) (io.Reader, error) {
	return newSection(b.File, start, end), nil
}

// pause implements blob.
func (b *localBlob) pause() {}

// unchanged implements blob: neither the path nor the open file is another one.
func (b *localBlob) unchanged(v version) error {
	now, err := b.tree.planned(b.path, v)
	if err != nil {
		return err
	}
	own, err := b.Stat()
	if err != nil {
		return job.Retryf("looking at %s: %w", b.path, err)
	}
	if !os.SameFile(now, own) {
		return job.Permanentf("%s: %w: another file took its place", b.path, source.ErrChanged)
	}
	return nil
}

// section reads a range of a file. Unlike io.SectionReader it does not take
// the early end of the file for the end of the range.
type section struct {
	f       *os.File
	at, end int64
}

func newSection(f *os.File, start, end int64) *section { return &section{f, start, end} }

func (s *section) Read(b []byte) (int, error) {
	if s.at >= s.end {
		return 0, io.EOF
	}
	if int64(len(b)) > s.end-s.at {
		b = b[:s.end-s.at]
	}
	n, err := s.f.ReadAt(b, s.at)
	s.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if s.at < s.end {
			err = shorterError(s.f.Name())
		}
	}
	return n, err
}

// Range implements source.FileRange.
func (s *section) Range() (file *os.File, start, end int64) { return s.f, s.at, s.end }

// Skip implements source.FileRange.
func (s *section) Skip(n int64) { s.at += n }
