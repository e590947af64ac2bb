// Package cli is the command line: one file a verb. Verbs read flags and the
// environment, call the other packages, and write for a person or, with
// --json, for a program.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/joho/godotenv"
	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"drayage/pkg/clickhouse"
	"drayage/pkg/engine"
	"drayage/pkg/local"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
	"drayage/pkg/telemetry"
	"drayage/pkg/telemetry/trace"
	"drayage/pkg/version"
)

// Exit codes of dray.
const (
	ExitDone        = 0   // done
	ExitFailed      = 1   // the job or the command failed
	ExitUsage       = 2   // bad usage, or a mistake in the pipeline
	ExitEnvironment = 3   // NATS, ClickHouse or the engine is missing or refuses
	ExitRejects     = 4   // done, but with rejected rows or dead-lettered chunks
	ExitInterrupted = 130 // stopped by a signal; the job goes on when it is run again
)

// IO is where a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what the verbs share.
type app struct {
	IO
	json    bool
	envFile string
	with    Extensions
	cfg     local.Config
	log     zerolog.Logger
}

// Extensions are what is built into one's own dray beside what dray has: stages
// and kinds of source, by the names that pipelines use.
type Extensions = local.Extensions

// exitError carries an exit code up to Main.
type exitError struct {
	code int
	err  error // nil: everything was said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// Main runs one command and returns its exit code. It prints every error once,
// to io.Err; with --json as an object.
func Main(ctx context.Context, args []string, io IO, with Extensions) int {
	a := &app{IO: io, with: with}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(io.In)
	root.SetOut(io.Out)
	root.SetErr(io.Err)
	err := root.ExecuteContext(ctx)
	a.cfg.Traces.Close()
	if err == nil {
		return ExitDone
	}
	code := exitCode(ctx, err)
	var exit *exitError
	if errors.As(err, &exit) && exit.err == nil {
		return code
	}
	a.printError(err, code)
	return code
}

func exitCode(ctx context.Context, err error) int {
	var exit *exitError
	var mistakes pipeline.Errors
	var usage *usageError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &mistakes), errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, engine.ErrNoLibrary), errors.Is(err, engine.ErrLocked), errors.Is(err, local.ErrInUse),
		errors.Is(err, clickhouse.ErrUnavailable), errors.Is(err, clickhouse.ErrVersion), errors.Is(err, clickhouse.ErrAuth),
		errors.Is(err, queue.ErrUnavailable), errors.Is(err, queue.ErrDenied), errors.Is(err, queue.ErrUntrusted), errors.Is(err, queue.ErrTopology):
		return ExitEnvironment
	case ctx.Err() != nil:
		return ExitInterrupted
	}
	return ExitFailed
}

