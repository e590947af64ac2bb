package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"drayage/pkg/source/files/borders"
)

// MaxHead is how far into a file the lines to skip and the header may reach.
const MaxHead = 1 << 20

// utf8BOM may begin a text file; it belongs to no record.
const utf8BOM = "\xef\xbb\xbf"

// head is the beginning of a file, decompressed.
type head struct {
	data []byte
	all  bool // data is the whole file
}

func readHead(r io.Reader) (head, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxHead+1))
	if err != nil {
		return head{}, err
	}
	return head{data[:min(len(data), MaxHead)], len(data) <= MaxHead}, nil
}

// layout is where things are in a text file.
type layout struct {
	bom   bool
	first int64    // of the first record, or of the header when there is none in names
	names []string // of the header's fields; nil without a header
	start int64    // of the first record after the header
}

// cutter cuts files of the format f.
func (s *Source) cutter(f format, r io.ReaderAt, size int64, limit int64) borders.Cutter {
	if s.begin != nil && f.multiline() {
		return borders.NewMultiline(borders.Multiline{Begin: s.begin, MaxRecord: limit}, r, size)
	}
	switch f.family {
	case csv:
		return borders.NewCSV(borders.CSV{
			Delimiter: s.cfg.Delimiter[0], Quote: s.cfg.quote(), SpaceIsText: s.spaceDelimits(),
			JoinBlank: truthy(s.cfg.Settings["input_format_csv_skip_trailing_empty_lines"]), MaxRecord: limit,
		}, r, size)
	case tsv:
		return borders.NewLines(borders.Lines{
			Escapes:   true,
			JoinBlank: truthy(s.cfg.Settings["input_format_tsv_skip_trailing_empty_lines"]), MaxRecord: limit,
		}, r, size)
	case objects:
		return borders.NewJSON(borders.JSON{Open: '{', MaxRecord: limit}, r, size)
	case arrays:
		return borders.NewJSON(borders.JSON{Open: '[', MaxRecord: limit}, r, size)
	default:
		return borders.NewLines(borders.Lines{
			JoinBlank: f.name == "TSVRaw" && truthy(s.cfg.Settings["input_format_tsv_skip_trailing_empty_lines"]), MaxRecord: limit,
		}, r, size)
	}
}

// planCutter cuts f when it is planned. Of an object that is said to be lines of
// JSON, the lines are taken at their word: to look into each would read all of
// it, and a newline is never within a record there.
func (s *Source) planCutter(f *file) borders.Cutter {
	if f.local() == nil && f.format.lined {
		begin := bytes.TrimSpace(bytes.TrimPrefix(f.begin, []byte(utf8BOM)))
		if len(begin) > 0 && begin[0] == '{' {
			return borders.NewLines(borders.Lines{}, f, f.Size)
		}
	}
	return s.cutter(f.format, f, f.Size, borders.MaxRecord)
}

func (s *Source) spaceDelimits() bool {
	return s.cfg.Delimiter == "\t" || s.cfg.Delimiter == " "
}

func truthy(v string) bool { return v == "1" || strings.EqualFold(v, "true") }

