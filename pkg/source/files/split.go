package files

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/borders"
	"drayage/pkg/source/files/rowgroups"
)

// MinSplit is the smallest range that Split cuts, in bytes. What a smaller one
// does not fit in, its halves will hardly fit in either.
const MinSplit = 64 << 10

var _ source.Splitter = (*Source)(nil)

// Split implements source.Splitter: ranges are cut at the border of records
// next after their middle, row groups between two of them. Whole files can not
// be cut.
func (s *Source) Split(ctx context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	return s.split(ctx, input, MinSplit)
}

func (s *Source) split(ctx context.Context, input json.RawMessage, floor int64) ([]job.Part, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	f, err := s.reopen(ctx, p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var parts []job.Part
	switch {
	case f.grouped():
		parts, err = f.splitGroups(p)
	case p.Doubt != "":
		return nil, job.Permanentf("%s: %w: the borders of its records are not known", f.path, source.ErrWhole)
	case f.cut():
		parts, err = s.splitRange(ctx, f, p, floor)
	default:
		return nil, job.Permanentf("%s: %w: a file of the format %s and compression %s is one chunk", f.path, source.ErrWhole, f.format.asked, f.comp.name)
	}
	if err != nil {
		return nil, err
	}
	// Cut in a mixture of two versions, the parts would be of neither.
	if err := f.unchanged(p.version); err != nil {
		return nil, err
	}
	return parts, nil
}

// part is the part [start, end) of p.
func (p piece) part(start, end, bytes int64) (job.Part, error) {
	p.Start, p.End = start, end
	input, err := json.Marshal(p)
	return job.Part{Input: input, Bytes: bytes}, err
}

func parts(first, second job.Part, err ...error) ([]job.Part, error) {
	return []job.Part{first, second}, errors.Join(err...)
}

func (f *file) splitGroups(p piece) ([]job.Part, error) {
	footer, _, err := f.footer()
	if err != nil {
		return nil, err
	}
	groups, err := f.groups(footer, p)
	if err != nil {
		return nil, err
	}
	if len(groups) == 1 {
		return nil, job.Permanentf("%s: %w: it is one row group of %d rows", f.path, source.ErrWhole, groups[0].Rows)
	}
	total := bytesOf(groups)
	n, before := 1, groups[0].Bytes
	for n < len(groups)-1 && before+groups[n].Bytes <= total/2 {
		before += groups[n].Bytes
		n++
	}
	first, err1 := p.part(p.Start, p.Start+int64(n), before)
	second, err2 := p.part(p.Start+int64(n), p.End, total-before)
	return parts(first, second, err1, err2)
}

func bytesOf(groups []rowgroups.Group) (n int64) {
	for _, g := range groups {
		n += g.Bytes
	}
	return n
}

func (s *Source) splitRange(ctx context.Context, f *file, p piece, floor int64) ([]job.Part, error) {
	size := p.End - p.Start
	switch {
	case p.Start < 0 || p.End > f.Size || size <= 0:
		return nil, job.Permanentf("%s: a chunk of the bytes %d to %d of %d", f.path, p.Start, p.End, f.Size)
	case size < floor:
		return nil, job.Permanentf("%s: %w: it is a range of %d bytes, and below %d none is cut", f.path, source.ErrWhole, size, floor)
	}
	// A range begins with a record and outside of all that a scan remembers:
	// scanned on its own it has the borders that it has in the file. Of JSON
	// it holds no bracket of the array around it.
	c := s.cutter(f.format, f, p.End, borders.MaxRecord)
	var first borders.Range
	var after borders.Position
	for want := (size + 1) / 2; ; want /= 4 {
		var err error
		if first, after, err = c.Next(ctx, borders.Position{Offset: p.Start}, want); err != nil {
			return nil, f.cutError(err)
		}
		if first.End < p.End {
			break
		}
		// A long record goes over the middle and to the end.
		if want <= 1 {
			return nil, job.Permanentf("%s: %w: it is one record of %d bytes", f.path, source.ErrWhole, size)
		}
	}
	// Of JSON, what stands between two records is in neither part.
	second, _, err := c.Next(ctx, after, 1)
	if errors.Is(err, io.EOF) {
		return nil, job.Permanentf("%s: %w: it is one record of %d bytes", f.path, source.ErrWhole, size)
	}
	if err != nil {
		return nil, f.cutError(err)
	}
	a, err1 := p.part(p.Start, first.End, first.End-p.Start)
	b, err2 := p.part(second.Start, p.End, p.End-second.Start)
	return parts(a, b, err1, err2)
}
