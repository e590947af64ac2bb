package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/rowgroups"
)

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	if p.Err != "" {
		return nil, permanent("%s", p.Err)
	}
	f, err := s.reopen(p)
	if err != nil {
		return nil, err
	}
	in, err := s.openPiece(ctx, f, p, columns)
	if err != nil {
		f.Close()
		return nil, err
	}
	return in, nil
}

// openPiece makes the input of an open file; its Close closes f.
func (s *Source) openPiece(ctx context.Context, f *file, p piece, columns []job.Column) (*source.Input, error) {
	in := &source.Input{
		Format:      f.format.name,
		Compression: none,
		Structure:   columns,
		Settings:    s.settings(f.format, columns),
		Bytes:       p.Size,
		Check:       func() error { return s.changed(f, p.Size, p.MTime) },
		Close:       f.Close,
	}
	switch {
	case f.format.family == parquet && f.comp.name == none:
		return in, s.openGroups(f, p, in)
	case f.format.splits() && f.comp.name == none:
		in.Bytes = p.End - p.Start
		in.Reader = newSection(f.File, p.Start, p.End)
		in.Doubt = p.Doubt
		var err error
		in.Structure, err = s.structure(ctx, f, p, columns)
		return in, err
	}
	return in, s.openWhole(ctx, f, p, in)
}

// footer reads the footer of a Parquet file; the disk tells of failures of
// later reads.
func (f *file) footer() (*rowgroups.Footer, *disk, error) {
	d := &disk{f: f}
	footer, err := rowgroups.Read(d, f.size)
	if err != nil {
		return nil, nil, d.or(permanent("%s: %w", f.path, err))
	}
	return footer, d, nil
}

// groups are the row groups of a chunk, never none.
func (f *file) groups(footer *rowgroups.Footer, p piece) ([]rowgroups.Group, error) {
	all := footer.Groups()
	if p.Start < 0 || p.End > int64(len(all)) || p.Start >= p.End {
		return nil, permanent("%s: a chunk of the row groups %d to %d of %d", f.path, p.Start, p.End, len(all))
	}
	return all[p.Start:p.End], nil
}

// openGroups makes a file of its own of some row groups.
func (s *Source) openGroups(f *file, p piece, in *source.Input) error {
	footer, d, err := f.footer()
	if err != nil {
		return err
	}
	groups, err := f.groups(footer, p)
	if err != nil {
		return err
	}
	in.Bytes = bytesOf(groups)
	if len(groups) == len(footer.Groups()) {
		in.File = f.File
		return nil
	}
	m, err := scratch("rowgroups", in.Bytes)
	if err != nil {
		return job.WithClass(fmt.Errorf("%s: copying row groups: %w", f.path, err), job.Retry)
	}
	if err := footer.Copy(m, int(p.Start), int(p.End)); err != nil {
		m.Close()
		return d.or(job.WithClass(fmt.Errorf("%s: copying row groups: %w", f.path, err), job.Retry))
	}
	// A filter may ask for a Bloom filter whose length the file does not say,
	// so that it is not in the copy.
	in.Settings["input_format_parquet_bloom_filter_push_down"] = "0"
	in.File = m
	in.Close = func() error { return errors.Join(m.Close(), f.Close()) }
	return nil
}

// openWhole gives a whole file to the engine, or decompresses it where the
// engine can not.
func (s *Source) openWhole(ctx context.Context, f *file, p piece, in *source.Input) error {
	var l layout
	if f.format.splits() && f.comp.open != nil {
		// The header was checked by the planner; here its order counts.
		rule := p.Header
		if rule == headerUnknown {
			rule = headerNo
		}
		h, err := f.head()
		if err != nil {
			return err
		}
		if l, err = s.readLayout(ctx, f.format, h, f.format.headerLines(rule)); err != nil {
			return permanent("%s: %w", f.path, err)
		}
	}
	if l.names != nil {
		var err error
		if in.Structure, err = inOrder(f, in.Structure, l.names); err != nil {
			return err
		}
	}
	if f.comp.engine && !l.bom && (s.cfg.SkipLines == 0 || f.format.family == csv || f.format.family == tsv) {
		in.File, in.Compression = f.File, f.comp.name
		if s.cfg.SkipLines > 0 {
			n := strconv.Itoa(s.cfg.SkipLines)
			in.Settings["input_format_csv_skip_first_lines"] = n
			in.Settings["input_format_tsv_skip_first_lines"] = n
		}
		switch p.Header {
		case headerYes:
			in.Format = f.format.withHeader(f.format.headerLines(headerYes))
			in.Settings["input_format_with_names_use_header"] = "0" // Structure has its order
			in.Settings["input_format_with_types_use_header"] = "0"
		case headerByEngine:
			in.Format = f.format.withHeader(f.format.headerLines(headerYes))
			in.Settings["input_format_with_names_use_header"] = "1"
			in.Settings["input_format_with_types_use_header"] = "0"
			in.Settings["input_format_skip_unknown_fields"] = "0"
			in.Settings["input_format_force_null_for_omitted_fields"] = "1"
		}
		return nil
	}
	if f.comp.open == nil {
		return permanent("%s: lines can not be skipped in %s files of the format %s: decompress it, or compress it with gzip or zstd", f.path, f.comp.name, f.format.asked)
	}
	r, err := f.plain()
	if err != nil {
		return err
	}
	if err := f.skip(r, l.start); err != nil {
		r.Close()
		return err
	}
	in.Reader = r
	in.Close = func() error { return errors.Join(r.Close(), f.Close()) }
	return nil
}

// section reads a range of a file. Unlike io.SectionReader it does not take
// the early end of the file for the end of the range.
type section struct {
	f       *os.File
	at, end int64
}

func newSection(f *os.File, start, end int64) *section { return &section{f, start, end} }

func (s *section) Read(b []byte) (int, error) {
	if s.at >= s.end {
		return 0, io.EOF
	}
	if int64(len(b)) > s.end-s.at {
		b = b[:s.end-s.at]
	}
	n, err := s.f.ReadAt(b, s.at)
	s.at += int64(n)
	if errors.Is(err, io.EOF) {
		err = nil
		if s.at < s.end {
			err = shorterError(s.f.Name())
		}
	}
	return n, err
}

// Range implements source.FileRange.
func (s *section) Range() (file *os.File, start, end int64) { return s.f, s.at, s.end }

// Skip implements source.FileRange.
func (s *section) Skip(n int64) { s.at += n }
