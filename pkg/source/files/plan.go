package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
)

// MaxPiece bounds the encoded size of a chunk's description of its input.
const MaxPiece = 3 << 10

// maxGrowth is how much longer the description of a part may be than that of
// the chunk: by two numbers.
const maxGrowth = 2 * len(`,"a":9223372036854775807`)

// piece is what a chunk says about its input.
type piece struct {
	Path string `json:"p"`
	version
	// Start and End are the bytes of a range, or the first row group and the
	// one after the last; both 0 for a whole file.
	Start  int64      `json:"a,omitempty"`
	End    int64      `json:"z,omitempty"`
	Header headerRule `json:"h,omitempty"`
	// Names is the fingerprint of the names in the header, in their order:
	// where it is that of the columns, nobody has to read the header again.
	Names string `json:"n,omitempty"`
	// Doubt is why the range does not begin and end at borders of records.
	Doubt string `json:"d,omitempty"`
	// Err is why the file could not be planned at all: the chunk fails with it.
	Err string `json:"e,omitempty"`
}

// parsePiece reads what a chunk says about its input.
func parsePiece(input json.RawMessage) (piece, error) {
	var p piece
	if err := json.Unmarshal(input, &p); err != nil {
		return p, job.Permanentf("the input of a chunk of files does not parse: %w", err)
	}
	return p, nil
}

// cursor is where planning goes on.
type cursor struct {
	Pattern int    `json:"g"`
	Path    string `json:"p"`
	version
	At     borders.Position `json:"at"`          // for Parquet, Offset counts row groups
	Done   bool             `json:"d,omitempty"` // nothing is left of the file
	Header headerRule       `json:"h,omitempty"` // of this file
	Names  string           `json:"i,omitempty"` // piece.Names of this file
	First  headerRule       `json:"f,omitempty"` // as the first file decided it, where the configuration does not
	Files  uint64           `json:"n"`
}

// Plan implements source.Source. Of the files it holds one open, and of that
// one block in memory.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, columns []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		p := planner{s: s, columns: columns, yield: yield}
		if len(from) > 0 {
			if err := json.Unmarshal(from, &p.at); err != nil {
				yield(source.Planned{}, job.Permanentf("the cursor of a files source does not parse: %w", err))
				return
			}
		}
		err := s.walk(ctx, p.at.Pattern, p.at.Path, func(f found) error { return p.file(ctx, f) })
		if err == nil && !p.resumed && p.at.Path != "" && !p.at.Done {
			err = p.gone()
		}
		if err != nil {
			yield(source.Planned{}, err)
		}
	}
}

// planner is one run of Plan.
type planner struct {
	s       *Source
	columns []job.Column
	yield   func(source.Planned, error) bool
	at      cursor
	resumed bool // the walk came to the cursor's file, or beyond
	chunks  int  // yielded so far
}

func (p *planner) file(ctx context.Context, at found) error {
	going := false
	if !p.resumed && p.at.Path != "" {
		p.resumed = true
		switch {
		case at.pattern == p.at.Pattern && at.path == p.at.Path:
			if p.at.Done {
				return nil
			}
			going = true
		case !p.at.Done:
			return p.gone()
		}
	}
	p.resumed = true
	if going {
		return p.read(ctx, at, going)
	}
	if seen := p.s.cfg.Seen; seen != nil && seen(versionName(at.path, at.version)) {
		return nil
	}
	p.at = cursor{Pattern: at.pattern, Path: at.path, First: p.at.First, Files: p.at.Files + 1}
	begun := p.chunks
	err := p.read(ctx, at, going)
	if job.ClassOf(err) != job.Permanent || p.chunks > begun || p.at.Files == 1 ||
		errors.Is(err, source.ErrChanged) || errors.Is(err, source.ErrGone) {
		return err
	}
	// What is wrong with the first file is probably wrong with the pipeline.
	// A later one fails by itself, as a chunk that says why.
	p.at.Done = true
	why := err.Error()
	return p.chunk(&file{path: at.path}, piece{Err: why[:min(len(why), maxDoubt)]}, 0)
}

// read plans one file.
func (p *planner) read(ctx context.Context, at found, going bool) error {
	f, err := p.s.open(ctx, at)
	if err != nil {
		return err
	}
	defer f.Close()
	if going {
		if err := f.unchanged(p.at.version); err != nil {
			return err
		}
	} else {
		p.at.version = f.version
	}
	if f.Size == 0 {
		return nil
	}
	switch {
	case f.grouped():
		return p.groups(ctx, f)
	case f.cut():
		return p.ranges(ctx, f, going)
	}
	return p.whole(ctx, f)
}

// gone is the error of a file that vanished with a part of it not planned yet.
func (p *planner) gone() error {
	return job.Permanentf("%s: %w: it was removed or renamed while it was being planned", p.at.Path, source.ErrGone)
}

// chunk yields one chunk of f; it returns errStop when the caller has enough.
func (p *planner) chunk(f *file, in piece, bytes int64) error {
	in.Path, in.version, in.Header, in.Names = f.path, f.version, p.at.Header, p.at.Names
	input, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if len(input)+maxGrowth > MaxPiece {
		return job.Permanentf("%s: the path is too long for a chunk's description of %d bytes", f.path, MaxPiece)
	}
	at, err := json.Marshal(p.at)
	if err != nil {
		return err
	}
	p.chunks++
	if f.blob != nil {
		f.pause() // what is yielded may wait for long, and for the connection
	}
	if !p.yield(source.Planned{Input: input, Cursor: at, Bytes: bytes, Inputs: p.at.Files}, nil) {
		return errStop
	}
	return nil
}

