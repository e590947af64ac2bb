package clickhouse

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/native"
)

// The native protocol carries blocks; a client makes text of them itself. This
// one lets the server do it, which knows how: each block of a result is sent
// back as a table of one statement, and comes again as text.

// rowFormats are the formats whose text is that of the rows, one after the
// other, with what heads them: nothing, or the names, or the names and types of
// the columns, each in a row of the plain format.
//
//nolint:gochecknoglobals // a constant table
var rowFormats = func() map[string]rowFormat {
	all := map[string]rowFormat{"JSON": {rows: "JSONEachRow", document: true}}
	for _, name := range []string{"TSKV", "RowBinary", "RawBLOB", "LineAsString", "MsgPack", "JSONEachRow", "JSONLines", "NDJSON", "PrettyJSONEachRow", "JSONStringsEachRow"} {
		all[name] = rowFormat{rows: name}
	}
	for _, name := range []string{"TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONCompactEachRow", "JSONCompactStringsEachRow", "CustomSeparated"} {
		all[name] = rowFormat{rows: name}
		all[name+"WithNames"] = rowFormat{rows: name, names: true}
		all[name+"WithNamesAndTypes"] = rowFormat{rows: name, names: true, types: true}
	}
	return all
}()

type rowFormat struct {
	rows         string // the format of the rows
	names, types bool
	document     bool // one JSON document
}

// Writes reports whether Query can write a format. Over HTTP it can write all
// that the server knows. Over the native protocol it can write Native, Null,
// the formats of rows (TabSeparated, CSV and JSONCompactEachRow, with names and
// types too, JSONEachRow, RowBinary, …), and JSON.
func (c *Client) Writes(format string) bool {
	_, ok := rowFormats[format]
	return ok || !c.end.native() || format == "Native" || format == "Null"
}

// text writes the result of a statement in a format of rows.
func (w *nativeWire) text(ctx context.Context, s statement, format string, to io.Writer) error {
	f, ok := rowFormats[format]
	if !ok {
		return job.WithClass(fmt.Errorf("the native protocol carries no text, and rows can not be written as %s one by one: use a format such as JSONEachRow, CSVWithNames or TabSeparatedWithNames, or http://", format), job.Permanent)
	}
	out := &textWriter{wire: w, format: f, settings: formatSettings(s.sql), to: bufio.NewWriterSize(to, 64<<10)}
	err := w.with(ctx, s.database, func(n *nativeConn) error {
		if err := n.query(query{span: spanOf(ctx), sql: s.sql, settings: s.settings}); err != nil {
			return err
		}
		return n.receive(func() error { return errors.Join(out.block(ctx, n), n.noRows()) })
	})
	if err != nil {
		return err
	}
	return out.end()
}

// textWriter makes text of blocks.
type textWriter struct {
	wire     *nativeWire
	format   rowFormat
	settings map[string]string // how to write values
	to       *bufio.Writer
	begun    bool // what heads the rows was written
	plain    bool // the text is the values as they are
	comma    bool // there was a row in the document
	rows     uint64
}

// block reads a block and writes its text.
func (t *textWriter) block(ctx context.Context, n *nativeConn) error {
	if t.plain {
		if err := t.values(n); err != nil {
			return err
		}
		return t.to.Flush()
	}
	if err := skipInfo(n.in); err != nil {
		return err
	}
	empty, err := emptyBlock(n.in)
	if err != nil {
		return err
	}
	if empty {
		b, err := native.Copy(io.Discard, n.in)
		if err != nil || len(b.Columns) == 0 {
			return err
		}
		return t.begin(ctx, b.Columns)
	}
	err = t.render(ctx, "SELECT formatRow("+quoteString(t.format.rows)+", *) FROM "+externalTable, func(to *packet) error {
		b, err := native.Copy(to, n.in)
		if err != nil {
			return readable(err)
		}
		t.rows += b.Rows
		return t.begin(ctx, b.Columns)
	})
	if err != nil {
		return err
	}
	return t.to.Flush()
}

// externalTable is the name of a block that is sent with a statement.
const externalTable = "_dray_block"

// render runs a statement whose result is text, with a block as a table or nil,
// and writes the text.
func (t *textWriter) render(ctx context.Context, sql string, block func(*packet) error) error {
	return t.wire.with(ctx, "", func(n *nativeConn) error {
		// One thread and one block: the rows keep their order.
		settings := maps.Clone(t.settings)
		maps.Copy(settings, map[string]string{"max_threads": "1", "max_block_size": "1000000000", "max_result_rows": "0", "max_result_bytes": "0"})
		if err := n.query(query{span: spanOf(ctx), sql: sql, settings: settings, block: block}); err != nil {
			return err
		}
		return n.receive(func() error { return t.values(n) })
	})
}

// values reads a block of text and writes it.
func (t *textWriter) values(n *nativeConn) error {
	return n.rows(func(scan scanner) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		return t.write(text)
	})
}

// begin writes what heads the rows.
func (t *textWriter) begin(ctx context.Context, columns []native.Column) error {
	if t.begun {
		return nil
	}
	t.begun = true
	t.plain = t.format.rows == "RawBLOB" && len(columns) == 1 && columns[0].Type == "String"
	if t.format.document {
		meta := make([]map[string]string, len(columns))
		for i, c := range columns {
			meta[i] = map[string]string{"name": c.Name, "type": c.Type}
		}
		text, err := json.Marshal(meta)
		if err != nil {
			return fmt.Errorf("writing the columns: %w", err)
		}
		_, err = fmt.Fprintf(t.to, "{\"meta\":%s,\"data\":[", text)
		return err
	}
	var heads [][]string
	if t.format.names {
		heads = append(heads, make([]string, len(columns)))
		for i, c := range columns {
			heads[0][i] = c.Name
		}
	}
	if t.format.types {
		heads = append(heads, make([]string, len(columns)))
		for i, c := range columns {
			heads[1][i] = c.Type
		}
	}
	for _, head := range heads {
		if err := t.render(ctx, "SELECT formatRow("+quoteString(t.format.rows)+", "+quoteStrings(head)+")", nil); err != nil {
			return err
		}
	}
	return nil
}

// write writes the text of a row.
func (t *textWriter) write(text string) error {
	if t.format.document {
		text = strings.TrimSuffix(text, "\n")
		if t.comma {
			text = "," + text
		}
		t.comma = true
	}
	_, err := t.to.WriteString(text)
	return err
}

// end writes what ends the rows. A statement without a result has no text.
func (t *textWriter) end() error {
	if t.format.document && t.begun {
		if _, err := fmt.Fprintf(t.to, "],\"rows\":%d}\n", t.rows); err != nil {
			return err
		}
	}
	return t.to.Flush()
}
