package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

var _ source.Counter = (*Source)(nil)

// Count implements source.Counter. Of Parquet the footer says it; all else is
// counted by the engine, which gets ranges and what it can not decompress
// through a pipe, and every other file by itself.
func (s *Source) Count(ctx context.Context, eng source.Querier, input json.RawMessage, columns []job.Column) (uint64, error) {
	p, err := parsePiece(input)
	if err != nil {
		return 0, err
	}
	f, err := s.reopen(ctx, p)
	if err != nil {
		return 0, err
	}
	if f.grouped() {
		defer f.Close()
		n, err := f.countGroups(p)
		if err != nil {
			return 0, err
		}
		if err := f.unchanged(p.version); err != nil {
			return 0, err
		}
		return n, nil
	}
	in, err := s.openPiece(ctx, f, p, columns)
	if err != nil {
		f.Close()
		return 0, err
	}
	defer func() { _ = in.Close() }() // it was only read
	n, err := countInput(ctx, eng, in)
	// The engine knows nothing of a change: what it says of a changed file,
	// be it a number or an error, does not count.
	if changed := in.Check(); changed != nil {
		return 0, changed
	}
	if err != nil {
		return 0, fmt.Errorf("counting the records of %s: %w", p.Path, err)
	}
	return n, nil
}

func (f *file) countGroups(p piece) (uint64, error) {
	footer, _, err := f.footer()
	if err != nil {
		return 0, err
	}
	groups, err := f.groups(footer, p)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, g := range groups {
		if g.Rows < 0 {
			return 0, job.Permanentf("%s: a row group of %d rows", f.path, g.Rows)
		}
		n += uint64(g.Rows)
	}
	return n, nil
}

// countInput lets the engine count the records of an open input.
func countInput(ctx context.Context, eng source.Querier, in *source.Input) (uint64, error) {
	settings := maps.Clone(in.Settings)
	// The engine would remember counts by path and time, and paths of open
	// files and of pipes mean another one the next time.
	settings["use_cache_for_count_from_files"] = "0"
	// To count, the engine reads one column and would refuse the others of a
	// header that it reads itself.
	settings["input_format_skip_unknown_fields"] = "1"
	count := func(path string) (uint64, error) {
		format, structure := in.Format, in.Structure
		if in.Pattern != "" {
			structure = []job.Column{{Name: "line", Type: "String"}}
		}
		if in.Framed {
			format = "RowBinary"
		}
		relation := fmt.Sprintf("file(%s, %s, %s, %s)", literal(path), literal(format), literal(declaration(structure)), literal(in.Compression))
		return eng.CountRows(ctx, relation, settings)
	}
	if in.File != nil {
		return count(enginePath(in.File))
	}
	dir, err := os.MkdirTemp("", "dray-count-*")
	if err != nil {
		return 0, job.Retryf("making a pipe: %w", err)
	}
	defer os.RemoveAll(dir)
	// A name that is never used again: a query that was cancelled may open it
	// late, and must find nothing.
	path := filepath.Join(dir, "in")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return 0, job.Retryf("making the pipe %s: %w", path, err)
	}
	opened, fed := make(chan struct{}), make(chan error, 1)
	go func() { fed <- feed(ctx, path, in.Reader, opened) }()
	n, err := count(path)
	// Both ends, so that a feeder that still waits for the engine goes on, to
	// find the pipe closed.
	both, openErr := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	os.Remove(path)
	<-opened
	if openErr == nil {
		both.Close()
	}
	switch feedErr := <-fed; {
	case feedErr != nil && !errors.Is(feedErr, syscall.EPIPE):
		// The engine took the broken input for the end of it.
		return 0, feedErr
	case err != nil:
		return 0, err
	case feedErr != nil:
		return 0, job.Permanentf("the engine did not read the input to its end")
	}
	return n, nil
}

// feed copies r into the pipe at path. It closes opened when the engine has
// opened the other end, or nobody will.
func feed(ctx context.Context, path string, r io.Reader, opened chan<- struct{}) error {
	pipe, err := os.OpenFile(path, os.O_WRONLY, 0)
	close(opened)
	if errors.Is(err, os.ErrNotExist) {
		return syscall.EPIPE // the query ended without it
	}
	if err != nil {
		return job.Retryf("opening the pipe %s: %w", path, err)
	}
	defer pipe.Close()
	_, err = io.Copy(pipe, untilDone{ctx, r})
	return err
}

// untilDone reads r until the context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

// declaration is the structure of a table function.
func declaration(columns []job.Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(c.Name) + "` " + c.Type
	}
	return strings.Join(parts, ", ")
}
