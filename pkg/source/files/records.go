package files

import (
	"context"
	"encoding/json"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Records says how records of the chunk that input describes are read on their
// own: raw, as they stand in the file, one after the other, each followed by a
// newline, without header or brackets. Of the Input that it returns Format,
// Compression, Structure, Settings, Pattern and Framed are set.
//
// The file is opened only where its header names the columns in another order
// than columns; then it must be the version that was planned. Of formats that
// are not cut into records there are no raw records, which is
// source.ErrNoRecords; of compressions whose header nobody but the engine read,
// there is no way to read them: an error too, job.Permanent.
func (s *Source) Records(ctx context.Context, input json.RawMessage, columns []job.Column) (*source.Input, error) {
	p, err := parsePiece(input)
	if err != nil {
		return nil, err
	}
	format, comp, err := s.formatOf(p.Path)
	if err != nil {
		return nil, err
	}
	if !format.splits() {
		return nil, job.Permanentf("%s: files of the format %s: %w", p.Path, format.asked, source.ErrNoRecords)
	}
	in := &source.Input{Format: format.name, Compression: none, Structure: columns, Settings: s.settings(format, columns)}
	s.shape(format, in)
	switch {
	case p.Header == headerByEngine:
		return nil, job.Permanentf("%s: in which order its header names the columns can not be told of %s files: decompress it, or compress it with gzip or zstd", p.Path, comp.name)
	case p.Header != headerYes, p.Names == fingerprint(names(columns)):
		return in, nil
	}
	f, err := s.reopen(ctx, p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in.Structure, err = s.structure(ctx, f, p, columns)
	if err != nil {
		return nil, err
	}
	return in, nil
}
