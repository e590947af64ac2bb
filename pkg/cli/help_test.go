package cli_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"drayage/pkg/cli"
)

// designed are the verbs that there must be.
var designed = []string{
	"run", "up", "coordinator", "worker", "engine", "submit", "jobs", "show", "watch", "pause", "resume", "cancel", "retry",
	"verify", "undo", "dead list", "dead show", "dead replay", "dead drop", "rejects", "workers",
	"validate", "plan", "preview", "test", "sql", "doctor", "completion bash", "completion zsh", "completion fish", "man", "version",
}

// Every verb says what it does, with flags that are explained and examples that
// can be typed, and some test types it.
func TestHelp(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if name == "help_test.go" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	seen := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.TrimPrefix(cmd.CommandPath(), "dray ")
		seen[path] = true
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		ours := !strings.HasPrefix(path, "completion") && path != "help"
		if cmd.Short == "" || cmd.Long == "" && !cmd.Hidden {
			t.Errorf("%s has no short or no long help", path)
		}
		if cmd.Example == "" && ours && !cmd.Hidden && cmd != cmd.Root() {
			t.Errorf("%s has no example", path)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s is not explained", path, f.Name)
			}
		})
		for line := range strings.Lines(cmd.Example) {
			example(t, path, line)
		}
		typed := `"` + strings.ReplaceAll(path, " ", `", "`) + `"`
		if ours && slices.Contains(designed, path) && !strings.Contains(tests.String(), typed) {
			t.Errorf("no test types dray %s", path)
		}
	}
	root := cli.Tree()
	root.InitDefaultCompletionCmd()
	walk(root)
	for _, verb := range designed {
		if !seen[verb] {
			t.Errorf("there is no verb %s", verb)
		}
	}
}

// example parses what a line of an example gives to dray, if it does.
func example(t *testing.T, path, line string) {
	t.Helper()
	args := words(line)
	for len(args) > 0 && strings.Contains(args[0], "=") {
		args = args[1:]
	}
	if len(args) == 0 || args[0] != "dray" {
		return
	}
	cmd, rest, err := cli.Tree().Find(args[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || !cmd.HasParent() {
		t.Errorf("an example of %s can not be typed: %s (%v)", path, strings.TrimSpace(line), err)
	}
}

// words splits a command as a shell does, up to the first |, <, > or &.
func words(line string) (list []string) {
	var word strings.Builder
	quote, open := rune(0), false
	for _, r := range strings.TrimSpace(line) + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, open = r, true
		case strings.ContainsRune("|<>&#", r):
			return list
		case r == ' ':
			if open || word.Len() > 0 {
				list = append(list, word.String())
			}
			word.Reset()
			open = false
		default:
			word.WriteRune(r)
		}
	}
	return list
}
