package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"drayage/pkg/local"
)

// maxQuery bounds a query read from standard input, in bytes.
const maxQuery = 16 << 20

func (a *app) sql() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "sql [QUERY]",
		Short: "Run a query in the ClickHouse that dray run loads into",
		Long: `Run one query in DRAY_CLICKHOUSE_URL or, where that is not set, in the embedded
ClickHouse of dray run. Without QUERY, or with -, it is read from standard input.

Over the native protocol (clickhouse://) the result is written as Native, JSON,
or a format of rows: TabSeparated, CSV, JSONEachRow, RowBinary, ….`,
		Example: `  dray sql 'SELECT count() FROM flights'
  dray sql 'SELECT * FROM flights' --format CSVWithNames > flights.csv
  dray sql < report.sql`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", "output format of ClickHouse (default PrettyCompactMonoBlock on a terminal, else TabSeparatedWithNames)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var query string
		if len(args) == 1 && args[0] != "-" {
			query = args[0]
		} else {
			text, err := io.ReadAll(io.LimitReader(a.In, maxQuery+1))
			if err != nil {
				return fmt.Errorf("reading the query: %w", err)
			}
			if len(text) > maxQuery {
				return usagef("the query is longer than %d bytes", maxQuery)
			}
			query = string(text)
		}
		if strings.TrimSpace(query) == "" {
			return usagef("there is no query; write dray sql 'SELECT 1'")
		}
		client, end, err := local.OpenClickHouse(cmd.Context(), a.cfg, a.log)
		if err != nil {
			return err
		}
		defer end()
		const pretty = "PrettyCompactMonoBlock"
		switch {
		case format != "":
		case a.json:
			format = "JSON"
		case terminal(a.Out) && client.Writes(pretty):
			format = pretty
		default:
			format = "TabSeparatedWithNames"
		}
		return client.Query(cmd.Context(), query, format, a.Out)
	}
	return cmd
}
