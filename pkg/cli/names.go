package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drayage/pkg/job"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// completeWait bounds what a press of the tab key may take.
const completeWait = 2 * time.Second

// completeJobs completes the names of the jobs that keep lets through (nil:
// all), for the first most arguments of a verb.
func (a *app) completeJobs(most int, keep func(job.Job) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= most || a.prepare(cmd, nil) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
		defer cancel()
		list, err := a.listJobs(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		if len(args) == 0 {
			names = append(names, "last\tthe newest job")
		}
		for _, j := range list {
			if (keep == nil || keep(j)) && !slices.Contains(args, j.ID) {
				names = append(names, j.ID+"\t"+string(j.State))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// listJobs lists the jobs for a completion.
func (a *app) listJobs(ctx context.Context) ([]job.Job, error) {
	q, end, err := a.openQueue(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return allJobs(ctx, q)
}

// completeFlag completes a flag by fixed words, of which a comma may join several.
func (a *app) completeFlag(cmd *cobra.Command, flag string, words []string) {
	complete := func(_ *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		before := begin[:strings.LastIndexByte(begin, ',')+1]
		found := make([]string, len(words))
		for i, w := range words {
			found[i] = before + w
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc(flag, complete) // the flag is there
}

// completePipelines completes --pipeline by the names of pipelines that have jobs.
func (a *app) completePipelines(cmd *cobra.Command) {
	complete := func(cmd *cobra.Command, _ []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		if a.prepare(cmd, nil) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWait)
		defer cancel()
		list, err := a.listJobs(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		for _, j := range list {
			if j.Name != "" && !slices.Contains(names, j.Name) {
				names = append(names, j.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	_ = cmd.RegisterFlagCompletionFunc("pipeline", complete) // the flag is there
}

// completeFile completes the one argument that is a pipeline file.
func completeFile(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeParams completes --set by the parameters that the file named as the
// first argument declares.
func completeParams(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) == 0 {
		return nil, directive
	}
	declared := pipeline.ReadOutline(args[0]).Params
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		about := fmt.Sprint(declared[name])
		if d, typed := declared[name].(map[string]any); typed {
			about = fmt.Sprint(d["type"])
			if value, given := d["default"]; given {
				about += fmt.Sprintf(", default %v", value)
			}
		} else {
			about = "default " + about
		}
		names = append(names, name+"=\t"+oneLine(about, shownError/4))
	}
	return names, directive
}

// What a verb can be done to, for completeJobs.
func isLive(j job.Job) bool     { return !j.State.Terminal() }
func isEnded(j job.Job) bool    { return j.State.Terminal() }
func isPaused(j job.Job) bool   { return j.State == job.Paused }
func isRunning(j job.Job) bool  { return j.State == job.Running }
func hasDead(j job.Job) bool    { return j.Totals.Dead > 0 }
func hasRejects(j job.Job) bool { return j.Totals.RowsRejected > 0 }
func hasLeft(j job.Job) bool    { return isEnded(j) && (hasDead(j) || hasRejects(j)) }

// findJob finds a job by its name, a beginning of it, or "last".
func findJob(ctx context.Context, q *queue.Queue, name string) (job.Job, error) {
	found, err := findJobs(ctx, q, []string{name})
	if err != nil {
		return job.Job{}, err
	}
	return found[0], nil
}

// findJobs finds each job once, in the order of the names. It finds all of them
// or says which is not there.
func findJobs(ctx context.Context, q *queue.Queue, names []string) ([]job.Job, error) {
	list, err := allJobs(ctx, q)
	if err != nil {
		return nil, err
	}
	var found []job.Job
	for _, name := range names {
		j, err := named(list, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(f job.Job) bool { return f.ID == j.ID }) {
			found = append(found, j)
		}
	}
	return found, nil
}

func named(list []job.Job, name string) (job.Job, error) {
	var found []job.Job
	for _, j := range list {
		switch {
		case j.ID == name, name == "last":
			return j, nil
		case strings.HasPrefix(j.ID, name):
			found = append(found, j)
		}
	}
	switch len(found) {
	case 0:
		return job.Job{}, usagef("there is no job %s; dray jobs lists them", name)
	case 1:
		return found[0], nil
	}
	return job.Job{}, usagef("%s begins the names of %d jobs, such as %s and %s", name, len(found), found[0].ID, found[1].ID)
}
