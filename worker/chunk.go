package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"syscall"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// errAttempts is why a chunk was given up that might have succeeded once more.
var errAttempts = errors.New("no attempt is left")

// carry takes one delivered chunk the whole way and settles it. The order of
// the steps is what makes a kill between any two of them harmless: the rows
// are in ClickHouse before the result is recorded, and the result is recorded
// before the chunk is acknowledged.
func (s *slot) carry(ctx context.Context, t *task, d *queue.Delivery) {
	started := time.Now()
	held, lease := d.Hold(ctx)
	defer lease.Stop()

	c := d.Chunk()
	log := s.w.log.With().Str("job", c.Job).Uint64("chunk", c.Ordinal).Int("attempt", d.Attempt()).Logger()
	res := job.Result{
		Job: c.Job, Chunk: c.Ordinal, Generation: c.Generation,
		Attempt: d.Attempt(), Worker: s.w.cfg.ID, StartedAt: started.UTC(),
	}
	err := s.attempt(held, lease, t, d, &res)
	verdict := job.Judge(held, err, t.pipeline.Retry.Backoff.Delay(d.Attempt()))
	if verdict.Kind == job.VerdictRetry && s.counted(ctx, d) >= t.pipeline.Retry.Attempts {
		verdict = job.Verdict{Kind: job.VerdictDead, Err: fmt.Errorf("%w: %w", errAttempts, err)}
	}
	// The lease's context may have ended; what is left to say must still go
	// out, and has as long as the server would wait for it.
	saying, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Lease())
	defer cancel()

	if verdict.Kind == job.VerdictDead {
		if dead := s.bury(saying, d, verdict.Err); dead != nil {
			log.Error().Err(dead).Msg("could not record the dead letter; the chunk stays in the queue")
			verdict = job.Verdict{Kind: job.VerdictRetry, After: time.Second, Err: dead}
		}
	}
	if verdict.Err != nil {
		_ = s.w.q.PublishAttempt( // for watching: nothing rests on it
			saying, job.Attempt{
				Job: c.Job, Chunk: c.Ordinal, Generation: c.Generation, Attempt: d.Attempt(), Worker: s.w.cfg.ID,
				Verdict: verdict.Kind.String(), Error: verdict.Err.Error(), At: time.Now().UTC(),
				TookMS: time.Since(started).Milliseconds(), TransformMS: res.TransformMS, LoadMS: res.LoadMS,
				RetryMS: verdict.After.Milliseconds(),
			})
		log.Warn().Err(verdict.Err).Stringer("verdict", verdict.Kind).Msg("chunk not loaded")
	} else {
		log.Debug().Uint64("rows_read", res.RowsRead).Uint64("rows_loaded", res.RowsLoaded).
			Int64("transform_ms", res.TransformMS).Int64("load_ms", res.LoadMS).Msg("chunk loaded")
	}
	if err := d.Settle(saying, verdict); err != nil {
		// The message will come again and its result will be found.
		log.Warn().Err(err).Stringer("verdict", verdict.Kind).Msg("could not settle the delivery")
	}
}

// attempt does everything up to the recorded result.
func (s *slot) attempt(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	c := d.Chunk()
	if s.counted(ctx, d) > t.pipeline.Retry.Attempts {
		// Nobody lived to say so at the last attempt.
		return job.WithClass(fmt.Errorf("%w: its workers died or lost it each time", errAttempts), job.Permanent)
	}
	switch _, err := s.w.q.Result(ctx, c.Job, c.Ordinal, c.Generation); {
	case err == nil:
		return nil
	case !errors.Is(err, queue.ErrNotFound):
		return fmt.Errorf("looking for a result of the chunk: %w", err)
	}

	in, err := t.source.Open(ctx, c.Input, t.job.Frozen.Columns)
	if err != nil {
		return fmt.Errorf("opening the input: %w", err)
	}
	defer func() { _ = in.Close() }() // it was only read
	begin := time.Now()
	if t.job.Frozen.Rereads && in.File == nil {
		kept, err := s.keep(in.Reader, lease.Progress)
		if err != nil {
			return fmt.Errorf("keeping the input: %w", err)
		}
		defer kept.Close()
		in.File = kept
	}
	err = s.transform(ctx, lease, t, c, in, res)
	res.TransformMS = time.Since(begin).Milliseconds()
	if err != nil {
		return fmt.Errorf("transforming the chunk: %w", err)
	}
	if in.Check != nil {
		if err := in.Check(); err != nil {
			return err
		}
	}
	res.BytesRead = in.Bytes

	begin = time.Now()
	err = s.load(ctx, lease, t, d, res)
	res.LoadMS = time.Since(begin).Milliseconds()
	if err != nil {
		return fmt.Errorf("loading the chunk: %w", err)
	}
	err = s.w.q.RecordResult(ctx, *res)
	if err != nil && !errors.Is(err, queue.ErrExists) {
		return fmt.Errorf("recording the result: %w", err)
	}
	return nil
}

