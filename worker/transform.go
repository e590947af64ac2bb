package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"syscall"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// transform opens the chunk's input and runs its SQL in the engine. The rows
// are then in the slot's block.
func (s *slot) transform(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	c := d.Chunk()
	in, err := s.open(ctx, lease, t, c)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	if err := s.statement(ctx, lease, t, d, in, res); err != nil {
		return err
	}
	if in.Check != nil {
		if err := in.Check(); err != nil {
			return err
		}
	}
	res.BytesRead = in.Bytes
	return nil
}

// open opens the chunk's input, and keeps it on disk for a SELECT that reads
// it more than once.
func (s *slot) open(ctx context.Context, lease *queue.Lease, t *task, c job.Chunk) (*source.Input, error) {
	in, err := t.source.Open(ctx, c.Input, t.job.Frozen.Columns)
	if err != nil {
		return nil, fmt.Errorf("opening the input: %w", err)
	}
	if !t.job.Frozen.Rereads || in.File != nil {
		return in, nil
	}
	kept, err := s.keep(in.Reader, lease.Progress)
	if err != nil {
		_ = in.Close()
		return nil, fmt.Errorf("keeping the input: %w", err)
	}
	end := in.Close
	in.File, in.Reader = kept, nil
	in.Close = func() error { return errors.Join(kept.Close(), end()) }
	return in, nil
}

// statement computes the chunk's rows from an open input.
func (s *slot) statement(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, in *source.Input, res *job.Result) error {
	c := d.Chunk()
	out, err := s.outlet(lease.Progress)
	if err != nil {
		return err
	}
	path, fed, err := s.inlet(in, lease.Progress)
	if err != nil {
		return errors.Join(err, out.end())
	}
	settings := s.settings(in)
	sum, err := s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL:      transform.Into(out.path, transform.Select(t.pipeline.SQL(), t.input(path, in), t.output(c))),
		Database: t.workspace.Database, QueryID: s.queryID(d), Settings: settings,
	})
	if err := ended(err, fed(), out.end()); err != nil {
		return err
	}
	rows, err := s.block.rows()
	if err != nil {
		return err
	}
	if rows != sum.WrittenRows {
		return job.WithClass(fmt.Errorf("%w: the SELECT gave %d rows in several blocks, the first has %d", ErrTooBig, sum.WrittenRows, rows), job.TooBig)
	}
	res.RowsRead = sum.ReadRows - min(sum.ReadRows, t.job.Frozen.Baseline)
	if t.job.Frozen.Rereads {
		if res.RowsRead, err = s.count(ctx, path, in, settings); err != nil {
			return err
		}
	}
	res.RowsLoaded = rows
	res.BytesLoaded = s.block.size
	res.Hash = s.block.hash()
	return nil
}

// settings are those of a chunk's statement. Whatever the pipeline says: one
// block, always the same.
func (s *slot) settings(in *source.Input) map[string]string {
	settings := map[string]string{}
	maps.Copy(settings, in.Settings)
	maps.Copy(settings, transform.OneBlock())
	return settings
}

// queryID names a statement of the delivery in the engine's own tables.
func (s *slot) queryID(d *queue.Delivery) string {
	return fmt.Sprintf("%s/%d/%s/%d", d.Chunk().Token(0), d.Attempt(), s.w.cfg.ID, s.w.statements.Add(1))
}

// ended picks the error that tells why a statement failed, of the engine's, of
// the one who fed it and of the one who read from it.
func ended(err, fed, read error) error {
	switch {
	case fed != nil && !errors.Is(fed, errReleased) && !errors.Is(fed, syscall.EPIPE):
		// The engine took the broken input for the end of it: what it made
		// of it does not count, and what broke is the better reason.
		return fmt.Errorf("reading the input: %w", fed)
	case read != nil && errors.Is(read, ErrTooBig):
		return job.WithClass(read, job.TooBig) // the engine only says that its pipe was closed
	case err != nil:
		return err
	case read != nil && !errors.Is(read, errReleased):
		return read
	}
	return nil
}

// outlet is the pipe through which the engine's rows come into the block.
type outlet struct {
	*fifo
	read chan error
}

func (s *slot) outlet(progress func()) (*outlet, error) {
	pipe, err := s.w.fifos.make("out")
	if err != nil {
		return nil, err
	}
	o := &outlet{pipe, make(chan error, 1)}
	go func() {
		o.read <- func() error {
			file, err := pipe.open(os.O_RDONLY)
			if err != nil {
				return err
			}
			defer file.Close()
			return s.block.readFrom(file, progress)
		}()
	}()
	return o, nil
}

// end is called when the statement has ended. It waits for the reader.
func (o *outlet) end() error {
	o.release()
	return <-o.read
}

// inlet makes the input readable for the engine under path: an open file as it
// is, other bytes by a pipe. The function is called when the statement has
// ended; it waits for the one who feeds.
func (s *slot) inlet(in *source.Input, progress func()) (path string, end func() error, err error) {
	if in.File != nil {
		return descriptor(in.File), func() error { return nil }, nil
	}
	pipe, err := s.w.fifos.make("in")
	if err != nil {
		return "", nil, err
	}
	fed := make(chan error, 1)
	go func() { fed <- s.feed(pipe, in.Reader, progress) }()
	return pipe.path, func() error {
		pipe.release()
		return <-fed
	}, nil
}

// descriptor is the path under which the engine finds an open file of ours.
func descriptor(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

// keep copies the input to a file without a name, for a SELECT that reads it
// more than once.
func (s *slot) keep(r io.Reader, progress func()) (*os.File, error) {
	f, err := os.CreateTemp(s.w.fifos.dir, "*.kept")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	if err := s.copy(f, r, progress); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// count is the number of rows of an input that was kept: what the engine read
// to compute the SELECT counts some of them more than once.
func (s *slot) count(ctx context.Context, path string, in *source.Input, settings map[string]string) (uint64, error) {
	// Nothing is read but the number: what columns there are is not looked at.
	settings["input_format_skip_unknown_fields"] = "1"
	rows, err := s.w.eng.Client().CountRows(ctx, transform.File(path, in.Format, in.Compression, in.Structure, in.Structure).Relation, settings)
	if err != nil {
		return 0, fmt.Errorf("counting the rows of the input: %w", err)
	}
	return rows, nil
}

// feed copies the input into the engine's pipe.
func (s *slot) feed(pipe *fifo, r io.Reader, progress func()) error {
	w, err := pipe.open(os.O_WRONLY)
	if err != nil {
		return err
	}
	defer w.Close()
	if part, ok := r.(source.FileRange); ok {
		file, start, end := part.Range()
		moved, err := splice(w, file, start, end, progress)
		if err != nil {
			return err
		}
		part.Skip(moved)
	}
	return s.copy(w, r, progress)
}

// copy copies r to w and reports each piece as progress.
func (s *slot) copy(w io.Writer, r io.Reader, progress func()) error {
	for {
		n, err := r.Read(s.copyBuf)
		if n > 0 {
			if _, err := w.Write(s.copyBuf[:n]); err != nil {
				return err
			}
			progress()
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
