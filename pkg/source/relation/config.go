package relation

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Config is a source of relations. Its mistakes are source.FieldErrors.
type Config struct {
	// SQL is a SELECT in which {from} and {to} stand for the range of a chunk,
	// and {value} for its value. They are put in as they are: write quotes
	// around dates and text.
	SQL string
	// Range cuts what is read: a chunk a step. Values name one chunk each. At
	// most one of them is set; with none the whole is one chunk.
	Range  *Range
	Values []string
	// Columns, when set, are what the rows are converted to; a value that does
	// not fit fails its chunk.
	Columns  []job.Column
	Settings map[string]string // of the engine, for the SELECT
}

// Range are the integers, or the days, from From up to and without To.
type Range struct {
	From, To string // integers, or days such as 2026-01-31
	Step     uint64 // integers or days of a chunk, from 1
}

// GenerateConfig is a source of synthetic rows.
type GenerateConfig struct {
	Rows uint64 // from 1
	// Select is the list of a SELECT over the column number, a UInt64 from 0
	// to Rows-1, such as "number AS id, toString(number % 7) AS kind".
	Select    string
	ChunkRows uint64 // 0: a million
	Columns   []job.Column
}

// defaultChunkRows is the size of a chunk of synthetic rows.
const defaultChunkRows = 1_000_000

// New returns the source that cfg describes. It asks nobody.
func New(cfg Config) (*Source, error) {
	var wrong source.FieldErrors
	bad := wrong.Bad
	s := &Source{cfg: cfg, name: "query"}
	if strings.TrimSpace(cfg.SQL) == "" {
		bad("sql", "write sql: SELECT * FROM mongodb(…) or any other table function of ClickHouse", "the SELECT is missing")
	}
	ranged := strings.Contains(cfg.SQL, "{from}") && strings.Contains(cfg.SQL, "{to}")
	valued := strings.Contains(cfg.SQL, "{value}")
	switch {
	case cfg.Range != nil && len(cfg.Values) > 0:
		bad("values", "leave one of the two", "there is a range too")
	case cfg.Range != nil:
		steps, err := newSteps(*cfg.Range)
		if err != nil {
			bad("range", "write range: {from: 0, to: 1000000, step: 50000}, or days: {from: 2026-01-01, to: 2026-02-01, step: 1}", "%v", err)
		}
		if s.steps = steps; !ranged {
			bad("sql", "add WHERE id >= {from} AND id < {to}", "it has a range and does not use {from} and {to}")
		}
	case len(cfg.Values) > 0 && !valued:
		bad("sql", "add WHERE tenant = '{value}'", "it has values and does not use {value}")
	case len(cfg.Values) == 0 && valued:
		bad("values", "list the values, a chunk each", "{value} stands for nothing")
	case len(cfg.Values) == 0 && strings.Contains(cfg.SQL, "{from}"):
		bad("range", "write range: {from: 0, to: 1000000, step: 50000}", "{from} stands for nothing")
	}
	if len(wrong) > 0 {
		return nil, job.WithClass(wrong, job.Permanent)
	}
	return s, nil
}

// Generate returns the source of synthetic rows that cfg describes.
func Generate(cfg GenerateConfig) (*Source, error) {
	var wrong source.FieldErrors
	if cfg.Rows == 0 || cfg.Rows > 1<<62 {
		wrong.Bad("rows", "write how many rows are made", "%d is outside 1 to 2^62", cfg.Rows)
	}
	if strings.TrimSpace(cfg.Select) == "" {
		wrong.Bad("select", "write expressions over number, such as select: number AS id, cityHash64(number) % 100 AS v", "it is missing")
	}
	if len(wrong) > 0 {
		return nil, job.WithClass(wrong, job.Permanent)
	}
	if cfg.ChunkRows == 0 {
		cfg.ChunkRows = defaultChunkRows
	}
	return &Source{
		name: "rows",
		cfg: Config{
			SQL: "SELECT " + cfg.Select + " FROM numbers({from}, {to} - {from})", Columns: cfg.Columns,
		},
		steps: &steps{to: int64(cfg.Rows), step: cfg.ChunkRows}, //nolint:gosec // bounded above
	}, nil
}

// steps are the ranges of a Range.
type steps struct {
	from, to int64 // integers, or days since 1970
	step     uint64
	days     bool
}

func newSteps(r Range) (*steps, error) {
	s := &steps{step: r.Step}
	if r.Step == 0 {
		return nil, fmt.Errorf("its step is 0")
	}
	var err error
	if s.from, err = strconv.ParseInt(r.From, 10, 64); err == nil {
		s.to, err = strconv.ParseInt(r.To, 10, 64)
	} else {
		s.days = true
		if s.from, err = day(r.From); err == nil {
			s.to, err = day(r.To)
		}
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q to %q are neither integers nor days", r.From, r.To)
	case s.to <= s.from:
		return nil, fmt.Errorf("its end %s is not after its begin %s", r.To, r.From)
	}
	return s, nil
}

const secondsOfDay = 24 * 60 * 60

func day(text string) (int64, error) {
	t, err := time.Parse(time.DateOnly, text)
	return t.Unix() / secondsOfDay, err
}

// count is the number of steps.
func (s *steps) count() uint64 {
	span := uint64(s.to) - uint64(s.from) //nolint:gosec // to is after from: the difference fits
	return (span-1)/s.step + 1
}

// at is the n-th step.
func (s *steps) at(n uint64) (from, to string) {
	a := s.from + int64(n*s.step) //nolint:gosec // below to
	b := s.to
	if left := uint64(s.to) - uint64(a); left > s.step { //nolint:gosec // a is below to
		b = a + int64(s.step) //nolint:gosec // below to
	}
	return s.text(a), s.text(b)
}

func (s *steps) text(n int64) string {
	if s.days {
		return time.Unix(n*secondsOfDay, 0).UTC().Format(time.DateOnly)
	}
	return strconv.FormatInt(n, 10)
}
