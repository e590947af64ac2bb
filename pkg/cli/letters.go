package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"drayage/coordinator"
	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// letters reads the dead letters of a job.
func (a *app) letters(q *queue.Queue, j job.Job) coordinator.Letters {
	return coordinator.Letters{Queue: q, Job: j, Place: coordinator.Places(j, a.with.Sources, a.cfg.Rules)}
}

// choiceFlags adds the flags of a choice to a command.
func choiceFlags(cmd *cobra.Command) *coordinator.Choice {
	c := &coordinator.Choice{}
	reasons := coordinator.Reasons()
	cmd.Flags().Var((*ordinals)(&c.Chunks), "chunk", "only this chunk; may be repeated")
	cmd.Flags().StringVar(&c.Error, "error", "", "only those with this text in their error, in any case")
	cmd.Flags().StringVar(&c.Reason, "reason", "", "only those with this reason: "+strings.Join(reasons, ", "))
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasons, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

func checkChoice(c *coordinator.Choice) error {
	if reasons := coordinator.Reasons(); c.Reason != "" && !slices.Contains(reasons, c.Reason) {
		return usagef("--reason %s: it is one of %s", c.Reason, strings.Join(reasons, ", "))
	}
	return nil
}

// noLetter adds to an error about a chunk without a dead letter where to look.
func noLetter(err error) error {
	var missing *coordinator.LetterError
	switch {
	case !errors.As(err, &missing):
		return err
	case missing.By != "":
		return hinted(err, "dray show %s", missing.By)
	}
	return hinted(err, "dray dead list %s", missing.Job)
}

// ordinals are the values of a flag that may be repeated: numbers of chunks.
type ordinals []uint64

// String, Set and Type implement pflag.Value.
func (o *ordinals) String() string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint([]uint64(*o)), " ", ","), "[]")
}

func (o *ordinals) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		n, err := parseChunk(part)
		if err != nil {
			return err
		}
		*o = append(*o, n)
	}
	return nil
}

func (o *ordinals) Type() string { return "N" }

func parseChunk(s string) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil || n > job.MaxOrdinal {
		return 0, usagef("%q is not the number of a chunk", s)
	}
	return n, nil
}
