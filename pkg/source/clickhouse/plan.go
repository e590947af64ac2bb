package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	ch "drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

const (
	// borderBatch is how many borders are asked for at a time.
	borderBatch = 1_000
	// maxKey bounds a value of the key in a border, in bytes; a longer one is
	// no border.
	maxKey = 200
	// maxKeys is how many columns of a primary key are looked at.
	maxKeys = 4
)

// part is what a chunk says about its input: the rows with From <= Key < To.
type part struct {
	Key   []key    `json:"k,omitempty"`
	From  []string `json:"a,omitempty"` // none: from the first
	To    []string `json:"z,omitempty"` // none: to the last
	Bytes int64    `json:"b,omitempty"`
}

// key is a column of the primary key, or an expression.
type key struct {
	SQL  string `json:"s"`
	Type string `json:"t"`
}

// cursor is where planning goes on.
type cursor struct {
	From []string `json:"a,omitempty"`
	N    uint64   `json:"n"` // chunks planned
	Done bool     `json:"d,omitempty"`
}

func parse(input json.RawMessage) (part, error) {
	var p part
	if err := json.Unmarshal(input, &p); err != nil {
		return p, job.Permanentf("the input of a chunk of ClickHouse does not parse: %w", err)
	}
	return p, nil
}

// tuple writes the key.
func tuple(keys []key) string {
	sql := make([]string, len(keys))
	for i, k := range keys {
		sql[i] = k.SQL
	}
	return "tuple(" + strings.Join(sql, ", ") + ")"
}

// border writes a value of the key.
func border(keys []key, values []string) string {
	sql := make([]string, len(values))
	for i, v := range values {
		sql[i] = fmt.Sprintf("CAST(%s, %s)", literal(v), literal(keys[i].Type))
	}
	return "tuple(" + strings.Join(sql, ", ") + ")"
}

func (p part) conditions() []string {
	var all []string
	if len(p.From) > 0 {
		all = append(all, tuple(p.Key)+" >= "+border(p.Key, p.From))
	}
	if len(p.To) > 0 {
		all = append(all, tuple(p.Key)+" < "+border(p.Key, p.To))
	}
	return all
}

// size is what a table holds.
type size struct {
	Rows  uint64 `json:"rows,string"`
	Bytes uint64 `json:"bytes,string"`
}

func (s *Source) measure(ctx context.Context, client *ch.Client) (size, error) {
	t, err := ch.ParseTable(s.cfg.Table, client.Database())
	if err != nil {
		return size{}, err
	}
	found, err := rows[size](ctx, client, fmt.Sprintf(
		"SELECT toString(sum(rows)) AS rows, toString(sum(data_uncompressed_bytes)) AS bytes FROM system.parts WHERE active AND database = %s AND table = %s",
		literal(t.Database), literal(t.Name)))
	if err != nil || len(found) == 0 {
		return size{}, fmt.Errorf("asking for the size of %s: %w", t, err)
	}
	return found[0], nil
}

// Plan implements source.Source. Borders of chunks are entries of the index,
// so a table with no row inserted between two plans has the same chunks.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, _ []job.Column) iter.Seq2[source.Planned, error] {
	return func(yield func(source.Planned, error) bool) {
		var at cursor
		if len(from) > 0 {
			if err := json.Unmarshal(from, &at); err != nil {
				yield(source.Planned{}, job.Permanentf("the cursor of a table of ClickHouse does not parse: %w", err))
				return
			}
		}
		if err := s.plan(ctx, at, yield); err != nil {
			yield(source.Planned{}, err)
		}
	}
}

func (s *Source) plan(ctx context.Context, at cursor, yield func(source.Planned, error) bool) error {
	if s.span != nil && at.N == 0 {
		one, some, err := s.whole(ctx)
		if err != nil || !some {
			return err
		}
		if one {
			input, err := json.Marshal(part{})
			next, err2 := json.Marshal(cursor{N: 1, Done: true})
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			yield(source.Planned{Input: input, Cursor: next, Inputs: 1}, nil)
			return nil
		}
	}
	for !at.Done {
		keys, borders, each, err := s.borders(ctx, at.From)
		if err != nil {
			return err
		}
		for _, b := range append(borders, nil) {
			if b == nil && len(borders) == borderBatch {
				break // there may be more
			}
			if slices.Equal(b, at.From) && b != nil {
				continue
			}
			p := part{From: at.From, To: b, Bytes: each}
			if at.From != nil || b != nil {
				p.Key = keys
			}
			at = cursor{From: b, N: at.N + 1, Done: b == nil}
			input, err := json.Marshal(p)
			next, err2 := json.Marshal(at)
			if err := errors.Join(err, err2); err != nil {
				return err
			}
			if !yield(source.Planned{Input: input, Cursor: next, Bytes: each, Inputs: 1}, nil) {
				return nil
			}
		}
	}
	return nil
}

