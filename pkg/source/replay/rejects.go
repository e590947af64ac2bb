package replay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/stage"
)

// Recorder is a source that can read raw records of its chunks.
type Recorder interface {
	source.Source
	// Records says how raw records of a chunk are read on their own, each
	// followed by a newline. Of the Input that it returns Format, Compression,
	// Structure, Settings, Pattern and Framed are set. It is called each time that
	// rejects of the chunk are opened. Where the input has no text of its own, which
	// is source.ErrNoRecords, rejects are those of stages: rows in stage.Format.
	Records(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error)
}

// Framer is a source whose records may be several lines (source.Input.Framed).
type Framer interface {
	// Frame gives raw records, each followed by a newline, as Open gives the
	// records of a chunk. Errors name them by name.
	Frame(raw io.Reader, name string) io.Reader
}

// Rejected says which rows of a chunk are in quarantine and can be retried:
// those whose raw record was kept whole (job.Reject.Cut is false).
type Rejected struct {
	Chunk uint64
	Input json.RawMessage // the chunk's own, as its source planned it
	Rows  uint64          // more than 0
	Bytes int64           // of their raw records, with a newline after each
}

// Quarantine is where rejected rows are. While they are replayed they must
// stay as they are.
type Quarantine interface {
	// Rejected calls fn with the chunks of a job that have rejects, from the
	// ordinal from on, in ascending order, and stops at fn's first error, which
	// it returns as it is. Its memory is bounded.
	Rejected(ctx context.Context, job string, from uint64, fn func(Rejected) error) error
	// RawRejects returns the raw records of these rows, in the order of
	// job.Reject.Record, each followed by a newline and nothing else. It takes
	// no more memory than the largest few.
	RawRejects(ctx context.Context, job string, chunk uint64) (io.ReadCloser, error)
}

// Rejects is a source of the rows of another job that are in quarantine: a
// chunk for every chunk that has such rows. It opens chunks of the inner source
// too, so that a replay may take over from any job.
type Rejects struct {
	inner      Recorder
	quarantine Quarantine
	job        string
}

// NewRejects returns the source of the rejects of a job whose chunks inner
// planned, or would read in the same format.
func NewRejects(inner Recorder, quarantine Quarantine, job string) *Rejects {
	return &Rejects{inner, quarantine, job}
}

var (
	_ source.Source   = (*Rejects)(nil)
	_ source.Locator  = (*Rejects)(nil)
	_ source.Splitter = (*Rejects)(nil)
)

// rejected is what a chunk says about its input.
type rejected struct {
	Job   string          `json:"job"`
	Chunk uint64          `json:"chunk"`
	Rows  uint64          `json:"rows"`
	Bytes int64           `json:"bytes"`
	Of    json.RawMessage `json:"of"` // the input of the chunk that they were rejected from
}

// parse reads the description of rejects, and reports whether input is one.
func parse(input json.RawMessage) (rejected, bool) {
	var r rejected
	err := json.Unmarshal(input, &r)
	return r, err == nil && r.Job != "" && len(r.Of) > 0
}

// innermost is the input that a source can read the format of: rejects may be
// those of rejects.
func innermost(input json.RawMessage) json.RawMessage {
	for {
		r, ok := parse(input)
		if !ok {
			return input
		}
		input = r.Of
	}
}

// Columns implements source.Source.
func (r *Rejects) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	return r.inner.Columns(ctx, eng)
}

// Plan implements source.Source.
func (r *Rejects) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		at, first, err := begin(from)
		if err == nil {
			err = r.quarantine.Rejected(ctx, r.job, first, func(of Rejected) error {
				next, err := at.advance(of.Chunk)
				if err != nil {
					return err
				}
				input, err := json.Marshal(rejected{r.job, of.Chunk, of.Rows, of.Bytes, innermost(of.Input)})
				if err != nil {
					return fmt.Errorf("describing the rejects of chunk %d: %w", of.Chunk, err)
				}
				if !yield(source.Planned{Input: input, Cursor: next, Bytes: of.Bytes, Inputs: at.Count}, nil) {
					return errStop
				}
				return nil
			})
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(source.Planned{}, fmt.Errorf("listing the rejects of job %s: %w", r.job, err))
		}
	}
}

