package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Source is the files source. It implements source.Source, keeps nothing
// between calls but clients of stores, and may be used by several goroutines.
type Source struct {
	cfg    Config // with defaults
	format *format
	begin  *regexp.Regexp // Config.Multiline; nil: a line is a record
	globs  []glob
	keys   map[string]webKey

	mu    sync.Mutex
	trees map[place]tree // of the stores that were asked for
}

var _ source.Source = (*Source)(nil)

// New returns the source that cfg describes. It opens nothing; a cfg that does
// not validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	s := &Source{cfg: cfg.withDefaults(), trees: map[place]tree{}}
	if cfg.Format != "" {
		f, _ := formatNamed(cfg.Format)
		s.format = &f
		s.cfg.matching(f)
	}
	if m := cfg.Multiline; m != nil {
		s.begin = regexp.MustCompile(m.Begin) // Validate has seen to it
	}
	s.globs, s.keys = globsOf(cfg.Paths)
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
		total += max(0, f.Size)
		return nil
	})
	if err != nil {
		return 0
	}
	return total
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
		return job.Permanentf("%s: it ends within its first %d bytes", f.path, n)
	}
	return err
}

func (c *content) Close() error { return c.plain.Close() }

// failure says what an error of the decompression comes from.
func (c *content) failure(err error) error {
	return c.raw.or(job.Permanentf("%s: it can not be decompressed with %s: %w", c.raw.f.path, c.raw.f.comp.name, err))
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

// blank reports whether data holds nothing but white space and a byte order
// mark.
func blank(data []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(data, []byte(utf8BOM)))) == 0
}
