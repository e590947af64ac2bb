// Package kinds is the one list of the kinds of source: it makes the source
// that a pipeline names.
package kinds

import (
	"errors"

	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/files"
)

// New makes the source of a pipeline whose references were resolved. Relative
// paths start at dir. It opens nothing.
func New(p *pipeline.Pipeline, dir string) (source.Source, error) {
	f := p.Source.Files
	if f == nil {
		return nil, errors.New("the pipeline's source has no kind")
	}
	return files.New(files.Config{
		Paths: f.Path, Dir: dir, Format: f.Format, Compression: f.Compression,
		Header: f.Header, Delimiter: f.Delimiter, Quote: f.Quote, SkipLines: f.SkipLines,
		Regexp: f.Regexp, Columns: p.Source.Columns, Settings: f.Settings,
		ChunkBytes: int64(p.Source.Chunk),
	})
}