func (a *app) printError(err error, code int) {
	var mistakes pipeline.Errors
	isMistake := errors.As(err, &mistakes)
	if a.json {
		out := map[string]any{"error": err.Error(), "exit_code": code}
		if isMistake {
			out["mistakes"] = mistakes
		}
		_ = json.NewEncoder(a.Err).Encode(out)
		return
	}
	if isMistake {
		for _, m := range mistakes {
			fmt.Fprintln(a.Err, m)
		}
		return
	}
	fmt.Fprintf(a.Err, "%s %s\n", paint(a.Err, bad, "dray:"), err)
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// hinted is an error with what to do about it.
func hinted(err error, format string, args ...any) error {
	return fmt.Errorf("%w\n  hint: %s", err, fmt.Sprintf(format, args...))
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "dray",
		Short: "Haul data into ClickHouse, each row exactly once, with proof",
		Long: `Drayage hauls data into ClickHouse with a fleet of workers: each row exactly once, with proof.

  dray run FILE         do a whole job in this process, nothing else needed
  dray up               serve everything in this process; dray submit gives it jobs
  dray coordinator      lead a fleet, with NATS between
  dray worker           work in a fleet
  dray submit FILE      give the fleet a job

Exit codes: 0 done, 1 failed, 2 bad usage or pipeline, 3 NATS, ClickHouse or the
engine is missing, 4 done with rejects or dead letters, 130 interrupted.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "write JSON to standard output")
	root.PersistentFlags().StringVar(&a.envFile, "env-file", "", "read DRAY_… variables from this file, where the environment does not set them")
	chooses(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w\n  hint: %s --help", err, cmd.CommandPath())
	})
	for _, g := range []struct {
		id, title string
		verbs     []*cobra.Command
	}{
		{"run", "Run and fleet:", []*cobra.Command{a.run(), a.up(), a.submit(), a.schedules(), a.coordinator(), a.worker(), a.workers(), a.engine()}},
		{"jobs", "Jobs:", []*cobra.Command{a.jobs(), a.show(), a.watch(), a.pause(), a.resume(), a.cancel(), a.retry()}},
		{"data", "What became of the data:", []*cobra.Command{a.verify(), a.rejects(), a.dead(), a.undo(), a.watermarks(), a.sql()}},
		{"setup", "Setup:", []*cobra.Command{a.validate(), a.plan(), a.preview(), a.test(), a.doctor(), a.natsAuth(), a.health(), a.man(), a.version()}},
	} {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, verb := range g.verbs {
			verb.GroupID = g.id
		}
		root.AddCommand(g.verbs...)
	}
	root.SetHelpCommandGroupID("setup")
	root.SetCompletionCommandGroupID("setup")
	checkUsage(root)
	return root
}

// checkUsage makes arguments that a verb does not take bad usage.
func checkUsage(parent *cobra.Command) {
	for _, cmd := range parent.Commands() {
		checkUsage(cmd)
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return usagef("%w\n  usage: %s", err, cmd.UseLine())
				}
				return nil
			}
		}
	}
}

// chooses makes a command that only has verbs below it say so.
func chooses(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		hint := cmd.CommandPath() + " --help lists the verbs"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return usagef("unknown command %q\n  hint: %s", args[0], hint)
	}
}

// prepare loads the configuration before any verb runs.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	if a.envFile != "" {
		if err := godotenv.Load(a.envFile); err != nil {
			return usagef("reading --env-file: %w", err)
		}
	}
	var err error
	if a.cfg, err = local.Load(); err != nil {
		return &usageError{err}
	}
	a.cfg.Extensions = a.with
	fallback := zerolog.WarnLevel
	if cmd.Annotations["service"] != "" {
		fallback = zerolog.InfoLevel
	}
	if a.log, err = telemetry.NewLogger(a.cfg.Log, fallback, a.Err); err != nil {
		return &usageError{err}
	}
	host, _ := os.Hostname() // the process alone is a name too
	if a.cfg.Traces, err = trace.FromEnv(cmd.Context(), trace.Service{
		Name: "dray-" + cmd.Name(), Version: version.Version, Instance: fmt.Sprintf("%s-%d", host, os.Getpid()),
	}, a.log); err != nil {
		return &usageError{err}
	}
	if cmd.Annotations["service"] != "" {
		a.log.Info().Str("version", version.Version).Str("commit", version.Commit()).Msg("dray " + cmd.Name())
	}
	return nil
}

// printJSON writes v to standard output.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// printLine writes v to standard output as one line of JSON.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// paramFlag adds --set to a command.
func paramFlag(cmd *cobra.Command) *[]string {
	set := cmd.Flags().StringArray("set", nil, "set a parameter of the pipeline: --set since=2026-01-01")
	_ = cmd.RegisterFlagCompletionFunc("set", completeParams) // the flag is there
	if cmd.ValidArgsFunction == nil && strings.HasSuffix(cmd.Use, " FILE") {
		cmd.ValidArgsFunction = completeFile
	}
	return set
}

// parseParams reads the values of --set.
func parseParams(set []string) (map[string]string, error) {
	params := map[string]string{}
	for _, s := range set {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, usagef("--set %s: write name=value", s)
		}
		params[name] = value
	}
	return params, nil
}