// readLayout finds the first record after the byte order mark, SkipLines lines
// and headerLines lines of header.
func (s *Source) readLayout(ctx context.Context, f format, h head, headerLines int) (layout, error) {
	var l layout
	switch {
	case bytes.HasPrefix(h.data, []byte(utf8BOM)):
		l.bom = true
		l.first = int64(len(utf8BOM))
	case bytes.HasPrefix(h.data, []byte("\xff\xfe")) || bytes.HasPrefix(h.data, []byte("\xfe\xff")):
		return l, errors.New("it is written in UTF-16: convert it to UTF-8, such as with iconv -f utf-16 -t utf-8")
	}
	// A line that is skipped ends where the engine's does, blank ones and all.
	plain := &Source{cfg: s.cfg}
	plain.cfg.Settings = nil
	c := plain.cutter(f, bytes.NewReader(h.data), int64(len(h.data)), 0)
	next := func(what string) (borders.Range, error) {
		r, at, err := c.Next(ctx, borders.Position{Offset: l.start}, 1)
		var cut *borders.Error
		switch {
		case errors.Is(err, io.EOF) && h.all:
			r = borders.Range{Start: l.start, End: l.start}
			return r, nil
		case errors.As(err, &cut) && h.all:
			return r, fmt.Errorf("%s: %w", what, err)
		case errors.As(err, &cut), err == nil && !h.all && r.End == int64(len(h.data)), errors.Is(err, io.EOF):
			return r, fmt.Errorf("%s does not end within the first %d bytes: is a quote not closed, or is the format another one?", what, MaxHead)
		case err != nil:
			return r, err
		}
		l.start = at.Offset
		return r, nil
	}
	l.start = l.first
	for range s.cfg.SkipLines {
		if _, err := next("a line to skip"); err != nil {
			return l, err
		}
	}
	l.first = l.start
	if f.name == "TSVRaw" {
		if line, _, _ := bytes.Cut(h.data[l.start:], []byte("\n")); bytes.HasSuffix(line, []byte("\r")) {
			return l, errors.New("its lines end with CRLF, and TSVRaw takes the CR for a part of the last value: write format: TSV, or end lines with LF")
		}
	}
	if headerLines == 0 {
		return l, nil
	}
	r, err := next("the header")
	if err != nil {
		return l, err
	}
	if l.names, err = s.fields(f, h.data[r.Start:r.End]); err != nil {
		return l, fmt.Errorf("the header: %w", err)
	}
	if headerLines > 1 {
		if _, err := next("the header's line of types"); err != nil {
			return l, err
		}
	}
	return l, nil
}

// fields splits one record into what the engine would read as text; nil for an
// empty one.
func (s *Source) fields(f format, rec []byte) ([]string, error) {
	if f.family == arrays {
		var names []string
		rec = bytes.Trim(rec, " \t\r\n,;")
		if len(rec) == 0 {
			return nil, nil
		}
		if err := json.Unmarshal(rec, &names); err != nil {
			return nil, fmt.Errorf("it is not an array of strings: %w", err)
		}
		return names, nil
	}
	line := strings.TrimSuffix(string(rec), "\r") // of LF CR
	line = strings.TrimSuffix(line, "\n")
	line = strings.TrimSuffix(line, "\r")
	if line == "" {
		return nil, nil
	}
	if f.family == csv {
		return csvFields(line, s.cfg.Delimiter[0], s.cfg.quote(), s.spaceDelimits()), nil
	}
	names := strings.Split(line, "\t")
	if f.family == tsv {
		for i, n := range names {
			names[i] = unescape(n)
		}
	}
	return names, nil
}

// csvFields splits a line without its end.
func csvFields(line string, delimiter, quote byte, spaceIsText bool) []string {
	trim := func(s string) string {
		if spaceIsText {
			return s
		}
		return strings.TrimLeft(s, " \t")
	}
	var all []string
	for {
		line = trim(line)
		var field string
		if quote != 0 && line != "" && line[0] == quote {
			line = line[1:]
			for {
				i := strings.IndexByte(line, quote)
				if i < 0 {
					field, line = field+line, ""
					break
				}
				field, line = field+line[:i], line[i+1:]
				if line == "" || line[0] != quote {
					break
				}
				field, line = field+string(quote), line[1:]
			}
			if i := strings.IndexByte(line, delimiter); i >= 0 {
				line = line[i:]
			} else {
				line = ""
			}
		} else {
			i := strings.IndexByte(line, delimiter)
			if i < 0 {
				i = len(line)
			}
			field, line = line[:i], line[i:]
			if !spaceIsText {
				field = strings.TrimRight(field, " \t")
			}
		}
		all = append(all, field)
		if line == "" {
			return all
		}
		line = line[1:]
	}
}

// unescape undoes the escapes of the TSV family.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if k := strings.IndexByte("abefnrtv0", s[i]); k >= 0 {
			b.WriteByte("\a\b\x1b\f\n\r\t\v\x00"[k])
			continue
		}
		switch s[i] {
		case 'N':
			continue // NULL has no text
		case 'x':
			if i+2 < len(s) {
				b.WriteByte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2]))
				i += 2
				continue
			}
			b.WriteByte('\\')
		case '\\', '\'', '"', '`', '/', '=':
		default:
			if s[i] < ' ' {
				break
			}
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hexDigit is the value of a hexadecimal digit; no matter what for another
// letter, which no name should hold.
func hexDigit(c byte) byte {
	switch {
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return c & 0x0f
}