// counted is the number of attempts of the chunk that count, this one
// included: not those that ended because ClickHouse asked to slow down or a
// worker stopped. When that can not be told, all count.
func (s *slot) counted(ctx context.Context, d *queue.Delivery) int {
	if d.Attempt() == 1 {
		return 1
	}
	excused, err := d.Excused(ctx)
	if err != nil {
		s.w.log.Warn().Err(err).Msg("could not tell which attempts count")
	}
	return d.Attempt() - excused
}

// transform runs the chunk's SQL in the engine: bytes in by one pipe, a Native
// block out by another, into the slot's buffer.
func (s *slot) transform(ctx context.Context, lease *queue.Lease, t *task, c job.Chunk, in *source.Input, res *job.Result) error {
	out, err := s.w.fifos.make("out")
	if err != nil {
		return err
	}
	reading := make(chan error, 1)
	go func() {
		reading <- func() error {
			pipe, err := out.open(os.O_RDONLY)
			if err != nil {
				return err
			}
			defer pipe.Close()
			return s.block.readFrom(pipe, lease.Progress)
		}()
	}()

	var path string
	feeding := make(chan error, 1)
	feed := func() {}
	if in.File != nil {
		path = descriptor(in.File)
		feeding <- nil
	} else {
		pipe, err := s.w.fifos.make("in")
		if err != nil {
			out.release()
			return errors.Join(err, <-reading)
		}
		path, feed = pipe.path, pipe.release
		go func() { feeding <- s.feed(pipe, in.Reader, lease.Progress) }()
	}

	settings := map[string]string{}
	maps.Copy(settings, in.Settings)
	maps.Copy(settings, transform.OneBlock()) // whatever the pipeline says: one block, always the same
	sum, err := s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL: transform.Into(out.path, transform.Select(t.pipeline.SQL(),
			transform.File(path, in.Format, in.Compression, in.Structure, t.job.Frozen.Columns), t.output(c))),
		Database: t.workspace.Database,
		QueryID:  fmt.Sprintf("%s/%d/%s", c.Token(0), res.Attempt, s.w.cfg.ID),
		Settings: settings,
	})
	feed()
	out.release()
	fed, read := <-feeding, <-reading
	switch {
	case fed != nil && !errors.Is(fed, errReleased) && !errors.Is(fed, syscall.EPIPE):
		// The engine took the broken input for the end of it: what it made
		// of it does not count, and what broke is the better reason.
		return fmt.Errorf("reading the input: %w", fed)
	case err != nil:
		return err
	case read != nil && !errors.Is(read, errReleased):
		if errors.Is(read, ErrTooBig) {
			read = job.WithClass(read, job.Permanent)
		}
		return read
	}
	rows, err := s.block.rows()
	if err != nil {
		return err
	}
	if rows != sum.WrittenRows {
		return job.WithClass(fmt.Errorf("the SELECT gave %d rows in more than one block (the first has %d); use a smaller source.chunk", sum.WrittenRows, rows), job.Permanent)
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
	var rows []struct {
		N uint64 `json:"n,string"`
	}
	relation := transform.File(path, in.Format, in.Compression, in.Structure, in.Structure).Relation
	if err := s.w.eng.Client().Rows(ctx, engine.Statement{SQL: "SELECT toString(count()) AS n FROM " + relation, Settings: settings}, &rows); err != nil {
		return 0, fmt.Errorf("counting the rows of the input: %w", err)
	}
	return rows[0].N, nil
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

// load puts the block into ClickHouse, unless an attempt before has done it.
func (s *slot) load(ctx context.Context, lease *queue.Lease, t *task, d *queue.Delivery, res *job.Result) error {
	if res.RowsLoaded == 0 {
		return nil
	}
	c := d.Chunk()
	if d.Attempt() > 1 && t.job.Frozen.Provenance {
		found, err := s.w.ch.ChunkRows(ctx, t.table, c.Job, c.Ordinal)
		if err != nil {
			return fmt.Errorf("asking ClickHouse for the chunk: %w", err)
		}
		if found == res.RowsLoaded {
			res.Recovered = true
			return nil
		}
		// Fewer rows: an attempt before died between the partitions of the
		// block. The same block under the same token completes it.
	}
	return s.w.ch.Load(ctx, clickhouse.Load{
		Table: t.table, Columns: t.output(c).Names(),
		Body: s.block.reader(lease.Progress), Length: s.block.size, Rows: res.RowsLoaded,
		Token:   c.Token(0),
		QueryID: c.Token(0),
		Comment: fmt.Sprintf("drayage job=%s chunk=%d attempt=%d worker=%s", c.Job, c.Ordinal, d.Attempt(), s.w.cfg.ID),
	})
}

// bury records a dead letter.
func (s *slot) bury(ctx context.Context, d *queue.Delivery, why error) error {
	reason := job.ReasonPermanent
	if errors.Is(why, errAttempts) {
		reason = job.ReasonAttempts
	}
	err := s.w.q.PublishDead(ctx, job.Dead{
		Chunk: d.Chunk(), Worker: s.w.cfg.ID, Attempts: d.Attempt(),
		Reason: reason, Error: why.Error(), At: time.Now().UTC(),
	})
	if errors.Is(err, queue.ErrExists) {
		return nil
	}
	return err
}