// begin settles the header of a file that is new to the planner.
func (p *planner) begin(ctx context.Context, f *file) (layout, error) {
	rule := p.s.rule(f.format, p.columns)
	open := rule == headerUnknown
	if open && p.at.First == headerYes {
		rule = headerYes
	}
	l, rule, err := p.s.settleHeader(ctx, f, rule, p.columns)
	if err != nil {
		return l, err
	}
	if p.at.First == headerNo && open && rule == headerYes {
		return l, job.Permanentf("%s: it begins with a header, and the files before it do not: write header: true or header: false, or split the paths", f.path)
	}
	p.at.Header, p.at.Names = rule, fingerprint(l.names)
	if open {
		p.at.First = rule
	}
	return l, nil
}

func (p *planner) ranges(ctx context.Context, f *file, going bool) error {
	if !going {
		l, err := p.begin(ctx, f)
		if err != nil {
			return err
		}
		p.at.At = borders.Position{Offset: l.start}
	}
	c := p.s.planCutter(f)
	for {
		r, next, err := c.Next(ctx, p.at.At, p.s.cfg.ChunkBytes)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var broken *borders.Error
		if errors.As(err, &broken) && p.s.begin == nil {
			if err := p.broken(f, broken); err != nil {
				return err
			}
			if p.at.Done {
				return nil
			}
			continue
		}
		if err != nil {
			return f.cutError(err)
		}
		p.at.At = next
		p.at.Done = next.Offset >= f.Size
		if err := p.chunk(f, piece{Start: r.Start, End: r.End}, r.End-r.Start); err != nil {
			return err
		}
	}
}

// broken makes a chunk of what can not be cut at the borders of its records:
// up to the end of a line after the trouble, and about as large as other chunks.
// Whoever opens it looks at each of its records, and what is good in it and
// after it is not lost to what is not.
func (p *planner) broken(f *file, why *borders.Error) error {
	start := p.at.At.Offset
	end, err := f.endOfLine(max(why.Offset, start+p.s.cfg.ChunkBytes-1))
	if err != nil {
		return f.cutError(err)
	}
	p.at.At = borders.Position{Offset: end}
	p.at.Done = end >= f.Size
	doubt := why.Error()
	return p.chunk(f, piece{Start: start, End: end, Doubt: doubt[:min(len(doubt), maxDoubt)]}, end-start)
}

// maxDoubt bounds what a chunk says about what is wrong with its file.
const maxDoubt = 200

// endOfLine is the offset after the first newline at from or later, or the end.
func (f *file) endOfLine(from int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at := from; at < f.Size; {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), f.Size-at)], at)
		if i := bytes.IndexByte(buf[:n], '\n'); i >= 0 {
			return at + int64(i) + 1, nil
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // before the size that it had
		}
		if err != nil && at < f.Size {
			return 0, err
		}
	}
	return f.Size, nil
}

// cutError says what an error of a cutter means.
func (f *file) cutError(err error) error {
	var cut *borders.Error
	switch {
	case errors.As(err, &cut):
		return job.Permanentf("%s: %w", f.path, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return shorterError(f.path)
	case f.local() == nil:
		return err // the store knows its class
	}
	return job.Retryf("cutting %s: %w", f.path, err)
}

func (p *planner) groups(ctx context.Context, f *file) error {
	footer, _, err := f.footer()
	if err != nil {
		return err
	}
	if err := p.s.checkNames(f, footer.Columns(), p.columns); err != nil {
		return err
	}
	groups := footer.Groups()
	for at := int(p.at.At.Offset); at < len(groups); {
		if err := ctx.Err(); err != nil {
			return err
		}
		end, bytes := at, int64(0)
		for end < len(groups) && (end == at || bytes+groups[end].Bytes <= p.s.cfg.ChunkBytes) {
			bytes += groups[end].Bytes
			end++
		}
		p.at.At.Offset = int64(end)
		p.at.Done = end == len(groups)
		if err := p.chunk(f, piece{Start: int64(at), End: int64(end)}, bytes); err != nil {
			return err
		}
		at = end
	}
	return nil
}

func (p *planner) whole(ctx context.Context, f *file) error {
	p.at.Done = true
	if f.format.mayHaveHeader() {
		if _, err := p.begin(ctx, f); err != nil {
			return err
		}
	}
	return p.chunk(f, piece{}, max(0, f.Size))
}

// checkNames compares the names in a file that names its columns by itself
// with the columns of the source. Columns that are declared may leave some of
// the file's out; inferred ones may not.
func (s *Source) checkNames(f *file, names []string, columns []job.Column) error {
	if truthy(s.cfg.Settings["input_format_parquet_case_insensitive_column_matching"]) {
		return nil // the engine compares
	}
	unknown, missing, twice := compareNames(names, columns)
	if len(s.cfg.Columns) > 0 {
		unknown = nil
	}
	if len(unknown)+len(missing)+len(twice) == 0 {
		return nil
	}
	hint := ""
	if len(unknown) > 0 && len(missing)+len(twice) == 0 {
		hint = "; declare the columns to leave others out"
	}
	return job.Permanentf("%s: its columns are not those of the source: %s%s", f.path, difference(unknown, missing, twice), hint)
}
