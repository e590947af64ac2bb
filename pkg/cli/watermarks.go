package cli

import (
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"drayage/pkg/queue"
)

func (a *app) watermarks() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watermarks",
		Short: "List how far incremental pipelines have come",
		Long: `List the watermarks of incremental pipelines: where the next job of each goes on,
which job moved it last, and which has claimed it now. A watermark moves only when
its job is verified.`,
		Example: "  dray watermarks\n  dray watermarks forget orders",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, end, err := a.openQueue(cmd.Context())
			if err != nil {
				return err
			}
			defer end()
			all, err := q.Watermarks(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				if all == nil {
					all = []queue.Watermark{}
				}
				return a.printJSON(all)
			}
			if len(all) == 0 {
				fmt.Fprintln(a.Err, "no incremental pipeline has run yet")
				return nil
			}
			var t table
			t.head("PIPELINE", "MOVED", "BY", "CLAIMED BY", "GOES ON AT")
			for _, m := range all {
				moved, by, claim, state := "never", "-", "-", string(m.State)
				if !m.MovedAt.IsZero() {
					moved, by = humanize.Time(m.MovedAt), m.MovedBy
				}
				if m.Job != "" {
					claim = m.Job
				}
				if len(m.Seen) > 0 {
					n := 0
					for _, part := range m.Seen {
						n += part.Count
					}
					state = fmt.Sprintf("after %s inputs", humanize.Comma(int64(n)))
				}
				if state == "" {
					state = "the begin"
				}
				t.add(m.Pipeline, moved, by, claim, oneLine(state, shownError))
			}
			return t.write(a.Out)
		},
	}
	cmd.AddCommand(a.forgetWatermark())
	return cmd
}

func (a *app) forgetWatermark() *cobra.Command {
	var claim bool
	cmd := &cobra.Command{
		Use:   "forget PIPELINE",
		Short: "Forget how far an incremental pipeline has come",
		Long: `Forget how far an incremental pipeline has come: its next job reads everything, as
with --full. With --claim only the claim of a job that did not end well is
forgotten, so that the next job does not take out first what that one has loaded.
With --json it prints the watermark: as it was or, with --claim, as it is now.`,
		Example: "  dray watermarks forget orders",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			q, end, err := a.openQueue(ctx)
			if err != nil {
				return err
			}
			defer end()
			w, rev, err := q.Watermark(ctx, args[0])
			if errors.Is(err, queue.ErrNotFound) {
				return usagef("there is no watermark of a pipeline %s; dray watermarks lists them", args[0])
			}
			if err != nil {
				return err
			}
			if w.Job != "" {
				if j, _, err := q.Job(ctx, w.Job); err == nil && !j.State.Terminal() {
					return usagef("job %s, which is %s, has claimed it; cancel that first", w.Job, j.State)
				}
			}
			said := args[0] + " is forgotten: its next job reads everything"
			if claim {
				w.Job, said = "", args[0]+" is claimed by no job"
				_, err = q.PutWatermark(ctx, w, rev)
			} else {
				err = q.ForgetWatermark(ctx, args[0])
			}
			switch {
			case err != nil:
				return err
			case a.json:
				return a.printJSON(w)
			}
			_, err = fmt.Fprintln(a.Out, said)
			return err
		},
	}
	cmd.Flags().BoolVar(&claim, "claim", false, "only the claim of a job that has ended")
	return cmd
}
