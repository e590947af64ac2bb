package keyed

import (
	"context"
	"encoding/json"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Bounds implements source.Incremental, by Config.Watermark. A row that is
// committed later with a value that is at most the largest one of now is left
// out for ever, unless the look-back reaches it: a transaction that writes now()
// and takes its time is such.
func (s *Source) Bounds(ctx context.Context, state json.RawMessage) (bounds, next json.RawMessage, err error) {
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	r, err := s.existing(c)
	if err != nil {
		return nil, nil, err
	}
	k, err := s.watermark(r)
	if err != nil {
		return nil, nil, err
	}
	all, err := c.Rows(r.Largest(k, s.cfg.Where))
	if err != nil {
		return nil, nil, err
	}
	var latest *string
	if len(all) > 0 && all[0][0] != nil {
		text := all[0].Text(0)
		latest = &text
		if k.long(Bound{text}) {
			return nil, nil, job.Permanentf("%s: the largest %s is too long for a watermark: more than %d bytes", s.cfg.Name(), s.cfg.Watermark.Column, maxBound)
		}
	}
	return source.After(state, latest, func(value string) (*string, error) { return s.back(r, k, value) })
}

// watermark is the column of the watermark, as a key of its own.
func (s *Source) watermark(r Relation) (*Key, error) {
	name := s.cfg.Watermark.Column
	if s.column(r.Columns(), name) < 0 {
		return nil, job.Permanentf("%s: it has no column %q, which incremental.column names", s.cfg.Name(), name)
	}
	return r.Watermark(name)
}

// back takes the look-back off a value; nil: there is no value as small.
func (s *Source) back(r Relation, k *Key, value string) (*string, error) {
	switch {
	case s.cfg.Watermark.Lookback.N == 0:
		return &value, nil
	case !k.valid(Bound{value}):
		return nil, s.astray(k)
	}
	e, err := r.Back(k, value)
	if err != nil {
		return nil, err
	}
	got, err := k.One("looking back from "+value, "SELECT "+e)
	if err != nil || got[0] == nil {
		return nil, err
	}
	text := got.Text(0)
	return &text, nil
}

// spanned is the predicate of the rows within the bounds of the job; "" for all.
func (s *Source) spanned(r Relation) (string, error) {
	if s.span == nil {
		return "", nil
	}
	k, err := s.watermark(r)
	if err != nil {
		return "", err
	}
	for _, text := range []*string{s.span.From, s.span.To} {
		if text != nil && !k.valid(Bound{*text}) {
			return "", s.astray(k)
		}
	}
	return s.span.Where(k.Columns[0].SQL, k.Columns[0].At), nil
}

func (s *Source) astray(k *Key) error {
	return job.Permanentf("%s: the state of the watermark is no value of %s, which is a %s now: dray watermarks forget lets the next job read everything",
		s.cfg.Name(), k.Columns[0].Name, k.Columns[0].Type)
}

// findSpan is the column of the watermark as the key to cut by, nil where no
// index leads there, another key is named, or the job has no bounds.
func (s *Source) findSpan(r Relation) (*Key, error) {
	if s.span == nil {
		return nil, nil //nolint:nilnil // no key is no error
	}
	k, err := s.watermark(r)
	if err != nil || len(s.cfg.Key) > 0 {
		return nil, err
	}
	if k, err = r.Find([]string{k.Columns[0].Name}); err != nil || k == nil || !k.Indexed {
		return nil, err
	}
	return k, nil
}

// spans reports whether the bounds of the job are bounds of the key.
func (s *Source) spans(k *Key) bool {
	return s.span != nil && len(k.Columns) == 1 && s.server.Same(k.Columns[0].Name, s.cfg.Watermark.Column)
}
