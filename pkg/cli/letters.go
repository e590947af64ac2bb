package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"drayage/pkg/job"
	"drayage/pkg/queue"
)

// letter is a dead letter, with what has become of its chunk since.
type letter struct {
	job.Dead
	Place       string `json:"place"`                      // of its input, for a person
	TakenOverBy string `json:"taken_over_by,omitempty"`    // the job that replays it
	Loaded      bool   `json:"loaded_after_all,omitempty"` // by a worker that was thought lost
}

// choice says which dead letters of a job are meant. Its zero value means those
// that nobody has taken care of.
type choice struct {
	chunks []uint64
	error  string
	reason string
	all    bool // also those that somebody has taken care of
}

// choiceFlags adds the flags of a choice to a command.
func choiceFlags(cmd *cobra.Command) *choice {
	c := &choice{}
	cmd.Flags().Var((*ordinals)(&c.chunks), "chunk", "only this chunk; may be repeated")
	cmd.Flags().StringVar(&c.error, "error", "", "only those with this text in their error, in any case")
	cmd.Flags().StringVar(&c.reason, "reason", "", "only those with this reason: "+strings.Join(deadReasons(), ", "))
	_ = cmd.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(deadReasons(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c
}

func deadReasons() []string {
	return []string{job.ReasonPermanent, job.ReasonAttempts, job.ReasonRejects, job.ReasonTooBig}
}

func (c *choice) validate() error {
	if c.reason != "" && !slices.Contains(deadReasons(), c.reason) {
		return usagef("--reason %s: it is one of %s", c.reason, strings.Join(deadReasons(), ", "))
	}
	return nil
}

// narrow reports whether some letters are chosen rather than all.
func (c *choice) narrow() bool { return len(c.chunks) > 0 || c.error != "" || c.reason != "" }

func (c *choice) matches(d job.Dead) bool {
	return (len(c.chunks) == 0 || slices.Contains(c.chunks, d.Chunk.Ordinal)) &&
		strings.Contains(strings.ToLower(d.Error), strings.ToLower(c.error)) &&
		(c.reason == "" || d.Reason == c.reason)
}

// eachLetter gives the chosen dead letters of the job to fn, the oldest first.
// It ends early and well when fn returns queue.ErrStop.
func (a *app) eachLetter(ctx context.Context, q *queue.Queue, j job.Job, c *choice, fn func(letter) error) error {
	place := a.places(j)
	taken := takers(j, job.ReplayDead)
	reading, present := context.WithCancel(ctx)
	defer present()
	err := q.FollowDead(reading, j.ID, func(d job.Dead) error {
		if !c.matches(d) {
			return nil
		}
		l, err := look(ctx, q, d, place, taken)
		if err != nil || !c.all && (l.TakenOverBy != "" || l.Loaded) {
			return err
		}
		return fn(l)
	}, queue.WhenCaughtUp(present))
	if err == nil || ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("reading the dead letters of job %s: %w", j.ID, err)
}

// look finds out what has become of a dead letter's chunk.
func look(ctx context.Context, q *queue.Queue, d job.Dead, place func(json.RawMessage) string, taken map[uint64]string) (letter, error) {
	l := letter{Dead: d, Place: place(d.Chunk.Input), TakenOverBy: taken[d.Chunk.Ordinal]}
	_, err := q.Result(ctx, d.Chunk.Job, d.Chunk.Ordinal, d.Chunk.Generation)
	switch {
	case err == nil:
		l.Loaded = true
	case !errors.Is(err, queue.ErrNotFound):
		return l, err
	}
	return l, nil
}

// takers are the jobs that have taken chunks over from j, as far as that
// forbids another replay of what.
func takers(j job.Job, what string) map[uint64]string {
	by := map[uint64]string{}
	for _, c := range j.Claims {
		if c.What != what && c.What == job.ReplayRejects {
			continue // whose rows alone were taken
		}
		for _, chunk := range c.Chunks {
			by[chunk] = c.Job
		}
	}
	return by
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
