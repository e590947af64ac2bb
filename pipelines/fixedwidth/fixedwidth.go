// Package fixedwidth is an example of a source in Go: a file of records that all
// have the same length, with a header in front and a trailer at the end that says
// how many there are, as mainframes write them:
//
//	HAIRPORTS OF ALASKA AND HAWAII
//	D0AK Pilot Station                            Pilot Station           AK 61.93396417 -162.8929358
//	T000000001
//
// What no built-in source can do is to check the trailer: of a file that was cut
// off on its way nothing is loaded.
package fixedwidth

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Field is a column of the file, in the order of the file.
type Field struct {
	Name  string `json:"name"`
	Width int    `json:"width"` // bytes, from 1; blanks around a value are taken off
}

// Settings are what a pipeline has under source.custom.settings.
type Settings struct {
	Path   string  `json:"path"`
	Fields []Field `json:"fields"`
}

// Source is such a file. Its chunks are ranges of records.
type Source struct {
	settings Settings
	cfg      source.Config
	record   int64 // length of a line, with its newline
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Splitter = (*Source)(nil)
	_ source.Counter  = (*Source)(nil)
	_ source.Locator  = (*Source)(nil)
)

// New makes the source. It opens nothing.
func New(s Settings, cfg source.Config) (source.Source, error) {
	var wrong source.FieldErrors
	if s.Path == "" {
		wrong = append(wrong, &source.FieldError{Field: "path", Problem: "it is missing", Hint: "name a file"})
	}
	if len(s.Fields) == 0 {
		wrong = append(wrong, &source.FieldError{Field: "fields", Problem: "there are none", Hint: "write fields: [{name: id, width: 8}, …]"})
	}
	src := &Source{settings: s, cfg: cfg, record: int64(len("D\n"))}
	for i, f := range s.Fields {
		if f.Name == "" || f.Width < 1 {
			wrong = append(wrong, &source.FieldError{Field: "fields", Problem: fmt.Sprintf("number %d needs a name and a width above 0", i+1)})
		}
		src.record += int64(f.Width)
	}
	if len(cfg.Columns) > 0 && len(cfg.Columns) != len(s.Fields) {
		wrong = append(wrong, &source.FieldError{Field: "columns", Problem: fmt.Sprintf("there are %d, and %d fields", len(cfg.Columns), len(s.Fields))})
	}
	for i, c := range cfg.Columns {
		if i < len(s.Fields) && c.Name != s.Fields[i].Name {
			wrong = append(wrong, &source.FieldError{Field: "columns", Problem: fmt.Sprintf("number %d is %s, and the field %s", i+1, c.Name, s.Fields[i].Name), Hint: "columns and fields have the same names in the same order"})
		}
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	return src, nil
}

// piece is what a chunk says about its input: records, and the version of the file
// that they were planned from.
type piece struct {
	Size  int64 `json:"size"`
	Mtime int64 `json:"mtime"` // nanoseconds
	From  int64 `json:"from"`  // records, from 0
	To    int64 `json:"to"`    // not included
}

// parse reads a piece. What is none can not become one by trying again.
func parse(input json.RawMessage) (piece, error) {
	var p piece
	if err := json.Unmarshal(input, &p); err != nil {
		return p, job.WithClass(fmt.Errorf("the input of a chunk does not parse: %w", err), job.Permanent)
	}
	return p, nil
}

func (s *Source) path() string {
	if filepath.IsAbs(s.settings.Path) {
		return s.settings.Path
	}
	return filepath.Join(s.cfg.Dir, s.settings.Path)
}

// Columns implements source.Source: the declared ones, or texts.
func (s *Source) Columns(context.Context, source.Engine) ([]job.Column, error) {
	if _, err := s.whole(); err != nil {
		return nil, err
	}
	if len(s.cfg.Columns) > 0 {
		return s.cfg.Columns, nil
	}
	columns := make([]job.Column, len(s.settings.Fields))
	for i, f := range s.settings.Fields {
		columns[i] = job.Column{Name: f.Name, Type: "String"}
	}
	return columns, nil
}

// whole is the piece of all records of the file as it is now, once its trailer
// says that it is whole.
func (s *Source) whole() (piece, error) {
	f, p, err := s.open()
	if err != nil {
		return p, err
	}
	defer f.Close()
	if p.Size%s.record != 0 || p.Size < 2*s.record {
		return p, s.permanent("it has %d bytes, which are no records of %d bytes with a header and a trailer: it was cut off, or the widths are wrong", p.Size, s.record)
	}
	p.To = p.Size/s.record - 2
	trailer := make([]byte, s.record)
	if _, err := f.ReadAt(trailer, p.Size-s.record); err != nil {
		return p, fmt.Errorf("reading the trailer of %s: %w", s.settings.Path, err)
	}
	var said int64
	if _, err := fmt.Sscanf(string(trailer), "T%d", &said); err != nil {
		return p, s.permanent("its last line is no trailer: it was cut off")
	}
	if said != p.To {
		return p, s.permanent("it has %d records, and its trailer says %d: it was cut off, or is not written to its end", p.To, said)
	}
	return p, nil
}

func (s *Source) permanent(format string, args ...any) error {
	return job.WithClass(fmt.Errorf("%s: "+format, append([]any{s.settings.Path}, args...)...), job.Permanent)
}

// open opens the file and says which version it is.
func (s *Source) open() (*os.File, piece, error) {
	f, err := os.Open(s.path())
	if os.IsNotExist(err) {
		return nil, piece{}, job.WithClass(fmt.Errorf("%w: %w", source.ErrGone, err), job.Permanent)
	}
	if err != nil {
		return nil, piece{}, err
	}
	p, err := version(f)
	if err != nil {
		f.Close()
		return nil, p, err
	}
	return f, p, nil
}

func version(f *os.File) (piece, error) {
	info, err := f.Stat()
	if err != nil {
		return piece{}, err
	}
	return piece{Size: info.Size(), Mtime: info.ModTime().UnixNano()}, nil
}

// Plan implements source.Source. The cursor is the piece that was planned last.
func (s *Source) Plan(ctx context.Context, cursor json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		whole, err := s.whole()
		var last piece
		if err == nil && len(cursor) > 0 {
			last, err = parse(cursor)
		}
		if err != nil {
			yield(source.Planned{}, err)
			return
		}
		each := int64(s.cfg.Rows) //nolint:gosec // far below
		if each == 0 {
			each = max(1, s.cfg.ChunkBytes/s.record)
		}
		for from := last.To; from < whole.To; from += each {
			if ctx.Err() != nil {
				yield(source.Planned{}, context.Cause(ctx))
				return
			}
			p := whole
			p.From, p.To = from, min(from+each, whole.To)
			input, err := json.Marshal(p)
			if !yield(source.Planned{Input: input, Cursor: input, Bytes: (p.To - p.From) * s.record, Inputs: 1}, err) || err != nil {
				return
			}
		}
	}
}

