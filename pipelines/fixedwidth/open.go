package fixedwidth

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Open implements source.Source: the records as lines of TSV, which the engine
// reads and checks.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parse(input)
	if err != nil {
		return nil, err
	}
	f, now, err := s.open()
	if err != nil {
		return nil, err
	}
	if err := p.same(now); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", s.settings.Path, err)
	}
	in := s.lines(columns)
	in.Reader = &lines{
		ctx: ctx, source: s, columns: columns,
		from: bufio.NewReader(io.NewSectionReader(f, (1+p.From)*s.record, (p.To-p.From)*s.record)), line: make([]byte, s.record),
	}
	in.Bytes = (p.To - p.From) * s.record
	in.Check = func() error {
		now, err := version(f)
		if err != nil {
			return err
		}
		return p.same(now)
	}
	in.Close = f.Close
	return in, nil
}

// Records says how lines that went to quarantine are read again.
func (s *Source) Records(_ context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	_, err := parse(input)
	return s.lines(columns), err
}

// lines are what the engine is to know of the lines: each has a value for every
// column, and nothing is made of one that is missing.
func (s *Source) lines(columns []job.Column) *source.Input {
	return &source.Input{Format: "TSV", Compression: "none", Structure: columns, Settings: map[string]string{
		"input_format_parallel_parsing":     "0",
		"input_format_tsv_detect_header":    "0",
		"input_format_tsv_empty_as_default": "0",
		"input_format_null_as_default":      "0",
	}}
}

// lines makes lines of TSV from records. It holds one of them.
type lines struct {
	ctx     context.Context
	source  *Source
	columns []job.Column
	from    *bufio.Reader
	line    []byte       // of the file
	out     bytes.Buffer // of TSV, not read yet
}

var escape = strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n", "\r", "\\r")

// Read implements io.Reader.
func (l *lines) Read(b []byte) (int, error) {
	if l.out.Len() == 0 {
		if l.ctx.Err() != nil {
			return 0, context.Cause(l.ctx)
		}
		if _, err := io.ReadFull(l.from, l.line); err != nil {
			return 0, err // io.EOF after the last record
		}
		l.convert()
	}
	return l.out.Read(b)
}

// convert writes the record as a line.
func (l *lines) convert() {
	l.out.Reset()
	at := len("D")
	for i, f := range l.source.settings.Fields {
		if i > 0 {
			l.out.WriteByte('\t')
		}
		value := strings.Trim(string(l.line[at:at+f.Width]), " ")
		if value == "" && strings.HasPrefix(l.columns[i].Type, "Nullable(") {
			l.out.WriteString(`\N`)
		} else {
			_, _ = escape.WriteString(&l.out, value) // a Buffer takes everything
		}
		at += f.Width
	}
	l.out.WriteByte('\n')
}
