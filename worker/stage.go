package worker

import (
	"bufio"
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
	"drayage/pkg/stage"
	"drayage/pkg/telemetry/metrics"
	"drayage/pkg/telemetry/trace"
	"drayage/pkg/transform"
)

// A chunk of a job with stages is computed in two statements. The first reads the
// input, checks its values and writes its rows as JSON into a pipe, from which
// the stages read. What they make goes to a file without a name, and that is the
// input of the second: the SELECT.

// errRefused means that the stages have refused a record of the chunk.
var errRefused = errors.New("the stages refuse a record of the chunk")

// staging is one run of a job's stages over an open input.
type staging struct {
	slot     *slot
	lease    *queue.Lease
	task     *task
	delivery *queue.Delivery
	in       *source.Input
	judged   bool // the input's records are known to be good
	// keep, when it is set, gets the rows of the input as the stages see them. All
	// of them are read then, whatever the stages say.
	keep *os.File
	// refuse, when it is set, is told of each record that the stages refuse, from
	// 1; else such a record is errRefused.
	refuse func(record uint64, reason string) error
	skip   func(record uint64) bool // records to leave out; nil: none
	count  bool                     // the rows of each record
}

// staged are the rows that came of a run.
type staged struct {
	rows      *os.File // without a name, in stage.Format
	size      int64
	read      uint64   // records
	counts    []uint32 // the rows that came of each record, when they were asked for
	unordered bool
}

// input is what the SELECT reads. Closing it does not close the rows.
func (m *staged) input(columns []job.Column) *source.Input {
	return &source.Input{
		File: m.rows, Format: stage.Format, Compression: "none", Structure: columns, Settings: stage.ReadSettings(),
		Bytes: m.size, Unordered: m.unordered, Close: func() error { return nil },
	}
}

// run has the engine write the input's rows and the stages read them. The caller
// closes the rows that it returns.
func (st *staging) run(ctx context.Context) (_ *staged, err error) {
	s := st.slot
	ctx, end := s.w.measure(ctx, metrics.Stages, trace.Of{})
	defer func() { end(err) }()
	m := &staged{unordered: st.in.Unordered}
	if m.rows, err = s.nameless("*.staged"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			m.rows.Close()
		}
	}()
	pipe, err := s.w.fifos.make("rows")
	if err != nil {
		return nil, err
	}
	applied := make(chan error, 1)
	go func() {
		applied <- func() error {
			rows, err := pipe.open(os.O_RDONLY)
			if err != nil {
				return err
			}
			defer rows.Close()
			return st.apply(ctx, rows, m)
		}()
	}()
	staged := func() error { pipe.release(); return <-applied }
	path, fed, err := s.inlet(st.in, st.lease.Progress)
	if err != nil {
		return nil, errors.Join(err, staged())
	}
	rel := s.w.input(st.task, st.task.job.Frozen.Columns, path, st.in, st.judged)
	all := settings(st.in, rel)
	maps.Copy(all, rowsSettings())
	maps.Copy(all, stage.WriteSettings())
	_, err = s.w.eng.Client().Exec(ctx, engine.Statement{
		SQL:      transform.IntoFormat(pipe.path, stage.Format, transform.Everything(rel)),
		Database: st.task.workspace.Database, QueryID: s.queryID(st.delivery), Settings: all,
	})
	if err := stagingEnded(err, fed(), staged()); err != nil {
		return nil, err
	}
	info, err := m.rows.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at the staged rows: %w", err)
	}
	m.size = info.Size()
	return m, nil
}

// stagingEnded picks the error that tells why a run failed, of the engine's, of
// the one who fed it and of the stages'. When these end early the engine only
// says that its pipe was closed; and when the engine does, they only see that a
// row breaks off.
func stagingEnded(err, fed, applied error) error {
	switch {
	case fed != nil && !errors.Is(fed, errReleased) && !errors.Is(fed, syscall.EPIPE):
		return fmt.Errorf("reading the input: %w", fed)
	case applied != nil && !errors.Is(applied, errReleased) && !errors.Is(applied, io.ErrUnexpectedEOF):
		return applied
	case err != nil:
		return err
	case errors.Is(applied, io.ErrUnexpectedEOF):
		return applied
	}
	return nil
}

// rowsSettings let the rows go into the pipe piece by piece, in their order.
func rowsSettings() map[string]string {
	return map[string]string{
		"max_block_size": "65536", "max_insert_block_size": "65536",
		"min_insert_block_size_rows": "65536", "min_insert_block_size_bytes": "16777216",
	}
}

// apply runs the stages over the rows that the engine writes.
func (st *staging) apply(ctx context.Context, rows io.Reader, m *staged) error {
	from := io.Reader(&watchedRows{rows, st.lease.Progress})
	var kept *bufio.Writer
	if st.keep != nil {
		kept = bufio.NewWriterSize(st.keep, 1<<20)
		from = io.TeeReader(from, kept)
	}
	refused := false
	c := st.delivery.Chunk()
	read, err := st.task.runner.Run(ctx, from, m.rows, stage.Events{
		Skip: st.skip,
		Made: func(record uint64, n int) {
			if st.count {
				m.counts = append(m.counts, make([]uint32, record-uint64(len(m.counts)))...) // those between were refused
				m.counts[record-1] = uint32(n)                                               //nolint:gosec // at most stage.MaxOutput
			}
		},
		Reject: func(record uint64, reason string) error {
			switch {
			case st.refuse != nil:
				return st.refuse(record, st.task.pipeline.Redact(errors.New(reason)).Error())
			case st.keep == nil:
				return errRefused
			}
			refused = true
			return nil
		},
		Panic: func(record uint64, value any, stack []byte) {
			st.slot.w.log.Warn().Str("job", c.Job).Uint64("chunk", c.Ordinal).Uint64("record", record).
				AnErr("panic", st.task.pipeline.Redact(fmt.Errorf("%v", value))).Bytes("stack", stack).Msg("a stage panicked")
		},
	})
	m.read = read
	if err == nil && kept != nil {
		err = kept.Flush()
	}
	if err == nil && refused {
		err = errRefused
	}
	return err
}

// watchedRows reports what is read as progress.
type watchedRows struct {
	from     io.Reader
	progress func()
}

// Read implements io.Reader.
func (r *watchedRows) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if n > 0 {
		r.progress()
	}
	return n, err
}
