package kinds

import (
	"encoding/json"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
)

// custom makes a source of a kind that this dray was built with.
func custom(p *pipeline.Pipeline, env Env) (source.Source, error) {
	s := &p.Source
	cfg := source.Config{
		Dir: env.Dir, Columns: s.Columns, ChunkBytes: int64(s.Chunk), Rows: s.Rows, Seats: env.Seats, Allow: env.Allow,
		Watermark: p.Watermark(), Bounds: env.Bounds, Seen: env.Seen,
	}
	if len(s.Custom.Settings) > 0 {
		var err error
		if cfg.Settings, err = json.Marshal(s.Custom.Settings); err != nil {
			return nil, job.Permanentf("the settings of the source have no JSON: %w", err)
		}
	}
	return env.Custom.Make(s.Custom.Kind, cfg)
}
