package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
)

// Columns implements source.Source. Every pattern must match a file, also when
// the columns are declared.
func (s *Source) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	for i := range s.globs {
		err := s.walk(ctx, i, "", func(found) error { return errStop })
		if err != nil {
			return nil, err
		}
	}
	var columns []job.Column
	err := s.walk(ctx, 0, "", func(at found) error {
		if at.Size == 0 {
			return nil
		}
		f, err := s.open(ctx, at)
		if err != nil {
			return err
		}
		defer f.Close()
		if f.Size == 0 {
			return nil
		}
		if len(s.cfg.Columns) > 0 {
			err = s.checkDeclared(ctx, eng, f)
		} else {
			columns, err = s.infer(ctx, eng, f)
		}
		if errors.Is(err, errNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return errStop
	})
	switch {
	case err != nil:
		return nil, err
	case len(s.cfg.Columns) > 0:
		return slices.Clone(s.cfg.Columns), nil
	case len(columns) == 0:
		return nil, job.Permanentf("every file that %s matches is empty, so the columns can not be inferred: declare columns", strings.Join(s.cfg.Paths, ", "))
	}
	return columns, nil
}

// errNoRows says that a file has no row to infer columns from.
var errNoRows = errors.New("no rows")

// checkDeclared compares the declared columns with the names in f.
func (s *Source) checkDeclared(ctx context.Context, eng source.Engine, f *file) error {
	declared := s.cfg.Columns
	switch {
	case f.grouped():
		footer, _, err := f.footer()
		if err != nil {
			return err
		}
		return s.checkNames(f, footer.Columns(), declared)
	case f.format.columns:
		own, err := s.describe(ctx, eng, f, f.format.asked, nil)
		if errors.Is(err, errTooLarge) {
			return nil // the engine compares when it reads
		}
		if err != nil {
			return err
		}
		return s.checkNames(f, names(own), declared)
	case !f.format.mayHaveHeader():
		return nil
	}
	rule := s.rule(f.format, declared)
	_, after, err := s.settleHeader(ctx, f, rule, declared)
	if err != nil || rule != headerUnknown || after != headerNo {
		return err
	}
	// No field of the first line is a column's name. It is data, or the
	// header of something else: the engine tells by the types.
	own, err := s.describe(ctx, eng, f, f.format.name, map[string]string{
		"input_format_csv_detect_header": "1", "input_format_tsv_detect_header": "1",
	})
	if err != nil || numbered(own) {
		return err
	}
	unknown, missing, twice := compareNames(names(own), declared)
	return job.Permanentf("%s: its first line is a header that does not name the declared columns: %s; if it is data, write header: false",
		f.path, difference(unknown, missing, twice))
}

func names(columns []job.Column) []string {
	all := make([]string, len(columns))
	for i, c := range columns {
		all[i] = c.Name
	}
	return all
}

// infer asks the engine for the columns of f.
func (s *Source) infer(ctx context.Context, eng source.Engine, f *file) ([]job.Column, error) {
	switch f.format.name {
	case "LineAsString":
		return []job.Column{{Name: "line", Type: "String"}}, nil
	case "JSONAsString":
		return []job.Column{{Name: "json", Type: "String"}}, nil
	case "RawBLOB":
		return []job.Column{{Name: "raw_blob", Type: "String"}}, nil
	}
	if s.begin != nil {
		return numberedGroups(s.cfg.pattern(f.format))
	}
	rule := s.rule(f.format, nil)
	format, set := f.format.asked, map[string]string{}
	var first []string // the fields of the first line
	if f.format.mayHaveHeader() {
		h, err := f.head()
		switch {
		case errors.Is(err, errNoReader):
		case err != nil:
			return nil, err
		default:
			if blank(h.data) && h.all {
				return nil, errNoRows
			}
			l, err := s.readLayout(ctx, f.format, h, f.format.headerLines(max(rule, headerUnknown)))
			if err != nil {
				return nil, job.Permanentf("%s: %w", f.path, err)
			}
			if rule == headerYes && h.all && blank(h.data[l.start:]) {
				return nil, errNoRows
			}
			first = l.names
		}
		switch rule {
		case headerYes:
			format = f.format.withHeader(f.format.headerLines(rule))
		case headerUnknown:
			set["input_format_csv_detect_header"], set["input_format_tsv_detect_header"] = "1", "1"
		}
	}
	columns, err := s.describe(ctx, eng, f, format, set)
	if err != nil {
		return nil, err
	}
	if first != nil && (rule == headerYes || rule == headerUnknown && !numbered(columns)) {
		if unknown, missing, twice := compareNames(first, columns); len(unknown)+len(missing)+len(twice) > 0 {
			return nil, job.Permanentf("%s: its header can not be used: %s", f.path, difference(unknown, missing, twice))
		}
	}
	return columns, nil
}

// SampleBytes is how much of a file the engine infers columns from, where it
// can not be given the file itself: the engine looks at no more either.
const SampleBytes = 32 << 20

