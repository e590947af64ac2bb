package quarantine

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/transform"
)

// shownReason bounds a reason, in bytes.
const shownReason = 500

// judge lets the engine judge the values of the records, which look like
// records. Where it refuses to read them, halves of them are judged.
func (w *work) judge(ctx context.Context, records []int) error {
	if len(records) == 0 {
		return nil
	}
	judged, err := w.ask(ctx, records)
	switch {
	case err == nil && judged.N == uint64(len(records)):
		for _, f := range judged.Found {
			col := w.structure[f.column-1]
			reason := fmt.Sprintf("%q is no %s", f.value, col.Type)
			if err := w.reject(records[f.record-1], verdict{reason: reason, column: col.Name}); err != nil {
				return err
			}
		}
		return nil
	case err != nil && !Suspicious(err):
		return err
	case len(records) > 1:
		half := len(records) / 2
		if err := w.judge(ctx, records[:half]); err != nil {
			return err
		}
		return w.judge(ctx, records[half:])
	case err != nil:
		return w.reject(records[0], verdict{reason: w.reason(records[0], err)})
	case judged.N == 0:
		return w.reject(records[0], verdict{blank: true})
	default:
		return w.reject(records[0], verdict{reason: fmt.Sprintf("it reads as %d rows", judged.N)})
	}
}

// judgeDoubtful judges records that look as if they were none. They are tried
// together, for all of them may be good; then one by one, as long as there are
// not too many for that.
func (w *work) judgeDoubtful(ctx context.Context, records []int) error {
	var blanks []int
	for _, i := range records {
		if s := w.all[i]; s.doubt == emptyLine {
			blanks = append(blanks, i)
		}
	}
	if len(blanks) == len(records) && len(blanks) > 0 {
		return w.judgeBlanks(ctx, blanks)
	}
	if len(blanks) > 0 {
		records = slices.DeleteFunc(slices.Clone(records), func(i int) bool { return w.all[i].doubt == emptyLine })
		if err := w.judgeBlanks(ctx, blanks); err != nil {
			return err
		}
	}
	if len(records) <= MaxStatements/4 {
		return w.judge(ctx, records)
	}
	judged, err := w.ask(ctx, records)
	if err == nil && judged.N == uint64(len(records)) {
		return w.judge(ctx, records)
	}
	if err != nil && !Suspicious(err) {
		return err
	}
	for _, i := range records {
		if err := w.reject(i, verdict{reason: w.all[i].doubt}); err != nil {
			return err
		}
	}
	return nil
}

// emptyLine is the doubt of a line that is empty.
const emptyLine = "an empty line"

// judgeBlanks finds out what an empty line is to the engine: nothing, a row or
// a mistake. Engines pass over those at the end of what they read, so it is
// tried before another record.
func (w *work) judgeBlanks(ctx context.Context, blanks []int) error {
	trial := blanks[:1]
	for i := range w.all {
		if _, bad := w.verdicts[i]; !bad && w.all[i].doubt == "" {
			trial = []int{blanks[0], i}
			break
		}
	}
	judged, err := w.ask(ctx, trial)
	if err != nil && !Suspicious(err) {
		return err
	}
	if err == nil && judged.N == uint64(len(trial)) && judged.Bad == 0 {
		return nil // rows
	}
	v := verdict{reason: emptyLine}
	if err == nil && judged.N == uint64(len(trial)-1) {
		v = verdict{blank: true}
	}
	for _, i := range blanks {
		if err := w.reject(i, v); err != nil {
			return err
		}
	}
	return nil
}

// try computes the chunk's SELECT over the records, and where it fails over
// halves of them, until single records are at fault.
func (w *work) try(ctx context.Context, records []int) error {
	_, err := w.tryHalves(ctx, records)
	return err
}

// tryHalves reports whether the records are computed, or those that are not are
// rejected.
func (w *work) tryHalves(ctx context.Context, records []int) (clean bool, err error) {
	if len(records) == 0 {
		return true, nil
	}
	failed := w.over(ctx, records, func(path string) error {
		return w.compute(ctx, transform.Strict(w.bytes(path)))
	})
	switch {
	case failed == nil:
		return true, nil
	case !Suspicious(failed):
		return false, failed
	case !w.blamed:
		// An error that comes without any row is one of the statement.
		switch err := w.compute(ctx, transform.Nothing(w.Columns)); {
		case Suspicious(err):
			return false, w.Cause
		case err != nil:
			return false, err
		}
		w.blamed = true
	}
	if len(records) == 1 {
		return false, w.reject(records[0], verdict{reason: w.reason(records[0], failed)})
	}
	half := len(records) / 2
	first, err := w.tryHalves(ctx, records[:half])
	if err != nil {
		return false, err
	}
	second, err := w.tryHalves(ctx, records[half:])
	if err != nil {
		return false, err
	}
	if first && second {
		return false, job.WithClass(&UnexplainedError{"the SELECT fails over rows together that do not fail alone", failed}, job.Permanent)
	}
	return false, nil
}

