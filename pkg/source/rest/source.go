package rest

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"golang.org/x/time/rate"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Source is the source of an HTTP API. It implements source.Source, holds no
// connection between calls, and may be used by several goroutines, which share
// its rate.
type Source struct {
	cfg     Config // with defaults
	span    span
	want    paths
	url     template
	body    template
	secrets secrets
	limit   *rate.Limiter
	timeout time.Duration

	beat  time.Duration
	now   func() time.Time
	sleep func(context.Context, time.Duration) error
}

var (
	_ source.Source   = (*Source)(nil)
	_ source.Splitter = (*Source)(nil)
	_ source.Locator  = (*Source)(nil)
)

// New returns the source that cfg describes. It makes no request; a cfg that
// does not validate is a source.FieldErrors, marked job.Permanent.
func New(cfg Config) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	s := &Source{
		cfg: cfg.withDefaults(), url: newTemplate(cfg.URL), body: newTemplate(cfg.Body),
		secrets: newSecrets(cfg), beat: heartbeat, now: time.Now, sleep: sleep,
	}
	// What follows was validated.
	s.span, _ = newSpan(cfg.Range)
	s.timeout, _ = parseTimeout(cfg.Timeout)
	s.want.cursor, _ = parsePath(cfg.Paging.Cursor)
	s.want.total, _ = parsePath(cfg.Paging.Total)
	if s.want.values = cfg.Records == "."; !s.want.values {
		s.want.records, _ = parsePath(cfg.Records)
	}
	if perSecond, _ := parseRate(cfg.Rate); perSecond > 0 {
		s.limit = rate.NewLimiter(rate.Limit(perSecond), 1)
	}
	return s, nil
}

// allow waits for the rate.
func (s *Source) allow(ctx context.Context) error {
	if s.limit == nil {
		return ctx.Err()
	}
	return s.limit.Wait(ctx)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cursor is where planning goes on.
type cursor struct {
	Next uint64 `json:"n"`
}

// Plan implements source.Source. It makes no request.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		var at cursor
		if len(from) > 0 {
			if err := json.Unmarshal(from, &at); err != nil {
				yield(source.Planned{}, job.Permanentf("the cursor of an http source does not parse: %w", err))
				return
			}
		}
		for n := at.Next; n < s.span.count(); n++ {
			if ctx.Err() != nil {
				yield(source.Planned{}, context.Cause(ctx))
				return
			}
			input, err := json.Marshal(s.span.at(n))
			next, err2 := json.Marshal(cursor{Next: n + 1})
			if !yield(source.Planned{Input: input, Cursor: next, Inputs: n + 1}, errors.Join(err, err2)) {
				return
			}
		}
	}
}

func parsePart(input json.RawMessage) (part, error) {
	var p part
	if err := json.Unmarshal(input, &p); err != nil {
		return p, job.Permanentf("the input of a chunk of an http source does not parse: %w", err)
	}
	return p, nil
}

// Split implements source.Splitter: a range of more than one day or id is
// halved.
func (s *Source) Split(_ context.Context, input json.RawMessage, _ []job.Column) ([]job.Part, error) {
	p, err := parsePart(input)
	if err != nil {
		return nil, err
	}
	first, second, ok := p.halves()
	if !ok {
		return nil, job.WithClass(source.ErrWhole, job.Permanent)
	}
	a, err := json.Marshal(first)
	b, err2 := json.Marshal(second)
	return []job.Part{{Input: a}, {Input: b}}, errors.Join(err, err2)
}

// Locate implements source.Locator: the address without its query, and the
// range.
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := parsePart(input)
	return source.Location{Name: s.url.place(s.span.vars(p)) + s.span.label(p), Offset: -1}, err
}

// Size implements source.Source: an API does not tell.
func (s *Source) Size(context.Context) int64 { return 0 }

// settings are those that the engine is to read records with. Declared columns
// may leave keys out; where they were inferred, a key that was not seen then is
// an error, and is not dropped.
func (s *Source) settings() map[string]string {
	set := map[string]string{
		"input_format_parallel_parsing":                                  "0",
		"input_format_allow_errors_num":                                  "0",
		"input_format_allow_errors_ratio":                                "0",
		"input_format_null_as_default":                                   "0",
		"date_time_overflow_behavior":                                    "throw",
		"date_time_input_format":                                         "best_effort",
		"input_format_force_null_for_omitted_fields":                     "1",
		"input_format_skip_unknown_fields":                               "0",
		"input_format_json_ignore_unnecessary_fields":                    "0", // else duplicate keys pass
		"input_format_json_ignore_unknown_keys_in_named_tuple":           "0",
		"input_format_json_defaults_for_missing_elements_in_named_tuple": "0",
	}
	if len(s.cfg.Columns) > 0 {
		set["input_format_skip_unknown_fields"] = "1"
		set["input_format_json_ignore_unknown_keys_in_named_tuple"] = "1"
	}
	return set
}
