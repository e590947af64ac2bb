package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// listedRejects bounds the rows of a table of rejects, unless -n says otherwise.
const listedRejects = 20

func (a *app) rejects() *cobra.Command {
	var chunk, column, reason string
	var limit int
	var group, raw bool
	cmd := &cobra.Command{
		Use:   "rejects JOB",
		Short: "Show the rows of a job in quarantine, with the reason",
		Long: `Show the rows of a job that are in quarantine: records that could not be read, and
records with a value that did not fit its column. A record stands there once for
each such value. --group counts them by column and reason.

--raw writes nothing but the records, as they stand in the input, each once: mend
them and load them by hand. dray retry --rejects loads them after the pipeline was
mended. With --json each row, or group, is an object on a line of its own.`,
		Example: `  dray rejects last --group
  dray rejects last --column delay -n 100
  dray rejects last --raw > mend.csv`,
		Args: cobra.ExactArgs(1),
	}
	cmd.ValidArgsFunction = a.completeJobs(1, hasRejects)
	cmd.Flags().StringVar(&chunk, "chunk", "", "only those of this chunk")
	cmd.Flags().StringVar(&column, "column", "", "only those with a value that did not fit this column")
	cmd.Flags().StringVar(&reason, "reason", "", "only those with this text in their reason, in any case")
	cmd.Flags().IntVarP(&limit, "limit", "n", listedRejects, "at most so many rows or groups; 0: all. With --raw and --json all, unless it is given")
	cmd.Flags().BoolVar(&group, "group", false, "count them by column and reason, with an example of each")
	cmd.Flags().BoolVar(&raw, "raw", false, "write only the records as they stand in the input")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		f := clickhouse.RejectFilter{Column: column, Reason: reason}
		if chunk != "" {
			n, err := parseChunk(chunk)
			if err != nil {
				return err
			}
			f.Chunk = &n
		}
		switch {
		case limit < 0:
			return usagef("--limit %d: it is 0 or more", limit)
		case raw && (a.json || group):
			return usagef("--raw writes records and nothing else; leave out --json and --group")
		case group && f != clickhouse.RejectFilter{}:
			return usagef("--group counts all rows of the job; leave out --chunk, --column and --reason")
		}
		if (a.json || raw) && !cmd.Flags().Changed("limit") {
			limit = 0
		}
		s, j, err := a.openJob(ctx, args[0], true)
		if err != nil {
			return err
		}
		defer s.close()
		f.Job = j.ID
		switch {
		case group:
			return a.groupRejects(ctx, s.clickhouse, j, limit)
		case raw:
			return a.rawRejects(ctx, s.clickhouse, f, limit)
		}
		return a.listRejects(ctx, s.clickhouse, j, f, limit)
	}
	return cmd
}

func (a *app) listRejects(ctx context.Context, ch *clickhouse.Client, j job.Job, f clickhouse.RejectFilter, limit int) error {
	narrow := f != clickhouse.RejectFilter{Job: j.ID}
	if limit > 0 {
		f.Limit = uint64(limit) + 1 // to know whether there are more
	}
	var t table
	n, cut := 0, false
	err := ch.Rejects(ctx, f, func(r clickhouse.RejectRow) error {
		if cut = limit > 0 && n == limit; cut {
			return clickhouse.ErrStop
		}
		if n++; a.json {
			return a.printLine(r)
		}
		if n == 1 {
			t.head("CHUNK", "RECORD", "INPUT", "OFFSET", "COLUMN", "REASON", "RAW")
		}
		t.add(fmt.Sprint(r.Chunk), fmt.Sprint(r.Record), oneLine(r.Input, a.width()/3), offset(r.Offset),
			r.Column, oneLine(r.Reason, a.width()/2), a.shownRaw(r.Reject))
		if n%flushEvery == 0 {
			err := t.write(a.Out)
			t = table{}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.write(a.Out); err != nil || a.json {
		return err
	}
	switch {
	case cut:
		fmt.Fprintln(a.Err, "and more; -n 0 shows all, --group counts them")
	case n == 0 && !narrow:
		return a.noRejects(j)
	case n == 0:
		fmt.Fprintf(a.Err, "no row of job %s in quarantine is like that\n", j.ID)
	}
	return nil
}

// flushEvery bounds the rows that a table keeps to align its columns.
const flushEvery = 1000

// noRejects says that there are none, and why there are none any more.
func (a *app) noRejects(j job.Job) error {
	switch {
	case a.json:
	case !j.UndoneAt.IsZero():
		fmt.Fprintf(a.Err, "no row of job %s is in quarantine any more: it was undone\n", j.ID)
	default:
		fmt.Fprintf(a.Err, "no row of job %s is in quarantine\n", j.ID)
	}
	return nil
}

func (a *app) groupRejects(ctx context.Context, ch *clickhouse.Client, j job.Job, limit int) error {
	if limit == 0 {
		limit = maxGroups
	}
	groups, err := ch.RejectGroups(ctx, j.ID, limit)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return a.noRejects(j)
	}
	if a.json {
		for _, g := range groups {
			if err := a.printLine(g); err != nil {
				return err
			}
		}
		return nil
	}
	var t table
	t.head("ROWS", "COLUMN", "REASON", "FIRST", "RAW")
	for _, g := range groups {
		t.add(humanize.Comma(int64(g.Rows)), g.Column, oneLine(g.Reason, a.width()/2),
			fmt.Sprintf("chunk %d record %d", g.First.Chunk, g.First.Record), a.shownRaw(g.First.Reject))
	}
	return t.write(a.Out)
}

// maxGroups bounds the groups of rejects that are held at once.
const maxGroups = 10_000

// rawRejects writes each record once, however many of its values did not fit.
func (a *app) rawRejects(ctx context.Context, ch *clickhouse.Client, f clickhouse.RejectFilter, limit int) error {
	type at struct{ chunk, record uint64 }
	var last at
	written, cut := 0, 0
	err := ch.Rejects(ctx, f, func(r clickhouse.RejectRow) error {
		now := at{r.Chunk, r.Record}
		if now == last && written+cut > 0 {
			return nil
		}
		if limit > 0 && written == limit {
			return clickhouse.ErrStop
		}
		last = now
		if r.Cut {
			cut++
			return nil
		}
		written++
		_, err := io.WriteString(a.Out, r.Raw+"\n")
		return err
	})
	if err != nil {
		return err
	}
	if cut > 0 {
		fmt.Fprintf(a.Err, "%d records are left out: quarantine has only the first %s of each\n", cut, humanize.IBytes(job.MaxRaw))
	}
	if written == 0 {
		fmt.Fprintf(a.Err, "no such row of job %s is in quarantine\n", f.Job)
	}
	return nil
}

// rawWidth is the share of a line that a raw record may take at least, in
// characters.
const rawWidth = 24

func (a *app) shownRaw(r job.Reject) string {
	s := oneLine(r.Raw, max(rawWidth, a.width()/2))
	if r.Cut {
		s += " (cut)"
	}
	return s
}

// offset is where a record begins in its file, "" when that can not be told.
func offset(n int64) string {
	if n < 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}
