package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/quarantine"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
	"drayage/pkg/transform"
)

// transform makes the chunk's rows of its input by run, which is called with an
// open input and sets what it read in res. When rows are at fault that it
// fails, they are separated, and run is called once more with the good ones,
// which are judged then.
func (s *slot) transform(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result, run func(in *source.Input, judged bool) error) error {
	if t.runner != nil {
		return (&computing{slot: s, lease: lease, task: t, delivery: d, result: res, run: run}).transformStaged(ctx)
	}
	c := d.Chunk()
	s.rejects = nil
	doubt, fetched := false, false
	err := s.reading(ctx, lease, t, c, func(in *source.Input) error {
		res.BytesRead, fetched = in.Bytes, in.Relation != ""
		if doubt = in.Doubt != "" && s.w.cfg.Strict; doubt {
			return job.WithClass(errors.New("the input could not be cut into records: "+in.Doubt), job.Permanent)
		}
		return run(in, false)
	})
	if fetched || !doubt && (!quarantine.Suspicious(err) || !s.w.cfg.Strict) {
		return err
	}
	cause := err
	var separated *quarantine.Separated
	err = s.reading(ctx, lease, t, c, func(in *source.Input) error {
		ctx, end := s.w.measure(ctx, metrics.Quarantine, trace.Of{})
		defer func() { end(err) }()
		separated, err = quarantine.Separate(ctx, quarantine.Request{
			Engine: s.w.eng.Client(), Database: t.workspace.Database, Input: in, Columns: t.job.Frozen.Columns,
			Selects: t.selects(c), Limit: t.pipeline.Reject.Limit(), Offset: t.offset(c),
			Dir: s.w.fifos.dir, Progress: lease.Progress, Cause: cause,
		})
		return err
	})
	if separated != nil {
		defer func() { _ = separated.Close() }() // it was only read
	}
	if err != nil {
		return fmt.Errorf("separating the rows of the chunk: %w", err)
	}
	if err := run(separated.Input, true); err != nil {
		return fmt.Errorf("computing the good rows of the chunk: %w", err)
	}
	s.rejects = separated.Rejects()
	res.RowsRead = separated.Records
	res.RowsRejected = uint64(len(s.rejects))
	return nil
}

// reading opens the chunk's input, does something with it, and checks that it
// is still what was planned. A failure of an input that has changed is that of
// the change.
func (s *slot) reading(ctx context.Context, lease *queue.Lease, t *task, c job.Chunk, do func(*source.Input) error) error {
	in, err := s.open(ctx, lease, t, c)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	err = do(in)
	if in.Check != nil && (err == nil || ctx.Err() == nil) {
		if changed := in.Check(); changed != nil {
			return changed
		}
	}
	return err
}

// open opens the chunk's input, and keeps it on disk when it is read more than
// once.
func (s *slot) open(ctx context.Context, lease *queue.Lease, t *task, c job.Chunk) (*source.Input, error) {
	moving, begun := keepMoving(lease.Progress), time.Now()
	opening, span := s.w.traces.Begin(ctx, string(metrics.Extract), trace.Client, trace.Of{})
	in, err := t.source.Open(opening, c.Input, t.job.Frozen.Columns)
	span.End(err)
	s.extracting.Add(int64(time.Since(begun)))
	moving()
	if err != nil {
		return nil, fmt.Errorf("opening the input: %w", err)
	}
	if err := s.w.judge(ctx, in); err != nil {
		_ = in.Close()
		return nil, fmt.Errorf("opening the input: %w", err)
	}
	if _, local := in.Reader.(source.FileRange); in.Reader != nil && !local {
		awaited(in, lease.Progress)
	}
	// What the stages make is kept anyway.
	if !t.job.Frozen.Kept() || t.runner != nil || in.File != nil {
		return in, nil
	}
	var kept *os.File
	if in.Relation != "" {
		kept, err = s.fetch(ctx, lease, t, in)
	} else {
		kept, err = s.keep(in.Reader, lease.Progress)
	}
	if err != nil {
		_ = in.Close()
		return nil, fmt.Errorf("keeping the input: %w", err)
	}
	end := in.Close
	in.File = kept // Reader stays, to tell what was kept
	in.Close = func() error { return errors.Join(kept.Close(), end()) }
	return in, nil
}

