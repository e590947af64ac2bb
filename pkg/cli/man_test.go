package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The manual has a page a verb, and each shell its completion.
func TestManAndCompletion(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "man")
	env := []string{"DRAY_DATA_DIR=" + t.TempDir()}
	expect(t, env, []string{"man", dir}, 0)
	for _, page := range []string{"dray.1", "dray-run.1", "dray-watch.1", "dray-dead-replay.1"} {
		text, err := os.ReadFile(filepath.Join(dir, page))
		if err != nil || !strings.Contains(string(text), ".TH") || !strings.Contains(string(text), "SYNOPSIS") {
			t.Errorf("%s: %v", page, err)
		}
	}
	for shell, part := range map[string]string{"bash": "__start_dray", "zsh": "#compdef dray", "fish": "complete -c dray", "powershell": "Register-ArgumentCompleter"} {
		expect(t, env, []string{"completion", shell}, 0, part)
		expect(t, env, []string{"completion", shell, "--help"}, 0, "To load completions")
	}
	file := writeFile(t, filepath.Join(t.TempDir(), "p.yaml"), "pipeline: p\nparams: {since: 2026-01-01, low: {type: UInt32, default: 5}}\n")
	expect(t, env, []string{"__complete", "run", file, "--set", ""}, 0, "low=\tUInt32, default 5\n", "since=\tdefault 2026-01-01\n")
	expect(t, env, []string{"__complete", "run", ""}, 0, "yaml\nyml\n:8\n")
	expect(t, env, []string{"__complete", "jobs", "--state", "running,"}, 0, "running,paused\n", "running,live\n")
	expect(t, env, []string{"__complete", "dead", "list", "--reason", ""}, 0, "permanent\n")
}