// borders returns the next borders after one, and about how many bytes a chunk
// between two has. None: the rest is one chunk.
func (s *Source) borders(ctx context.Context, after []string) (keys []key, borders [][]string, each int64, err error) {
	if s.cfg.Query != "" {
		return nil, nil, 0, nil
	}
	ctx, client, end, err := s.connect(ctx)
	if err != nil {
		return nil, nil, 0, err
	}
	defer end()
	all, err := s.measure(ctx, client)
	if err != nil {
		return nil, nil, 0, err
	}
	t, err := ch.ParseTable(s.cfg.Table, client.Database())
	if err != nil {
		return nil, nil, 0, err
	}
	perRow := max(1, all.Bytes/max(1, all.Rows))
	count := s.cfg.ChunkRows
	if count == 0 {
		count = max(1, uint64(max(1, s.cfg.ChunkBytes))/perRow) //nolint:gosec // not negative
	}
	each = int64(min(count, all.Rows) * perRow) //nolint:gosec // below the size of the table
	if keys, err = s.keys(ctx, client, t); err != nil || len(keys) == 0 || all.Rows <= count {
		return keys, nil, each, err
	}
	texts := make([]string, len(keys))
	names := make([]string, len(keys))
	for i := range keys {
		texts[i] = fmt.Sprintf("toString(k.%d)", i+1)
		names[i] = identifier(keys[i].name())
	}
	rest := "1"
	if len(after) > 0 {
		rest = "k > " + border(keys, after)
	}
	// The first entries of the granules, in the order of the key over all
	// parts; every count rows one is a border, counted from the beginning each
	// time, so that a plan that goes on has the same. Before the first entry of all there is
	// nothing, so it is none.
	found, err := rows[struct{ B []string }](ctx, client, fmt.Sprintf(`SELECT [%s] AS B FROM (
  SELECT min(k) AS k FROM (
    SELECT k, sum(rows_in_granule) OVER (ORDER BY k ROWS UNBOUNDED PRECEDING) - rows_in_granule AS before
    FROM (SELECT tuple(%s) AS k, rows_in_granule FROM mergeTreeIndex(%s, %s) WHERE rows_in_granule > 0)
    WHERE arrayAll(x -> length(x) <= %d, [%s])
  ) GROUP BY intDiv(before, %d) AS n HAVING n > 0 AND %s ORDER BY n LIMIT %d
)`, strings.Join(texts, ", "), strings.Join(names, ", "), literal(t.Database), literal(t.Name),
		maxKey, strings.Join(texts, ", "), count, rest, borderBatch))
	if err != nil {
		return nil, nil, 0, fmt.Errorf("reading the index of %s: %w", t, err)
	}
	for _, f := range found {
		borders = append(borders, f.B)
	}
	return keys, borders, each, nil
}

// name is the key's name in mergeTreeIndex.
func (k key) name() string {
	if strings.HasPrefix(k.SQL, "`") {
		return strings.NewReplacer("\\`", "`", `\\`, `\`).Replace(k.SQL[1 : len(k.SQL)-1])
	}
	return k.SQL
}

// ordered are the types whose values are all equal to themselves and in one
// order: not those with NULL or NaN, which no range has.
var ordered = []string{"Int", "UInt", "Date", "String", "FixedString", "LowCardinality(String)", "UUID", "Decimal", "Enum", "IPv4", "IPv6", "Bool"}

// keys are the columns of the primary key, as far as a table can be cut by them.
func (s *Source) keys(ctx context.Context, client *ch.Client, t ch.Table) ([]key, error) {
	engines, err := rows[struct{ Engine string }](ctx, client, fmt.Sprintf("SELECT engine AS Engine FROM system.tables WHERE database = %s AND name = %s", literal(t.Database), literal(t.Name)))
	if err != nil {
		return nil, fmt.Errorf("asking for the engine of %s: %w", t, err)
	}
	if len(engines) == 0 || !strings.HasSuffix(engines[0].Engine, "MergeTree") {
		return nil, nil
	}
	index, err := rows[job.Column](ctx, client, fmt.Sprintf("DESCRIBE TABLE mergeTreeIndex(%s, %s) SETTINGS describe_compact_output = 1", literal(t.Database), literal(t.Name)))
	if err != nil {
		return nil, fmt.Errorf("asking for the primary key of %s: %w", t, err)
	}
	columns, err := rows[job.Column](ctx, client, "DESCRIBE TABLE "+t.SQL()+" SETTINGS describe_compact_output = 1")
	if err != nil {
		return nil, fmt.Errorf("asking for the columns of %s: %w", t, err)
	}
	var keys []key
	for _, c := range index {
		if slices.Contains([]string{"part_name", "mark_number", "rows_in_granule"}, c.Name) {
			continue
		}
		// In the index the columns that no part has an entry for may be Nullable.
		plain := slices.IndexFunc(columns, func(o job.Column) bool { return o.Name == c.Name })
		k := key{SQL: c.Name, Type: c.Type}
		if plain >= 0 {
			k = key{SQL: identifier(c.Name), Type: columns[plain].Type}
		}
		if len(keys) == maxKeys || !slices.ContainsFunc(ordered, func(p string) bool { return strings.HasPrefix(k.Type, p) }) {
			break
		}
		keys = append(keys, k)
	}
	return keys, nil
}