// Split implements source.Splitter: a range is halved.
func (s *Source) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	p, err := parse(input)
	if err != nil {
		return nil, err
	}
	if p.To-p.From < 2 {
		return nil, source.ErrWhole
	}
	first, second := p, p
	first.To = p.From + (p.To-p.From)/2
	second.From = first.To
	var parts []job.Part
	for _, half := range []piece{first, second} {
		input, err := json.Marshal(half)
		if err != nil {
			return nil, err
		}
		parts = append(parts, job.Part{Input: input, Bytes: (half.To - half.From) * s.record})
	}
	return parts, nil
}

// Count implements source.Counter.
func (s *Source) Count(_ context.Context, _ source.Querier, input json.RawMessage, _ []job.Column) (uint64, error) {
	p, err := parse(input)
	if err != nil {
		return 0, err
	}
	f, now, err := s.open()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return uint64(p.To - p.From), p.same(now) //nolint:gosec // To is not below
}

// same is source.ErrChanged unless the file is the one that was planned.
func (p piece) same(now piece) error {
	if p.Size != now.Size || p.Mtime != now.Mtime {
		return job.WithClass(source.ErrChanged, job.Permanent)
	}
	return nil
}

// Locate implements source.Locator.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parse(input)
	return source.Location{Name: s.settings.Path, Unit: "records", Start: p.From, End: p.To, Offset: -1}, err
}

// Size implements source.Source.
func (s *Source) Size(context.Context) int64 {
	f, now, err := s.open()
	if err != nil {
		return 0
	}
	f.Close()
	return now.Size
}
