package kinds

import (
	"drayage/pkg/pipeline"
	"drayage/pkg/source"
	"drayage/pkg/source/rest"
)

// httpConfig is the configuration of an HTTP source.
func httpConfig(s *pipeline.Source, env Env) rest.Config {
	h := s.HTTP
	cfg := rest.Config{
		URL: h.URL, Method: h.Method, Body: h.Body, Headers: h.Headers, Bearer: h.Bearer,
		Records: h.Records, Paging: rest.Paging(h.Paging), Range: rest.Range{Values: h.Range.Values},
		Rate: h.Rate, Retries: h.Retries, Timeout: h.Timeout, MaxPage: int64(h.MaxPage),
		Certificates: source.Certificates{CAFile: h.CAFile, CertFile: h.CertFile, KeyFile: h.KeyFile, Dir: env.Dir, Allow: env.Allow},
		Columns:      s.Columns, Seats: env.Seats,
	}
	if h.Basic != (pipeline.HTTPBasic{}) {
		basic := rest.Basic(h.Basic)
		cfg.Basic = &basic
	}
	if d := h.Range.Days; d != nil {
		days := rest.Days(*d)
		cfg.Range.Days = &days
	}
	if i := h.Range.IDs; i != nil {
		ids := rest.IDs(*i)
		cfg.Range.IDs = &ids
	}
	return cfg
}
