package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

const (
	sampleBytes  = 1 << 20 // that the engine infers columns from
	sampleChunks = 16      // that are looked at for a record
)

// Columns implements source.Source. It reads the first page, also where the
// columns are declared, so that what is wrong with the credentials or the paths
// is known before anything runs. Empty chunks are passed over, up to 16.
func (s *Source) Columns(ctx context.Context, eng source.Engine) ([]job.Column, error) {
	seen := 0
	for p, err := range s.Plan(ctx, nil, nil) {
		if err != nil {
			return nil, err
		}
		sample, err := s.sample(ctx, p)
		if err != nil {
			return nil, err
		}
		switch seen++; {
		case len(s.cfg.Columns) > 0:
			return slices.Clone(s.cfg.Columns), s.checkDeclared(sample)
		case len(sample) > 0:
			return s.infer(ctx, eng, sample)
		}
		if seen == sampleChunks {
			break
		}
	}
	return nil, job.Permanentf("%s: the first %d chunks have no records, so the columns can not be inferred: declare columns", s.url.place(nil), seen)
}

// sample reads the first records of a chunk, whole ones.
func (s *Source) sample(ctx context.Context, p source.Planned) ([]byte, error) {
	in, err := s.Open(ctx, p.Input, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was only read
	r := in.Reader.(*records)
	for r.out.Len() == 0 { // the first pages of a cursor may be empty
		if err := r.fill(sampleBytes); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, r.wrap(err)
		}
	}
	return r.out.Bytes(), nil
}

// checkDeclared refuses declared columns of which the first record has none.
func (s *Source) checkDeclared(sample []byte) error {
	first, _, _ := bytes.Cut(sample, []byte("\n"))
	var record map[string]json.RawMessage
	if len(first) == 0 {
		return nil
	}
	if err := json.Unmarshal(first, &record); err != nil {
		return job.Permanentf("%s: the first record is no JSON object: %w", s.url.place(nil), err)
	}
	if len(record) == 0 {
		return nil
	}
	for _, c := range s.cfg.Columns {
		if _, ok := record[c.Name]; ok {
			return nil
		}
	}
	keys := slices.Sorted(maps.Keys(record))
	more := ""
	if len(keys) > maxKeys {
		keys, more = keys[:maxKeys], ", …"
	}
	for i, k := range keys {
		keys[i] = k[:min(len(k), maxKey)]
	}
	return job.Permanentf("%s: the first record has none of the declared columns, but %s%s: check columns and records", s.url.place(nil), strings.Join(keys, ", "), more)
}

// infer asks the engine for the columns of records.
func (s *Source) infer(ctx context.Context, eng source.Engine, sample []byte) ([]job.Column, error) {
	if eng == nil {
		return nil, errors.New("columns can not be inferred without an engine")
	}
	set := s.settings()
	set["print_pretty_type_names"] = "0"
	set["max_query_size"] = fmt.Sprint(4*len(sample) + 1<<20)
	columns, err := eng.Describe(ctx, "format(JSONEachRow, "+literal(string(sample))+")", set)
	if err != nil {
		return nil, fmt.Errorf("inferring the columns of %s: %w", s.url.place(nil), err)
	}
	if len(columns) == 0 {
		return nil, job.Permanentf("%s: the engine finds no columns in the records: declare columns", s.url.place(nil))
	}
	return columns, nil
}

// literal quotes s for ClickHouse SQL.
func literal(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
