package quarantine

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/transform"
)

// spool is the chunk's bytes, decompressed, in a file without a name.
type spool struct {
	file *os.File
	data []byte // mapped
}

// close frees the spool, which was only read.
func (s *spool) close() {
	if len(s.data) > 0 {
		_ = unix.Munmap(s.data)
	}
	s.file.Close()
}

// nameless makes a file in dir that nobody else can open by a name.
func nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "*.rows")
	if err != nil {
		return nil, fmt.Errorf("making a file for rows: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("taking the name off a file for rows: %w", err)
	}
	return f, nil
}

// spool copies the input.
func (w *work) spool(ctx context.Context) (_ *spool, err error) {
	in := w.Input
	var f *os.File
	if in.File != nil && in.Compression != "" && in.Compression != "none" {
		f, err = w.decompress(ctx)
	} else {
		f, err = w.copied(ctx)
	}
	if err != nil {
		return nil, err
	}
	s := &spool{file: f}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		s.data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("mapping the rows: %w", err)
	}
	return s, nil
}

func (w *work) copied(ctx context.Context) (*os.File, error) {
	f, err := nameless(w.Dir)
	if err != nil {
		return nil, err
	}
	r := w.Input.Reader
	if w.Input.File != nil {
		info, err := w.Input.File.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		r = io.NewSectionReader(w.Input.File, 0, info.Size())
	}
	if _, err := io.Copy(f, &watched{ctx, r, w.Progress}); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// decompress lets the engine decompress the file, line by line.
func (w *work) decompress(ctx context.Context) (*os.File, error) {
	dir, err := os.MkdirTemp(w.Dir, "*.plain")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "lines")
	lines := []job.Column{{Name: "line", Type: "String"}}
	from := transform.File(engine.FilePath(w.Input.File), "LineAsString", w.Input.Compression, lines, lines).Relation
	_, err = w.Engine.Exec(ctx, engine.Statement{
		SQL:      fmt.Sprintf("INSERT INTO FUNCTION file(%s, 'LineAsString', 'line String') SELECT line FROM %s", transform.Literal(path), from),
		Settings: map[string]string{"max_threads": "1", "max_insert_threads": "1", "input_format_parallel_parsing": "0", "output_format_parallel_formatting": "0"},
	})
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	w.Progress()
	return os.Open(path)
}

// watched reads until its context ends, and reports progress.
type watched struct {
	ctx      context.Context
	r        io.Reader
	progress func()
}

func (r *watched) Read(b []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.r.Read(b)
	if n > 0 {
		r.progress()
	}
	return n, err
}