// judge refuses a relation that the engine may not read, and has it go nowhere
// else by itself.
func (w *Worker) judge(ctx context.Context, in *source.Input) (err error) {
	if in.Relation != "" {
		in.Settings, err = transform.Reach{Engine: w.eng.Client(), Rules: w.allow}.Judge(ctx, in.Relation, in.Settings)
	}
	return err
}

// keepMoving counts the time until its end is called as progress: a source that
// waits for a seat or for a limit of requests, and a query elsewhere, give no
// sign of life. DRAY_CHUNK_TIMEOUT bounds it.
func keepMoving(progress func()) (end func()) { return ticking(progress) }

// ticking calls do every second until end is called.
func ticking(do func()) (end func()) {
	done := make(chan struct{})
	tick := time.NewTicker(time.Second)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				do()
			case <-done:
				return
			}
		}
	}()
	return func() { close(done) }
}

// awaited counts the time that a Read of the input takes as progress: a query
// elsewhere may think for long before its first row, and between two.
func awaited(in *source.Input, progress func()) {
	r := &awaiting{from: in.Reader}
	stop := ticking(func() {
		if r.reading.Load() {
			progress()
		}
	})
	end := in.Close
	in.Reader, in.Close = r, func() error { stop(); return end() }
}

// awaiting knows whether it is being read at this moment.
type awaiting struct {
	from    io.Reader
	reading atomic.Bool
}

// Read implements io.Reader.
func (r *awaiting) Read(b []byte) (int, error) {
	r.reading.Store(true)
	defer r.reading.Store(false)
	return r.from.Read(b)
}

// fetch has the engine write the rows of a relation to a file without a name,
// for a SELECT that reads them more than once, and makes in that file's input.
func (s *slot) fetch(ctx context.Context, lease *queue.Lease, t *task, in *source.Input) (*os.File, error) {
	defer keepMoving(lease.Progress)()
	pipe, err := s.w.fifos.make("out")
	if err != nil {
		return nil, err
	}
	type copied struct {
		file *os.File
		err  error
	}
	kept := make(chan copied, 1)
	go func() {
		r, err := pipe.open(os.O_RDONLY)
		if err != nil {
			kept <- copied{err: err}
			return
		}
		defer r.Close()
		f, err := s.keep(r, lease.Progress)
		kept <- copied{f, err}
	}()
	rel := s.w.input(t, t.job.Frozen.Columns, "", in, true)
	_, err = s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL: transform.Into(pipe.path, transform.Everything(rel)), Database: t.workspace.Database, Settings: settings(in, rel),
	})
	pipe.release()
	got := <-kept
	if err := ended(err, nil, got.err); err != nil {
		if got.file != nil {
			got.file.Close()
		}
		return nil, err
	}
	in.Relation, in.Format = "", "Native"
	return got.file, nil
}

// statements computes the rows of all outputs from an open input.
func (s *slot) statements(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, in *source.Input, judged bool, res *job.Result) error {
	s.blocks.reset(len(t.outputs))
	res.RowsLoaded, res.BytesLoaded, res.Shares = 0, 0, nil
	for _, o := range t.outputs {
		share, err := s.statement(ctx, lease, t, o, d, in, judged, res)
		if err != nil {
			return t.naming(o, err)
		}
		t.share(o, share, res)
	}
	return nil
}

// statement computes the rows of an output into its block, and counts those of
// the input with the first.
func (s *slot) statement(ctx context.Context, lease *queue.Lease, t *task, o output, d *queue.Delivery, in *source.Input, judged bool, res *job.Result) (job.Share, error) {
	c := d.Chunk()
	none := job.Share{}
	b := s.blocks.list[o.number]
	out, err := s.outlet(b, lease.Progress)
	if err != nil {
		return none, err
	}
	path, fed, err := s.inlet(in, lease.Progress)
	if err != nil {
		return none, errors.Join(err, out.end())
	}
	rel := s.w.input(t, t.job.Frozen.Chunk(), path, in, judged)
	settings := settings(in, rel)
	sum, err := s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL:      transform.Into(out.path, transform.Select(o.sql, rel, o.of(c))),
		Database: t.workspace.Database, QueryID: s.queryID(d), Settings: settings,
	})
	if err := ended(err, fed(), out.end()); err != nil {
		return none, err
	}
	rows, err := b.rows()
	if err != nil {
		return none, err
	}
	if rows != sum.WrittenRows {
		return none, job.WithClass(fmt.Errorf("%w: the SELECT gave %d rows in several blocks, the first has %d", ErrTooBig, sum.WrittenRows, rows), job.TooBig)
	}
	if o.number == 0 && t.runner == nil { // the stages count by themselves
		if err := s.countRead(ctx, o, path, in, sum, settings, res); err != nil {
			return none, err
		}
	}
	return job.Share{RowsLoaded: rows, BytesLoaded: b.size, Hash: b.hash()}, nil
}