// compute runs the chunk's statements and drops their rows.
func (w *work) compute(ctx context.Context, in transform.Input) error {
	settings := w.bytes("").StrictSettings()
	maps.Copy(settings, transform.OneBlock())
	for _, sel := range w.Selects {
		if err := w.spend(); err != nil {
			return err
		}
		columns := sel.Output.Columns
		if sel.Output.Provenance {
			columns = append(slices.Clone(columns), job.Provenance()...)
		}
		_, err := w.Engine.Exec(ctx, engine.Statement{
			SQL: transform.Discard(transform.Select(sel.SQL, in, sel.Output), columns), Database: w.Database, Settings: settings,
		})
		w.Progress()
		if err != nil {
			return err
		}
	}
	return nil
}

// bytes describes records of the chunk that were written to path.
func (w *work) bytes(path string) transform.Bytes {
	return transform.Bytes{
		Path: path, Format: w.format, Structure: w.structure, Columns: w.Columns, Settings: w.settings,
		Pattern: w.Input.Pattern, Framed: w.Input.Framed, Judged: true,
	}
}

// judged is the answer of transform.Judge.
type judged struct {
	N     uint64  `json:"n"`
	Bad   uint64  `json:"bad"`
	Found []found `json:"found"`
}

type found struct {
	record, column int
	value          string
}

// UnmarshalJSON reads an array of the three, or an object of them: the engine
// writes tuples as either.
func (f *found) UnmarshalJSON(b []byte) error {
	var object struct {
		Record int    `json:"_record"`
		Number int    `json:"_number"`
		Value  string `json:"_value"`
	}
	if len(b) > 0 && b[0] == '{' {
		err := json.Unmarshal(b, &object)
		f.record, f.column, f.value = object.Record, object.Number, object.Value
		return err
	}
	return json.Unmarshal(b, &[]any{&f.record, &f.column, &f.value})
}

// ask runs transform.Judge over the records.
func (w *work) ask(ctx context.Context, records []int) (judged, error) {
	var rows []judged
	if err := w.spend(); err != nil {
		return judged{}, err
	}
	err := w.over(ctx, records, func(path string) error {
		b := w.bytes(path)
		settings := b.StrictSettings()
		maps.Copy(settings, transform.OneBlock())
		settings["use_cache_for_count_from_files"] = "0" // paths of open files mean another one the next time
		settings["optimize_count_from_files"] = "0"
		limit := w.Limit.Of(uint64(len(w.all))) + 1
		return w.Engine.Rows(ctx, engine.Statement{
			SQL: transform.Judge(b, limit), Settings: settings,
		}, &rows)
	})
	w.Progress()
	if err != nil {
		return judged{}, err
	}
	if len(rows) != 1 {
		return judged{}, errors.New("the engine gave no judgement")
	}
	return rows[0], nil
}

// spend counts a statement.
func (w *work) spend() error {
	if w.statements++; w.statements > MaxStatements {
		return job.WithClass(&UnexplainedError{fmt.Sprintf("after %d trials and %d rejected rows there are still rows that fail", MaxStatements, w.rejected), w.Cause}, job.Permanent)
	}
	return nil
}

// over writes the records to a file and calls fn with its path.
func (w *work) over(ctx context.Context, records []int, fn func(path string) error) error {
	f, _, err := w.write(ctx, records)
	if err != nil {
		return err
	}
	defer f.Close()
	return fn(engine.FilePath(f))
}

// write writes the records to a file without a name.
func (w *work) write(ctx context.Context, records []int) (_ *os.File, size int64, err error) {
	f, err := nameless(w.Dir)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	out := bufio.NewWriterSize(f, 1<<20)
	for n, i := range records {
		if n%(1<<16) == 0 {
			w.Progress()
			if err := ctx.Err(); err != nil {
				return nil, 0, context.Cause(ctx)
			}
		}
		s := w.all[i]
		if w.Input.Framed {
			n, _ := out.Write(frame(s.end - s.start)) // Flush says it
			size += int64(n)
		}
		if _, err := out.Write(w.data[s.start:s.end]); err != nil {
			return nil, 0, fmt.Errorf("writing records: %w", err)
		}
		size += s.end - s.start
		if !w.Input.Framed {
			_ = out.WriteByte('\n') // Flush says it
			size++
		}
	}
	if err := out.Flush(); err != nil {
		return nil, 0, fmt.Errorf("writing records: %w", err)
	}
	return f, size, nil
}

// reason is what the engine said of a record, shortened.
func (w *work) reason(record int, err error) string {
	var e *engine.Exception
	if !errors.As(err, &e) {
		return err.Error()
	}
	if doubt := w.all[record].doubt; doubt != "" {
		return doubt
	}
	text := e.Message
	if i := strings.Index(text, "\n"); i > 0 {
		text = text[:i]
	}
	for _, noise := range []string{": (in file/uri", ": While executing", ": while executing", ": In scope"} {
		if i := strings.Index(text, noise); i > 0 {
			text = text[:i]
		}
	}
	text = strings.TrimRight(strings.TrimSuffix(strings.TrimSpace(text), ": (at row 1)"), ": \n")
	if len(text) > shownReason {
		text = strings.ToValidUTF8(text[:shownReason], "") + "…"
	}
	return text
}
