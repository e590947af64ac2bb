package stage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"drayage/pkg/job"
)

// Limits of a Runner. A record above them is rejected.
const (
	MaxRecord = 16 << 20 // bytes of a record as JSON
	MaxOutput = 64 << 20 // bytes of all rows that come of one record, as JSON
	MaxReason = 500      // bytes of a reason; longer ones are cut
)

// Runner applies a stage to rows in ClickHouse's JSONEachRow. It may be used by
// several goroutines. Its memory is bounded by MaxRecord and MaxOutput.
type Runner struct {
	layout *layout
	in     []int // of the layout
	steps  []shaped
	out    []job.Column
	outAt  []int // of the layout
}

// shaped is a step with the columns of its rows.
type shaped struct {
	step
	columns []job.Column
	at      []int // of the layout
	drops   []int // columns of the layout that it leaves out
}

// NewRunner prepares a stage for records with the columns in.
func NewRunner(s Stage, in []job.Column) (*Runner, error) {
	r := &Runner{layout: &layout{index: map[string]int{}}, out: in}
	for _, c := range in {
		r.in = append(r.in, r.layout.add(c.Name))
	}
	for _, st := range s.steps {
		cols, err := st.shape(r.out)
		if err != nil {
			return nil, err
		}
		sh := shaped{step: st, columns: cols}
		for _, c := range cols {
			sh.at = append(sh.at, r.layout.add(c.Name))
		}
		r.out = cols
		r.steps = append(r.steps, sh)
	}
	if len(r.out) == 0 {
		return nil, errors.New("the stage leaves no columns")
	}
	for _, c := range r.out {
		r.outAt = append(r.outAt, r.layout.index[c.Name])
	}
	for i := range r.steps {
		kept := make([]bool, len(r.layout.names))
		for _, at := range r.steps[i].at {
			kept[at] = true
		}
		for at, k := range kept {
			if !k {
				r.steps[i].drops = append(r.steps[i].drops, at)
			}
		}
	}
	return r, nil
}

// Columns are those of the rows that Run writes.
func (r *Runner) Columns() []job.Column { return r.out }

// Events are what Run tells while it works. Any may be nil.
type Events struct {
	// Skip reports whether a record, counted from 1, is to be passed over.
	Skip func(record uint64) bool
	// Made tells how many rows came of a record that was not rejected, 0 for one
	// that was passed over.
	Made func(record uint64, rows int)
	// Reject tells of a record for which the stage has no rows, and why. Its
	// error ends Run.
	Reject func(record uint64, reason string) error
	// Panic tells of a stage that panicked, before Reject does.
	Panic func(record uint64, value any, stack []byte)
}

// Run reads records from src, a line each, and writes the rows that come of
// them to dst, a line each. It returns how many records it read. It ends at the
// end of src, at ctx's, or at the first error of src, of dst, or of a line that
// is no record, which is job.Permanent.
func (r *Runner) Run(ctx context.Context, src io.Reader, dst io.Writer, ev Events) (uint64, error) {
	lines := bufio.NewReaderSize(src, 1<<20)
	out := bufio.NewWriterSize(dst, 1<<20)
	w := &work{Runner: r, ctx: ctx}
	for range r.steps {
		w.copies = append(w.copies, &Record{r.layout, make([]json.RawMessage, len(r.layout.names))})
	}
	first := &Record{r.layout, make([]json.RawMessage, len(r.layout.names))}
	var long []byte
	for n := uint64(0); ; {
		line, whole, err := next(lines, &long)
		if errors.Is(err, io.EOF) {
			return n, out.Flush()
		}
		if err != nil {
			return n, err
		}
		if n++; n%256 == 0 && ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		if ev.Skip != nil && ev.Skip(n) {
			if ev.Made != nil {
				ev.Made(n, 0)
			}
			continue
		}
		reason := tooLong
		if whole {
			clear(first.values)
			if err := r.parse(line, first); err != nil {
				return n, job.WithClass(fmt.Errorf("reading record %d: %w", n, err), job.Permanent)
			}
			reason = w.record(n, first, ev)
		}
		if err := ctx.Err(); err != nil && reason != "" {
			return n, context.Cause(ctx)
		}
		if reason != "" {
			if ev.Reject != nil {
				if err := ev.Reject(n, reason); err != nil {
					return n, err
				}
			}
			continue
		}
		if ev.Made != nil {
			ev.Made(n, w.rows)
		}
		if _, err := out.Write(w.made); err != nil {
			return n, err
		}
	}
}