// Open implements source.Source. What is no description of rejects is inner's to
// open. Other rows in quarantine than were planned,
// more or fewer, are source.ErrChanged; none at all are source.ErrGone.
func (r *Rejects) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, ok := parse(input)
	if !ok {
		return r.inner.Open(ctx, input, columns)
	}
	in, err := r.inner.Records(ctx, p.Of, columns)
	if errors.Is(err, source.ErrNoRecords) {
		in, err = &source.Input{Format: stage.Format, Compression: "none", Structure: columns, Settings: stage.ReadSettings()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.place(), err)
	}
	raw, err := r.quarantine.RawRejects(ctx, p.Job, p.Chunk)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", p.place(), err)
	}
	records := &records{raw: raw, of: p}
	in.Reader, in.Bytes, in.Check, in.Close = records, p.Bytes, records.check, raw.Close
	if in.Framed {
		framer, ok := r.inner.(Framer)
		if !ok {
			return nil, errors.Join(fmt.Errorf("%s: the source can not put their lines together", p.place()), raw.Close())
		}
		in.Reader = framer.Frame(records, p.place())
	}
	return in, nil
}

// Size implements source.Source: the bytes of all records, 0 when they can not
// be listed.
func (r *Rejects) Size(ctx context.Context) int64 {
	var total int64
	err := r.quarantine.Rejected(ctx, r.job, 0, func(of Rejected) error {
		total += of.Bytes
		return nil
	})
	if err != nil {
		return 0
	}
	return total
}

// Split implements source.Splitter: rejects are not cut.
func (r *Rejects) Split(ctx context.Context, input json.RawMessage, columns []job.Column) ([]job.Part, error) {
	if _, ok := parse(input); !ok {
		if s, ok := r.inner.(source.Splitter); ok {
			return s.Split(ctx, input, columns)
		}
	}
	return nil, source.ErrWhole
}

// Locate implements source.Locator: the rejects of a chunk are a whole.
func (r *Rejects) Locate(input json.RawMessage) (source.Location, error) {
	p, ok := parse(input)
	if !ok {
		if l, ok := r.inner.(source.Locator); ok {
			return l.Locate(input)
		}
		return source.Location{}, errors.New("the source can not say where its input is")
	}
	of := ""
	if at := source.Place(r.inner, p.Of); at != "" {
		of = " (" + at + ")"
	}
	return source.Location{Name: p.place() + of, Offset: -1}, nil
}

func (r rejected) place() string {
	return fmt.Sprintf("the %d rejects of job %s, chunk %d", r.Rows, r.Job, r.Chunk)
}

// records are the raw records of a chunk. What comes is compared with what was
// planned, so that no attempt loads other rows than another.
type records struct {
	raw  io.Reader
	of   rejected
	read int64
	end  bool
}

func (r *records) Read(b []byte) (int, error) {
	n, err := r.raw.Read(b)
	r.read += int64(n)
	switch {
	case err == nil && r.read <= r.of.Bytes:
		return n, nil
	case err == nil:
		return n, r.changed()
	case !errors.Is(err, io.EOF):
		return n, fmt.Errorf("reading %s: %w", r.of.place(), err)
	}
	r.end = true
	if changed := r.check(); changed != nil {
		return n, changed
	}
	return n, io.EOF
}

// check implements source.Input.Check.
func (r *records) check() error {
	switch {
	case r.end && r.read == 0 && r.of.Bytes > 0:
		return job.Permanentf("%s: %w: none is in quarantine", r.of.place(), source.ErrGone)
	case r.read > r.of.Bytes, r.end && r.read != r.of.Bytes:
		return r.changed()
	}
	return nil
}

func (r *records) changed() error {
	return job.Permanentf("%s: %w: they had %d bytes, and %d were read", r.of.place(), source.ErrChanged, r.of.Bytes, r.read)
}