// describe asks the engine for the columns of f in format.
func (s *Source) describe(ctx context.Context, eng source.Engine, f *file, format string, more map[string]string) ([]job.Column, error) {
	if eng == nil {
		return nil, errors.New("columns can not be inferred without an engine")
	}
	set := s.settings(f.format, nil)
	delete(set, "input_format_csv_empty_as_default")
	delete(set, "input_format_tsv_empty_as_default")
	set["schema_inference_use_cache_for_file"] = "0"
	set["print_pretty_type_names"] = "0"
	maps.Copy(set, more)
	file, compression := f.local(), f.comp.name
	if sample, packed, err := s.sample(ctx, f); err != nil {
		return nil, err
	} else if sample != nil {
		defer sample.Close()
		file = sample
		if !packed {
			compression = none
		}
	}
	relation := fmt.Sprintf("file(%s, %s, 'auto', %s)", literal(enginePath(file)), literal(format), literal(compression))
	columns, err := eng.Describe(ctx, relation, set)
	if err != nil {
		// The engine's error names a path that says nothing to a person.
		return nil, fmt.Errorf("inferring the columns of %s (%s): %w", f.path, format, err)
	}
	if len(columns) == 0 {
		return nil, job.Permanentf("the engine finds no columns in %s: declare columns", f.path)
	}
	return columns, nil
}

// maxCopied is the size of the largest object that is copied to infer columns
// from it, where a part of it says nothing.
const maxCopied = 1 << 30

// errTooLarge says that an object is too large to look at its columns.
var errTooLarge = errors.New("it is too large to infer columns from: declare columns")

// sample makes a file that the engine can infer columns from: the first records
// of f, or a copy, which packed says to be compressed as f is. It returns nil
// when the engine can read f as it is.
func (s *Source) sample(ctx context.Context, f *file) (sample *os.File, packed bool, err error) {
	local := f.local() != nil
	asIs := f.comp.engine && s.cfg.SkipLines == 0
	if local && asIs && !f.format.splits() {
		return nil, false, nil
	}
	if !local && f.format.seeks {
		sample, err = f.schema()
		return sample, true, err
	}
	h, err := f.head()
	if errors.Is(err, errNoReader) && asIs {
		if !local {
			sample, err = f.copied()
			return sample, true, err
		}
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if local && asIs && !strings.HasPrefix(string(h.data[:min(3, len(h.data))]), utf8BOM) {
		return nil, false, nil
	}
	sample, err = s.excerpt(ctx, f, h)
	return sample, false, err
}

// schema is an object of a format with its columns at the end: of Parquet
// without its rows, of others a copy.
func (f *file) schema() (*os.File, error) {
	if !f.grouped() {
		return f.copied()
	}
	footer, d, err := f.footer()
	if err != nil {
		return nil, err
	}
	m, err := scratch("schema", 0)
	if err != nil {
		return nil, err
	}
	if err := footer.Copy(m, 0, 0); err != nil {
		m.Close()
		return nil, d.or(err)
	}
	return m, nil
}

// copied is a copy of an object that is not too large.
func (f *file) copied() (*os.File, error) {
	if f.Size > maxCopied {
		return nil, job.Permanentf("%s: %w", f.path, errTooLarge)
	}
	return f.copy(f.Size)
}

// excerpt copies the first records of f to a file; h is how it begins.
func (s *Source) excerpt(ctx context.Context, f *file, h head) (*os.File, error) {
	var start int64
	if f.format.splits() {
		l, err := s.readLayout(ctx, f.format, h, 0)
		if err != nil {
			return nil, job.Permanentf("%s: %w", f.path, err)
		}
		start = l.first
	}
	r, err := f.plain()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := f.skip(r, start); err != nil {
		return nil, err
	}
	m, err := scratch("sample", SampleBytes)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(m, io.LimitReader(r, SampleBytes))
	if err == nil && n == SampleBytes {
		err = s.trim(ctx, f, m, n)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// trim cuts a sample of n bytes after a whole record.
func (s *Source) trim(ctx context.Context, f *file, m *os.File, n int64) error {
	if !f.format.splits() {
		return job.Permanentf("%s: its columns can not be inferred from the first %d bytes: declare columns", f.path, n)
	}
	r, _, err := s.cutter(f.format, m, n, n).Next(ctx, borders.Position{}, n/2)
	if err != nil {
		return job.Permanentf("%s: %w", f.path, err)
	}
	if err := m.Truncate(r.End); err != nil {
		return fmt.Errorf("cutting a sample of %s: %w", f.path, err)
	}
	return nil
}

// enginePath is a path under which the engine, another process of this user,
// finds the open file f. It has no letters that the engine takes for a glob.
func enginePath(f *os.File) string {
	if runtime.GOOS == "linux" {
		return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	}
	return f.Name()
}

// literal quotes s for ClickHouse SQL.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
