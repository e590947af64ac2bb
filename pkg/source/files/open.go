package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/rowgroups"
)

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	var p piece
	if err := json.Unmarshal(input, &p); err != nil {
		return nil, permanent("the input of a chunk does not parse: %w", err)
	}
	f, err := s.open(p.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, permanent("%s: %w: it was removed or renamed", p.Path, source.ErrGone)
	}
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
	check := func() error { return s.changed(f, p.Size, p.MTime) }
	if err := check(); err != nil {
		return nil, err
	}
	in := &source.Input{
		Format:      f.format.name,
		Compression: none,
		Structure:   columns,
		Settings:    s.settings(f.format, columns),
		Bytes:       p.Size,
		Check:       check,
		Close:       f.Close,
	}
	switch {
	case f.format.family == parquet && f.comp.name == none:
		return in, s.openGroups(f, p, in)
	case f.format.splits() && f.comp.name == none:
		in.Bytes = p.End - p.Start
		in.Reader = newSection(f.File, p.Start, p.End)
		if p.Header == headerYes {
			l, err := s.headerAgain(ctx, f)
			if err != nil {
				return nil, err
			}
			in.Structure = inOrder(columns, l.names)
		}
		return in, nil
	}
	return in, s.openWhole(ctx, f, p, in)
}

// headerAgain reads the header that the planner saw in this version of f.
func (s *Source) headerAgain(ctx context.Context, f *file) (layout, error) {
	h, err := f.head()
	if err != nil {
		return layout{}, err
	}
	l, err := s.readLayout(ctx, f.format, h, f.format.headerLines(headerYes))
	if err != nil {
		return l, permanent("%s: %w", f.path, err)
	}
	return l, nil
}

// openGroups makes a file of its own of some row groups.
func (s *Source) openGroups(f *file, p piece, in *source.Input) error {
	footer, err := rowgroups.Read(f, f.size)
	if err != nil {
		return permanent("%s: %w", f.path, err)
	}
	all := footer.Groups()
	if p.Start < 0 || p.End > int64(len(all)) || p.Start >= p.End {
		return permanent("%s: a chunk of the row groups %d to %d of %d", f.path, p.Start, p.End, len(all))
	}
	in.Bytes = 0
	for _, g := range all[p.Start:p.End] {
		in.Bytes += g.Bytes
	}
	if len(all) == int(p.End-p.Start) {
		in.File = f.File
		return nil
	}
	m, err := scratch("rowgroups", in.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if err := footer.Copy(m, int(p.Start), int(p.End)); err != nil {
		m.Close()
		return fmt.Errorf("%s: copying row groups: %w", f.path, err)
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
		in.Structure = inOrder(in.Structure, l.names)
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
	if _, err := io.CopyN(io.Discard, r, l.start); err != nil {
		return permanent("%s: it can not be decompressed with %s: %w", f.path, f.comp.name, err)
	}
	in.Reader = &decompressed{r, f}
	in.Close = func() error { return errors.Join(r.Close(), f.Close()) }
	return nil
}

// decompressed names the file in the errors of its decompression, which no
// retry cures.
type decompressed struct {
	r io.Reader
	f *file
}

func (d *decompressed) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = permanent("%s: it can not be decompressed with %s: %w", d.f.path, d.f.comp.name, err)
	}
	return n, err
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
			err = permanent("%s: %w: it became shorter", s.f.Name(), source.ErrChanged)
		}
	}
	return n, err
}

// Range implements source.FileRange.
func (s *section) Range() (file *os.File, start, end int64) { return s.f, s.at, s.end }

// Skip implements source.FileRange.
func (s *section) Skip(n int64) { s.at += n }
