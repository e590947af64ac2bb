package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/keyed"
)

// Split implements source.Splitter: a range of a key is cut where half of its
// keys are before, a range of blocks in its middle. What has one key or block,
// the rows without a key, and what is read as a whole can not be cut.
func (s *Source) Split(ctx context.Context, input json.RawMessage, columns []job.Column) ([]job.Part, error) {
	p, err := s.parsePiece(input)
	if err != nil {
		return nil, err
	}
	a, b := p, p
	a.Bytes = p.Bytes / 2
	b.Bytes = p.Bytes - a.Bytes
	switch {
	case p.Manner == byBlocks && p.End-p.Begin > 1:
		a.End = p.Begin + (p.End-p.Begin)/2
		b.Begin = a.End
	case p.Manner == byKey && !p.Null:
		middle, err := s.middle(ctx, p, columns)
		if err != nil {
			return nil, err
		}
		a.To, b.From = middle, middle
	default:
		return nil, s.whole(p)
	}
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return []job.Part{{Input: first, Bytes: a.Bytes}, {Input: second, Bytes: b.Bytes}}, errors.Join(err1, err2)
}

func (s *Source) whole(p piece) error {
	return job.Permanentf("%s: %w", s.place(p), source.ErrWhole)
}

// middle returns a key that cuts a range in two parts that both have keys.
func (s *Source) middle(ctx context.Context, p piece, columns []job.Column) (keyed.Bound, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer c.close()
	r, err := c.planned(p.Shape, columns)
	if err != nil {
		return nil, err
	}
	k, err := c.walked(r, p.Key)
	if err != nil {
		return nil, err
	}
	middle, err := p.Middle(walk{c, k})
	if err == nil && middle == nil {
		err = s.whole(p)
	}
	return middle, err
}

// Locate implements source.Locator: the name is the table with the range.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := s.parsePiece(input)
	if err != nil {
		return source.Location{}, err
	}
	return source.Location{Name: s.place(p), Offset: -1}, nil
}

// place says what a chunk reads, such as "table public.t, id after 5 up to 9".
func (s *Source) place(p piece) string {
	if p.Manner == byBlocks {
		return fmt.Sprintf("%s, blocks %d up to %d", s.cfg.Name(), p.Begin, p.End-1)
	}
	return p.Place(s.cfg.Name(), func(b keyed.Bound) string { return strings.Join(b, ", ") })
}