// tooLong is why a record is rejected that is not whole.
var tooLong = fmt.Sprintf("the record has more than %d bytes as JSON", MaxRecord)

// next reads a line, without its end. Of one that is longer than MaxRecord it
// reports that it is not whole.
func next(lines *bufio.Reader, long *[]byte) (line []byte, whole bool, err error) {
	line, err = lines.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], true, nil
	}
	*long = (*long)[:0]
	size := 0
	for {
		if size += len(line); size <= MaxRecord+1 {
			*long = append(*long, line...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(*long, []byte("\n")), size <= MaxRecord+1, nil
		case err == io.EOF && size > 0:
			return nil, false, fmt.Errorf("a record does not end: %w", io.ErrUnexpectedEOF)
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, false, err
		}
		line, err = lines.ReadSlice('\n')
	}
}

// work is one Run.
type work struct {
	*Runner
	ctx    context.Context
	copies []*Record // what each step is given
	made   []byte    // of the record at work
	rows   int
	failed error // of the first emit, whatever the stage made of it
}

var errOutput = fmt.Errorf("the rows of the record have more than %d bytes as JSON", MaxOutput)

// record makes the rows of one record. It returns why there are none.
func (w *work) record(n uint64, r *Record, ev Events) (reason string) {
	w.made, w.rows, w.failed = w.made[:0], 0, nil
	defer func() {
		if v := recover(); v != nil {
			if ev.Panic != nil {
				ev.Panic(n, v, debug.Stack())
			}
			reason = shown(fmt.Sprintf("the stage panicked: %v", v))
		}
	}()
	err := w.step(0, r)
	if err == nil {
		err = w.failed
	}
	if err != nil {
		if reason = shown(err.Error()); reason == "" {
			reason = "the stage gave no reason"
		}
	}
	return reason
}

// step gives a record to the steps from the i-th on.
func (w *work) step(i int, r *Record) error {
	if i == len(w.steps) {
		return w.write(r)
	}
	st := &w.steps[i]
	own := w.copies[i]
	copy(own.values, r.values)
	return st.apply(own, func(r *Record) error {
		if w.failed == nil {
			w.failed = w.emitted(i, r)
		}
		return w.failed
	})
}

// emitted passes on a row of the i-th step.
func (w *work) emitted(i int, r *Record) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	if r.layout != w.layout {
		return errors.New("the stage emitted a record that it was not given")
	}
	st := &w.steps[i]
	if len(st.drops) > 0 {
		r = r.Clone()
		for _, at := range st.drops {
			r.values[at] = nil
		}
	}
	for k, at := range st.at {
		if r.values[at] != nil {
			continue
		}
		if !nullable(st.columns[k].Type) {
			return fmt.Errorf("the stage gave the column %s no value", st.columns[k].Name)
		}
		r.values[at] = json.RawMessage("null")
	}
	return w.step(i+1, r)
}

func nullable(typ string) bool {
	return strings.HasPrefix(typ, "Nullable(") || strings.HasPrefix(typ, "LowCardinality(Nullable(")
}

// write writes a row that has passed all steps.
func (w *work) write(r *Record) error {
	b := w.made
	for k, at := range w.outAt {
		if k == 0 {
			b = append(b, '{')
		} else {
			b = append(b, ',')
		}
		b = append(b, w.layout.keys[at]...)
		b = append(b, ':')
		b = append(b, r.values[at]...)
	}
	b = append(b, '}', '\n')
	w.made = b
	w.rows++
	if len(w.made) > MaxOutput {
		return errOutput
	}
	return nil
}
