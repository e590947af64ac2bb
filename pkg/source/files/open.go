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
		return nil, job.Permanentf("%s", p.Err)
	}
	f, err := s.reopen(ctx, p)
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
		Check:       func() error { return f.unchanged(p.version) },
		Close:       f.Close,
	}
	s.shape(f.format, in)
	switch {
	case f.grouped():
		return in, s.openGroups(f, p, in)
	case f.cut():
		in.Bytes, in.Cut, in.Doubt = p.End-p.Start, true, p.Doubt
		var err error
		if in.Structure, err = s.structure(ctx, f, p, columns); err != nil {
			return nil, err
		}
		if in.Reader, err = f.section(p.Start, p.End); err == nil && in.Framed {
			in.Reader = s.frame(in.Reader, p.Path, p.Start)
		}
		return in, err
	}
	return in, s.openWhole(ctx, f, p, in)
}

// footer reads the footer of a Parquet file; the disk tells of failures of
// later reads.
func (f *file) footer() (*rowgroups.Footer, *disk, error) {
	d := &disk{f: f}
	if f.local() == nil {
		// The end of the file in one request; what is there is mostly all of it.
		end := make([]byte, min(f.Size, heldBytes))
		if _, err := d.ReadAt(end, f.Size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
	}
	footer, err := rowgroups.Read(d, f.Size)
	if err != nil {
		return nil, nil, d.or(job.Permanentf("%s: %w", f.path, err))
	}
	return footer, d, nil
}

// groups are the row groups of a chunk, never none.
func (f *file) groups(footer *rowgroups.Footer, p piece) ([]rowgroups.Group, error) {
	all := footer.Groups()
	if p.Start < 0 || p.End > int64(len(all)) || p.Start >= p.End {
		return nil, job.Permanentf("%s: a chunk of the row groups %d to %d of %d", f.path, p.Start, p.End, len(all))
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
	if h := f.local(); h != nil && len(groups) == len(footer.Groups()) {
		in.File = h
		return nil
	}
	m, err := scratch("rowgroups", in.Bytes)
	if err != nil {
		return job.Retryf("%s: copying row groups: %w", f.path, err)
	}
	if err := footer.Copy(m, int(p.Start), int(p.End)); err != nil {
		m.Close()
		return d.or(job.Retryf("%s: copying row groups: %w", f.path, err))
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
func (s *Source) openWhole(ctx context.Context, f *file, p piece, in *source.Input) (err error) {
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
			return job.Permanentf("%s: %w", f.path, err)
		}
	}
	if l.names != nil {
		if in.Structure, err = inOrder(f, in.Structure, l.names); err != nil {
			return err
		}
	}
	// Of an object the engine gets a copy, and only where it can not be streamed.
	streamed := in.Framed || f.local() == nil && f.comp.open != nil && !f.format.seeks
	if !streamed && f.comp.engine && !l.bom && (s.cfg.SkipLines == 0 || f.format.family == csv || f.format.family == tsv) {
		if in.File, err = f.whole(in); err != nil {
			return err
		}
		in.Compression = f.comp.name
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
	if f.comp.open == nil && in.Framed {
		return job.Permanentf("%s: lines of %s files can not be put together to records: decompress it, or compress it with gzip or zstd", f.path, f.comp.name)
	}
	if f.comp.open == nil {
		return job.Permanentf("%s: lines can not be skipped in %s files of the format %s: decompress it, or compress it with gzip or zstd", f.path, f.comp.name, f.format.asked)
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
	if in.Framed {
		in.Reader = s.frame(r, p.Path+", decompressed,", l.start)
	}
	in.Close = func() error { return errors.Join(r.Close(), f.Close()) }
	return nil
}

// whole is the file for the engine, of an object a copy that the input's Close
// gives up.
func (f *file) whole(in *source.Input) (*os.File, error) {
	if h := f.local(); h != nil {
		return h, nil
	}
	m, err := f.copy(f.Size)
	if err != nil {
		return nil, err
	}
	in.Close = func() error { return errors.Join(m.Close(), f.Close()) }
	return m, nil
}

// copy copies the first n bytes to a file of this machine; -1: all.
func (f *file) copy(n int64) (*os.File, error) {
	r, err := f.section(0, n)
	if err != nil {
		return nil, err
	}
	m, err := scratch("object", n)
	if err != nil {
		return nil, job.Retryf("%s: copying it: %w", f.path, err)
	}
	if _, err := io.Copy(m, r); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: copying it: %w", f.path, err)
	}
	return m, nil
}
