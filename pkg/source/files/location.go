package files

import (
	"encoding/json"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

var _ source.Locator = (*Source)(nil)

// Locate implements source.Locator.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parsePiece(input)
	if err != nil {
		return source.Location{}, err
	}
	f, comp, err := s.formatOf(p.Path)
	if err != nil {
		return source.Location{}, err
	}
	at := source.Location{Name: p.Path, Offset: -1}
	switch {
	case comp.name != none:
	case p.Whole:
		if !f.binary {
			at.Offset = 0
		}
	case f.family == parquet:
		at.Unit, at.Start, at.End = source.UnitGroups, p.Start, p.End
	case f.splits():
		at.Unit, at.Start, at.End, at.Offset = source.UnitBytes, p.Start, p.End, p.Start
	case !f.binary:
		at.Offset = 0
	}
	return at, nil
}

// formatOf is the format and the compression of the file at path, as the
// configuration or its name says.
func (s *Source) formatOf(path string) (format, compression, error) {
	f, comp, err := formatOfPath(plainName(path), s.cfg.Compression)
	switch {
	case s.format != nil:
		f = *s.format
	case err != nil:
		return f, comp, job.Permanentf("%s: %w: write format: CSV or another one", path, err)
	}
	return f, comp, nil
}
