// Package quarantine separates the rows of a chunk that can not be loaded from
// those that can. It is called when the engine refused a chunk: it cuts the
// input into records, lets the engine judge them, and gives back the bytes of
// the good ones, to be computed as any other input, and the rejected ones with
// their place, text and reason.
package quarantine

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// Limits of one separation. Above them the chunk fails.
const (
	MaxRecords = 64 << 20  // of a chunk; 24 bytes of memory each
	MaxHeld    = 256 << 20 // bytes of all rejects of a chunk
	// MaxStatements bounds the search for records that fail for a reason
	// that only the engine knows.
	MaxStatements = 4000
)

// Request says what to separate.
type Request struct {
	Engine   *engine.Client
	Database string        // the job's workspace
	Input    *source.Input // opened anew; Separate reads it and does not close it
	Columns  []job.Column  // of chunk, canonical, in the job's order
	// Selects are the pipeline's SELECTs: a row for which any of them fails is
	// rejected for all.
	Selects  []Select
	Limit    pipeline.RowLimit
	Offset   int64  // of the input's first byte in its file; -1 when it has none
	Dir      string // for files without a name, as large as the input
	Progress func() // called while work goes on; may be nil
	// Cause is the error for which Suspicious was true. It is returned when
	// no row is at fault.
	Cause error
}

// Select is a SELECT over the chunk, and what it is to give.
type Select struct {
	SQL    string
	Output transform.Output
}

// Separated is a chunk without its rejected rows.
type Separated struct {
	// Input holds the good records, in their order: transform.Strict over it,
	// with Judged set, gives the rows that it would have given for them in
	// the chunk. It is a regular file without a name; Close frees it.
	Input   *source.Input
	Records uint64 // of the chunk: good and rejected

	work  *work
	spool *spool
	good  []int // of work.all
}

// Rejects are the rejected records, in their order.
func (s *Separated) Rejects() []job.Reject { return s.work.rejects() }

// Good is the number of good records that were found.
func (s *Separated) Good() uint64 { return uint64(len(s.good)) }

// Refuse rejects a good record after all, by its number among those that were
// found, from 1: it stays in Input. It is called once for a record. A
// *TooManyError when the limit of rows does not allow it, and an
// *UnexplainedError when the rejects of the chunk hold too much.
func (s *Separated) Refuse(good uint64, column, reason string) error {
	return s.work.reject(s.good[good-1], verdict{reason: reason, column: column})
}

// Close frees the records.
func (s *Separated) Close() error {
	s.spool.close()
	return s.Input.Close()
}

// Cuts reports whether an input has records that Separate can cut: whether it is
// text of a format that is read record by record.
func Cuts(in *source.Input) bool {
	w := &work{Request: Request{Input: in}}
	return in.Relation == "" && w.fitted()
}

// Separate finds the records of a chunk that are at fault for its failure. All
// records of the chunk are checked, so the result does not depend on what the
// engine met first. It returns
//
//   - Cause, when the failure is not one of rows, or the format has no records
//   - a *TooManyError when more rows are rejected than the limit allows
//   - an *UnexplainedError when the chunk fails and no record does
//   - errors of reading the input, of the engine and of ctx as they are
//
// No row at all may be rejected: what looked suspicious was good.
func Separate(ctx context.Context, req Request) (_ *Separated, err error) {
	if req.Progress == nil {
		req.Progress = func() {}
	}
	req.Selects = slices.Clone(req.Selects)
	for i := range req.Selects {
		if out := &req.Selects[i].Output; out.From == nil {
			out.From = out.Columns
		}
	}
	w := &work{Request: req}
	if !w.fitted() {
		return nil, req.Cause
	}
	sp, err := w.spool(ctx)
	if err != nil {
		return nil, fmt.Errorf("keeping the input to separate its rows: %w", err)
	}
	defer func() {
		if err != nil {
			sp.close()
		}
	}()
	w.data = sp.data
	if err := w.divide(); err != nil {
		return nil, err
	}
	if err := w.separate(ctx); err != nil {
		return nil, err
	}
	return w.result(ctx, sp)
}

// work is one separation.
type work struct {
	Request
	format    string // without header
	structure []job.Column
	settings  map[string]string
	cutter    cutter
	skip      int // records before the first row: skipped lines and header
	header    int // of them, those of the header
	named     bool
	base      int64 // offset of data, -1 when there is none

	data       []byte
	all        []span
	verdicts   map[int]verdict // of records that are no good rows
	rejected   uint64
	held       int64
	statements int
	blamed     bool // the statement fails because of rows
	settled    bool // the blanks are known
}

// verdict is why a record is no good row. Blank: it is none at all.
type verdict struct {
	reason, column string
	blank          bool
	raw            string // of one that is rejected, at most job.MaxRaw bytes
	cut            bool   // it has more
}

