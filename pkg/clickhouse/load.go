package clickhouse

import (
	"context"
	"fmt"
	"io"
	"maps"
	"time"

	"drayage/pkg/job"
)

// Load is one INSERT of pre-encoded Native blocks.
type Load struct {
	Table   Table
	Columns []string // those of the body, all of them, plain names
	// Body holds exactly one Native block; with more, a retry that is cut
	// differently would add rows. It is read from where it stands, is never
	// closed, and is not read any more once Load has returned: Load waits for
	// a Read in progress, which therefore must end when the context does. What
	// a Read gives when the context has ended is not sent, so that a load
	// which was held up until then never ends well.
	Body io.Reader
	// Length of Body in bytes, above 0: a body that ends before it is an
	// error and inserts nothing, and what comes after it is not read.
	Length int64
	// Rows in Body. When the server says that it wrote fewer, Load fails
	// with job.Unknown. 0: not checked.
	Rows uint64
	// Token is the insert_deduplication_token, job.Chunk.Token. It is
	// required: the table forgets nothing it was given under the same token,
	// whatever the rows are, within its window.
	Token string
	// QueryID names the query in the server's logs. Made from the token and
	// without the attempt, it makes the server refuse a twin that runs at the
	// same time (code 216, job.SlowDown). "": the server makes one.
	QueryID string
	// Comment goes to the server's query log as log_comment.
	Comment string
	// Timeout bounds the whole insert; 0: the context alone does.
	Timeout time.Duration
	// Settings are added to the pinned ones and override them.
	Settings map[string]string
}

// pinned are the settings of every load. Their defaults moved between versions
// of ClickHouse, and a profile may change them; each of them, left to itself,
// can lose or double rows.
func pinned(known map[string]bool) map[string]string {
	s := map[string]string{
		"async_insert":          "0", // buffered rows are acknowledged before they are there
		"wait_for_async_insert": "1", // and if a profile forces it, wait
		"insert_deduplicate":    "1",
		// Views are fed even when the target found a duplicate: they must
		// look for themselves.
		"deduplicate_blocks_in_dependent_materialized_views": "1",
		// The identity of a block is its place in the insert: one thread,
		// and no squashing of blocks.
		"max_insert_threads":         "1",
		"min_insert_block_size_rows": "0", "min_insert_block_size_bytes": "0",
		"optimize_on_insert": "0", // a Replacing table must not drop rows before they are counted
		"session_timezone":   "UTC",
	}
	for name, value := range optional {
		if known[name] {
			s[name] = value
		}
	}
	return s
}

// optional are pinned settings that not every supported version has.
//
//nolint:gochecknoglobals // a constant table
var optional = map[string]string{
	"deduplicate_insert": "enable", // 26.x: outranks insert_deduplicate
	// A block that spans more than 100 partitions would be refused with 252,
	// the code of a table with too many parts, which is to be retried for
	// ever. It becomes that many parts, each deduplicated by itself.
	"throw_on_max_partitions_per_insert_block": "0",
}

// optionalSettings are all whose presence matters.
func optionalSettings() []string {
	names := append(dropLimits(), deleteMode)
	for name := range optional {
		names = append(names, name)
	}
	return names
}

// Load inserts the body, once for its token. It returns nil when the server
// has acknowledged the rows: they are there now, or were already.
//
// The class of the error is job.Unknown when the whole body was sent and no
// answer came; the rows may be there. It is job.Retry when the connection
// broke while the body was being sent, or the body's own error came up: the
// server has seen a block without its end and inserted nothing. Otherwise it
// is the exception's (see ClassOf).
func (c *Client) Load(ctx context.Context, l Load) error {
	t := c.qualify(l.Table)
	what := "loading into " + t.String()
	if l.Token == "" || len(l.Columns) == 0 || l.Length <= 0 || l.Body == nil {
		return job.WithClass(fmt.Errorf("%s: a load needs a token, columns, a body and its length", what), job.Permanent)
	}
	settings := pinned(c.known)
	settings["insert_deduplication_token"] = l.Token
	if l.Comment != "" {
		settings["log_comment"] = l.Comment
	}
	maps.Copy(settings, l.Settings)

	if l.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout)
		defer cancel()
	}
	sent := &insert{
		statement: "INSERT INTO " + t.SQL() + " (" + quoteNames(l.Columns) + ") FORMAT Native",
		settings:  settings, queryID: l.QueryID,
		body: l.Body, length: l.Length, rows: l.Rows, compression: c.end.compression,
	}
	err := c.call(ctx, what, func() error { return c.wire.insert(ctx, sent) })
	if err != nil {
		return sent.judge(err)
	}
	// 0 is what a server says that does not count; verification does.
	if wrote := sent.wrote.Load(); wrote > 0 && wrote < l.Rows {
		return job.WithClass(fmt.Errorf("%s: the server says it wrote %d of %d rows", what, wrote, l.Rows), job.Unknown)
	}
	return nil
}
