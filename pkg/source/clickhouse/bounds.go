package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

var _ source.Incremental = (*Source)(nil)

// Bounds implements source.Incremental, by Config.Watermark.
func (s *Source) Bounds(ctx context.Context, state json.RawMessage) (bounds, next json.RawMessage, err error) {
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	rel, err := s.relation(client)
	if err != nil {
		return nil, nil, err
	}
	type answer struct {
		Latest *string `json:"latest"`
		Type   string  `json:"type"`
	}
	column := identifier(s.cfg.Watermark.Column)
	where := ""
	if s.cfg.Where != "" {
		where = " WHERE " + s.cfg.Where
	}
	found, err := rows[answer](ctx, client, fmt.Sprintf("SELECT toString(maxOrNull(%[1]s)) AS latest, toTypeName(any(%[1]s)) AS type FROM %[2]s%[3]s", column, rel, where))
	if err == nil && len(found) != 1 {
		err = job.Retryf("ClickHouse gave %d rows for one", len(found))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("asking for the largest %s of %s: %w", s.cfg.Watermark.Column, s.name(), err)
	}
	return source.After(state, found[0].Latest, func(value string) (*string, error) {
		return s.back(value, found[0].Type, func(query string) ([]struct{ V *string }, error) {
			return rows[struct{ V *string }](ctx, client, query)
		})
	})
}

// back takes the lookback off a value.
func (s *Source) back(value, typ string, ask func(string) ([]struct{ V *string }, error)) (*string, error) {
	l := s.cfg.Watermark.Lookback
	if l.N == 0 {
		return &value, nil
	}
	by := fmt.Sprint(l.N)
	if l.Unit != "" {
		by = fmt.Sprintf("INTERVAL %d %s", l.N, strings.ToUpper(l.Unit))
	}
	found, err := ask(fmt.Sprintf("SELECT toString(accurateCastOrNull(CAST(%[1]s, %[2]s) - %[3]s, %[2]s)) AS V", literal(value), literal(typ), by))
	if err == nil && len(found) != 1 {
		err = job.Retryf("ClickHouse gave %d rows for one", len(found))
	}
	if err != nil {
		return nil, fmt.Errorf("looking %s back from %s: %w", strings.TrimSpace(fmt.Sprint(l.N, " ", l.Unit)), value, err)
	}
	return found[0].V, nil
}

// whole reports whether what the bounds leave of the table is little enough for
// one chunk, and whether it is anything.
func (s *Source) whole(ctx context.Context) (one, some bool, err error) {
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		return false, false, err
	}
	defer end()
	rel, err := s.relation(client)
	if err != nil {
		return false, false, err
	}
	found, err := rows[size](ctx, client, fmt.Sprintf("SELECT toString(count()) AS rows, '0' AS bytes FROM %s WHERE %s", rel, strings.Join(s.filters(), " AND ")))
	if err != nil || len(found) != 1 {
		return false, false, fmt.Errorf("counting what is new in %s: %w", s.name(), err)
	}
	n := found[0].Rows
	if s.cfg.Query != "" || n == 0 {
		return true, n > 0, nil
	}
	if s.cfg.ChunkRows > 0 {
		return n <= s.cfg.ChunkRows, true, nil
	}
	all, err := s.measure(ctx, client)
	if err != nil {
		return false, false, err
	}
	return n*(all.Bytes/max(all.Rows, 1)+1) <= uint64(max(s.cfg.ChunkBytes, 1)), true, nil //nolint:gosec // not negative
}

// filters are the conditions of the configuration and of the bounds.
func (s *Source) filters() []string {
	var all []string
	if s.cfg.Where != "" {
		all = append(all, "("+s.cfg.Where+"\n)")
	}
	if w := s.span.Where(identifier(s.cfg.Watermark.Column), literal); w != "" {
		all = append(all, "("+w+")")
	}
	return all
}