// divide cuts the data and takes the header off.
func (w *work) divide() error {
	if bom := []byte("\xef\xbb\xbf"); w.Input.File != nil && !w.Input.Framed && bytes.HasPrefix(w.data, bom) {
		w.data = w.data[len(bom):]
		if w.base >= 0 {
			w.base += int64(len(bom))
		}
	}
	if w.skip > 0 {
		head := 0
		for i := range w.skip {
			s, after, ok := w.cutter.next(w.data, head)
			if !ok {
				break
			}
			head = after
			if w.named && i == w.skip-w.header {
				if err := w.order(w.data[s.start:s.end]); err != nil {
					return err
				}
			}
		}
		if w.base >= 0 {
			w.base += int64(head)
		}
		w.data = w.data[head:]
	}
	w.all = cut(w.data, w.cutter)
	if len(w.all) > MaxRecords {
		return job.WithClass(&UnexplainedError{fmt.Sprintf("%d records are too many to be separated, use a smaller source.chunk", len(w.all)), w.Cause}, job.Permanent)
	}
	w.verdicts = map[int]verdict{}
	return nil
}

// separate judges every record.
func (w *work) separate(ctx context.Context) error {
	var clean, doubtful []int
	for i, s := range w.all {
		switch {
		case s.broken:
			if err := w.reject(i, verdict{reason: s.doubt}); err != nil {
				return err
			}
		case s.doubt != "":
			doubtful = append(doubtful, i)
		default:
			clean = append(clean, i)
		}
	}
	if err := w.judge(ctx, clean); err != nil {
		return err
	}
	if err := w.judgeDoubtful(ctx, doubtful); err != nil {
		return err
	}
	return w.try(ctx, w.good())
}

// good are the records without a verdict.
func (w *work) good() []int {
	good := make([]int, 0, len(w.all)-len(w.verdicts))
	for i := range w.all {
		if _, found := w.verdicts[i]; !found {
			good = append(good, i)
		}
	}
	return good
}

// records are those that are no blanks.
func (w *work) records() uint64 { return uint64(len(w.all)-len(w.verdicts)) + w.rejected }

// reject notes that a record is rejected, within the limits.
func (w *work) reject(record int, v verdict) error {
	if v.blank {
		w.verdicts[record] = v
		return nil
	}
	s := w.all[record]
	text := withoutEnd(w.data[s.start:s.end])
	v.raw, v.cut = string(text[:min(len(text), job.MaxRaw)]), len(text) > job.MaxRaw
	w.verdicts[record] = v
	w.rejected++
	w.held += int64(len(v.raw))
	of := uint64(len(w.all)) // blanks are not taken off yet: result looks again
	if w.settled {
		of = w.records()
	}
	if w.rejected > w.Limit.Of(of) {
		return w.tooMany()
	}
	if w.held > MaxHeld {
		return job.WithClass(&UnexplainedError{fmt.Sprintf("the rejected rows hold more than %d bytes", MaxHeld), w.Cause}, job.Permanent)
	}
	return nil
}

func (w *work) tooMany() error {
	rejects := w.rejects()
	records := w.records()
	return job.WithClass(&TooManyError{Rejected: uint64(len(rejects)), Records: records, Limit: w.Limit.Of(records), First: rejects[0]}, job.Permanent)
}

// rejects are the rejected records, in order.
func (w *work) rejects() []job.Reject {
	var numbers []int
	for i := range w.verdicts {
		numbers = append(numbers, i)
	}
	slices.Sort(numbers)
	rejects := make([]job.Reject, 0, len(numbers))
	blanks := 0
	records, frames := 0, int64(0) // what stands before so many records and is not in the file
	for _, i := range numbers {
		v := w.verdicts[i]
		if v.blank {
			blanks++
			continue
		}
		s := w.all[i]
		r := job.Reject{Record: uint64(i - blanks + 1), Offset: -1, Raw: v.raw, Cut: v.cut, Column: v.column, Reason: v.reason}
		for ; w.Input.Framed && records <= i; records++ {
			frames += int64(len(frame(w.all[records].end - w.all[records].start)))
		}
		if w.base >= 0 {
			r.Offset = w.base + s.start - frames
		}
		rejects = append(rejects, r)
	}
	return rejects
}

// result writes the good records.
func (w *work) result(ctx context.Context, sp *spool) (_ *Separated, err error) {
	w.settled = true
	records := w.records()
	sep := &Separated{Records: records, work: w, spool: sp, good: w.good()}
	if w.rejected > w.Limit.Of(records) {
		return nil, w.tooMany()
	}
	f, size, err := w.write(ctx, sep.good)
	if err != nil {
		return nil, err
	}
	sep.Input = &source.Input{
		File: f, Format: w.format, Compression: "none", Structure: w.structure, Settings: w.settings,
		Pattern: w.Input.Pattern, Framed: w.Input.Framed,
		Bytes: size, Unordered: w.Input.Unordered, Close: f.Close,
	}
	return sep, nil
}

func nullable(typ string) bool {
	return strings.HasPrefix(typ, "Nullable(") || strings.HasPrefix(typ, "LowCardinality(Nullable(")
}