// countRead sets how many rows the input has: those that the engine read, unless
// the SELECT reads them more than once.
func (s *slot) countRead(ctx context.Context, o output, path string, in *source.Input, sum engine.Summary, settings map[string]string, res *job.Result) (err error) {
	if !o.Rereads {
		res.RowsRead = sum.ReadRows - min(sum.ReadRows, o.Baseline)
		return nil
	}
	res.RowsRead, err = s.count(ctx, path, in, settings)
	return err
}

// input is the relation under which the engine reads the columns of an open
// input: with every value checked.
func (w *Worker) input(t *task, columns []job.Column, path string, in *source.Input, judged bool) transform.Input {
	if in.Relation != "" {
		return transform.Fetched(in.Relation, columns, len(t.pipeline.Source.Columns) > 0)
	}
	b := bytesOf(path, in)
	b.Columns, b.Judged, b.Unscanned = columns, judged, !judged && unscanned(in)
	if !w.cfg.Strict {
		return transform.Unchecked(b)
	}
	return transform.Strict(b)
}

// bytesOf are the bytes of an open input, which the engine finds under path.
func bytesOf(path string, in *source.Input) transform.Bytes {
	return transform.Bytes{
		Path: path, Format: in.Format, Compression: in.Compression, Structure: in.Structure, Settings: in.Settings,
		Pattern: in.Pattern, Framed: in.Framed,
	}
}

// unscanned reports whether nobody has looked yet for the records in the input:
// that is so for all but ranges of files, which were cut at their borders.
func unscanned(in *source.Input) bool {
	return !in.Cut && (in.Reader != nil || in.Compression != "none")
}

// settings are those of a chunk's statement. Whatever the pipeline says: one
// block, always the same.
func settings(in *source.Input, rel transform.Input) map[string]string {
	all := map[string]string{}
	maps.Copy(all, in.Settings)
	maps.Copy(all, rel.Settings)
	maps.Copy(all, transform.OneBlock())
	return all
}

// queryID names a statement of the delivery in the engine's own tables.
func (s *slot) queryID(d *queue.Delivery) string {
	return fmt.Sprintf("%s/%d/%s/%d", d.Chunk().Token(0, 0), d.Attempt(), s.w.cfg.ID, s.w.statements.Add(1))
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

func (s *slot) outlet(b *block, progress func()) (*outlet, error) {
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
			return b.readFrom(file, progress)
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
		return engine.FilePath(in.File), func() error { return nil }, nil
	}
	if in.Relation != "" {
		moving := keepMoving(progress)
		return "", func() error { moving(); return nil }, nil
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

// keep copies the input to a file without a name, for a SELECT that reads it
// more than once.
func (s *slot) keep(r io.Reader, progress func()) (*os.File, error) {
	f, err := s.nameless("*.kept")
	if err != nil {
		return nil, err
	}
	if err := s.copy(f, r, progress); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// nameless makes a file on the worker's disk that is gone when it is closed.
func (s *slot) nameless(pattern string) (*os.File, error) {
	f, err := os.CreateTemp(s.w.fifos.dir, pattern)
	if err != nil {
		return nil, fmt.Errorf("making a file for rows: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("taking the name off a file for rows: %w", err)
	}
	return f, nil
}

// count is the number of rows of an input that was kept: what the engine read
// to compute the SELECT counts some of them more than once.
func (s *slot) count(ctx context.Context, path string, in *source.Input, settings map[string]string) (uint64, error) {
	// Nothing is read but the number: what columns there are is not looked at.
	settings["input_format_skip_unknown_fields"] = "1"
	rows, err := s.w.eng.Client().CountRows(ctx, transform.Counted(bytesOf(path, in)), settings)
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

// copy copies r to w and reports each piece as progress. The time of the reads
// is that of the source.
func (s *slot) copy(w io.Writer, r io.Reader, progress func()) error {
	for {
		begun := time.Now()
		n, err := r.Read(s.copyBuf)
		s.extracting.Add(int64(time.Since(begun)))
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
