package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Source is the files source. It implements source.Source, keeps nothing
// between calls, and may be used by several goroutines.
type Source struct {
	cfg    Config // with defaults
	format *format
	globs  []glob
}

var _ source.Source = (*Source)(nil)

// New returns the source that cfg describes. It opens nothing; a cfg that does
// not validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	s := &Source{cfg: cfg.withDefaults()}
	if cfg.Format != "" {
		f, _ := formatNamed(cfg.Format)
		s.format = &f
	}
	for _, p := range cfg.Paths {
		s.globs = append(s.globs, newGlob(p))
	}
	return s, nil
}

// maxSized is how many files Size looks at before it gives up.
const maxSized = 100_000

// Size implements source.Source: the bytes of all files as stored, 0 when they
// are more than a hundred thousand or can not be listed.
func (s *Source) Size(ctx context.Context) int64 {
	var total int64
	n := 0
	err := s.walk(ctx, 0, "", func(f found) error {
		if n++; n > maxSized {
			return fmt.Errorf("more than %d files", maxSized)
		}
		total += f.info.Size()
		return nil
	})
	if err != nil {
		return 0
	}
	return total
}

// file is an open file whose format, compression and version are settled.
type file struct {
	*os.File
	path   string // as the pattern has it
	format format
	comp   compression
	size   int64
	mtime  int64 // nanoseconds
	info   fs.FileInfo
}

// open opens the file at path and looks at how it begins.
func (s *Source) open(path string) (*file, error) {
	// Not opened before it is known to be a file: a pipe would block.
	info, err := os.Stat(s.abs(path))
	if err != nil {
		return nil, openError(path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, permanent("%s is not a regular file but %s", path, info.Mode().Type())
	}
	h, err := os.Open(s.abs(path))
	if err != nil {
		return nil, openError(path, err)
	}
	f := &file{File: h, path: path}
	if err := s.settle(f); err != nil {
		h.Close()
		return nil, err
	}
	return f, nil
}

// settle fills in what is known of an open file.
func (s *Source) settle(f *file) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", f.path, err)
	}
	f.info, f.size, f.mtime = info, info.Size(), info.ModTime().UnixNano()
	if f.format, f.comp, err = s.formatOf(f.path); err != nil {
		return err
	}
	if f.size == 0 {
		return nil
	}
	begin := make([]byte, min(f.size, 64))
	if _, err := (&disk{f: f}).ReadAt(begin, 0); err != nil {
		return err
	}
	if f.comp, err = f.comp.settle(f.format, begin); err != nil {
		return permanent("%s: %w", f.path, err)
	}
	return nil
}

// plain returns the decompressed content, or an error that wraps errNoReader
// when only the engine can decompress it.
func (f *file) plain() (io.ReadCloser, error) {
	if f.comp.open == nil {
		return nil, fmt.Errorf("%s: %w", f.comp.name, errNoReader)
	}
	c := &content{raw: disk{f: f}}
	var err error
	if c.plain, err = f.comp.open(&c.raw); err != nil {
		return nil, c.failure(err)
	}
	return c, nil
}

var errNoReader = errors.New("the engine alone reads this compression")

// content is what a file holds, decompressed.
type content struct {
	raw   disk
	plain io.ReadCloser
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.plain.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.failure(err)
	}
	return n, err
}

// skip reads over the first n bytes.
func (f *file) skip(r io.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	if errors.Is(err, io.EOF) {
		return permanent("%s: it ends within its first %d bytes", f.path, n)
	}
	return err
}

func (c *content) Close() error { return c.plain.Close() }

// failure says what an error of the decompression comes from.
func (c *content) failure(err error) error {
	return c.raw.or(permanent("%s: it can not be decompressed with %s: %w", c.raw.f.path, c.raw.f.comp.name, err))
}

// head reads the beginning of the decompressed content.
func (f *file) head() (head, error) {
	r, err := f.plain()
	if err != nil {
		return head{}, err
	}
	defer r.Close()
	return readHead(r)
}

// reopen opens the version of a file that a chunk was planned from.
func (s *Source) reopen(p piece) (*file, error) {
	f, err := s.open(p.Path)
	if err == nil {
		if err = s.changed(f, p.Size, p.MTime); err == nil {
			return f, nil
		}
		f.Close()
		return nil, err
	}
	// What is wrong with it may come from its being another file.
	if _, other := s.version(p.Path, p.Size, p.MTime); other != nil {
		return nil, other
	}
	return nil, err
}

// version compares the file at path with the version that was planned, and
// returns an error when it is another one.
func (s *Source) version(path string, size, mtime int64) (fs.FileInfo, error) {
	info, err := os.Stat(s.abs(path))
	switch {
	case err != nil && absent(err):
		return nil, goneError(path)
	case err != nil:
		return nil, openError(path, err)
	case !info.Mode().IsRegular():
		return nil, permanent("%s: %w: it is not a regular file any more but %s", path, source.ErrChanged, info.Mode().Type())
	case info.Size() != size || info.ModTime().UnixNano() != mtime:
		return nil, permanent("%s: %w: it had %d bytes, modified %d, and now has %d, modified %d (nanoseconds of Unix time); start a new job for the new file",
			path, source.ErrChanged, size, mtime, info.Size(), info.ModTime().UnixNano())
	}
	return info, nil
}

// changed reports how the path and the open file differ from the version that
// was planned; nil when they do not.
func (s *Source) changed(f *file, size, mtime int64) error {
	now, err := s.version(f.path, size, mtime)
	if err != nil {
		return err
	}
	own, err := f.Stat()
	if err != nil {
		return job.WithClass(fmt.Errorf("looking at %s: %w", f.path, err), job.Retry)
	}
	if !os.SameFile(now, own) {
		return permanent("%s: %w: another file took its place", f.path, source.ErrChanged)
	}
	return nil
}

// blank reports whether data holds nothing but white space and a byte order
// mark.
func blank(data []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte(utf8BOM)))) == 0
}
