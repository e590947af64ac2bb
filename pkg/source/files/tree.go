package files

import (
	"context"
	"errors"
	"io"
	"os"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// tree is where files are: the folders of this machine, or a store of objects.
type tree interface {
	// walk calls yield with the files that g names, in the order of their names.
	// It starts with the file at path from, or with the one after it; "" is the
	// first of all. It ends at the first error, also that of yield.
	walk(ctx context.Context, g glob, from string, yield func(path string, v version) error) error

	// reaches reports whether the walk of g yields path.
	reaches(g glob, path string) bool

	// version is that of the file at path now.
	version(ctx context.Context, path string) (version, error)

	// open opens the file at path. Of an object it is the version v, which the
	// first read finds out; of a file of this machine the current one.
	open(ctx context.Context, path string, v version) (blob, version, error)
}

// blob is the bytes of a version of a file. It is for one goroutine.
type blob interface {
	io.ReaderAt
	io.Closer

	// local is the file itself, of this machine; nil of an object.
	local() *os.File

	// section reads the bytes [start, end) once, front to back. Its Read does not
	// take an early end of the file for the end of the range. The version was
	// compared when it returns.
	section(start, end int64) (io.Reader, error)

	// unchanged returns ErrChanged or ErrGone when the file is not the version v
	// any more. Of an object every read compares it.
	unchanged(v version) error

	// pause gives up the connection until the next read.
	pause()
}

// version tells one version of a file from all others.
type version struct {
	Size  int64  `json:"s"` // -1: an object that is read whole, and whose store does not say
	MTime int64  `json:"t"` // nanoseconds; of an object 0
	Tag   string `json:"v,omitempty"`
	Whole bool   `json:"w,omitempty"` // the store does not read a part of it
}

// file is an open file whose format and compression are settled.
type file struct {
	blob
	version
	path   string // as the pattern has it
	format format
	comp   compression
	begin  []byte // its first bytes, up to maxBegin, where they were looked at
}

// maxBegin is how many bytes tell whether a file is what its name says.
const maxBegin = 64

// cut reports whether the file is cut into ranges of records.
func (f *file) cut() bool { return f.format.splits() && f.comp.name == none && !f.Whole }

// grouped reports whether the file is cut into row groups.
func (f *file) grouped() bool { return f.format.family == parquet && f.comp.name == none && !f.Whole }

// tree is where the file at path is.
func (s *Source) tree(path string) (tree, error) {
	at, err := s.place(path)
	if err != nil {
		return nil, err
	}
	return s.treeAt(at)
}

// local is the tree of this machine.
func (s *Source) local() local { return local{s.cfg.Dir, s.cfg.Allow} }

func (s *Source) treeAt(at place) (tree, error) {
	if at == (place{}) {
		return s.local(), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, there := s.trees[at]; there {
		return t, nil
	}
	opener := s.cfg.Stores[at.scheme]
	if opener == nil {
		return nil, job.Permanentf("nothing is known of %s addresses", at.scheme)
	}
	st, err := opener(at.bucket)
	if err != nil {
		return nil, err
	}
	t := &remote{place: at, store: st, keys: s.keys}
	s.trees[at] = t
	return t, nil
}

// open opens a file that a walk found, in its current version.
func (s *Source) open(ctx context.Context, at found) (*file, error) {
	t, err := s.tree(at.path)
	if err != nil {
		return nil, err
	}
	f, err := s.openVersion(ctx, t, at.path, at.version, true)
	if !errors.Is(err, source.ErrChanged) && !errors.Is(err, source.ErrGone) {
		return f, err
	}
	// It is another one since it was listed.
	if at.version, err = t.version(ctx, at.path); err != nil {
		return nil, err
	}
	return s.openVersion(ctx, t, at.path, at.version, true)
}

// openVersion opens a file, and with look looks at how it begins.
func (s *Source) openVersion(ctx context.Context, t tree, path string, v version, look bool) (*file, error) {
	b, v, err := t.open(ctx, path, v)
	if err != nil {
		return nil, err
	}
	f := &file{blob: b, version: v, path: path}
	if err := s.settle(f, look); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// settle finds out the format and the compression of an open file.
func (s *Source) settle(f *file, look bool) (err error) {
	if f.format, f.comp, err = s.formatOf(f.path); err != nil {
		return err
	}
	if !look || f.Size == 0 {
		return nil
	}
	n := int64(maxBegin)
	if f.Size > 0 {
		n = min(f.Size, n)
	}
	begin := make([]byte, n)
	got, err := (&disk{f: f}).ReadAt(begin, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.begin = begin[:got]
	if f.comp, err = f.comp.settle(f.format, f.begin); err != nil {
		return job.Permanentf("%s: %w", f.path, err)
	}
	return nil
}

// reopen opens the version of a file that a chunk was planned from.
func (s *Source) reopen(ctx context.Context, p piece) (*file, error) {
	t, err := s.tree(p.Path)
	if err != nil {
		return nil, err
	}
	// The planner has looked at how a file begins that is cut.
	_, remote := t.(*remote)
	f, err := s.openVersion(ctx, t, p.Path, p.version, !remote || p.End == 0)
	if err == nil {
		if err = f.unchanged(p.version); err == nil {
			return f, nil
		}
		f.Close()
		return nil, err
	}
	if remote {
		return nil, err
	}
	// What is wrong with it may come from its being another file.
	if _, other := s.local().planned(p.Path, p.version); other != nil {
		return nil, other
	}
	return nil, err
}
