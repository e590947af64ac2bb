// Command bench compares dray run with ClickHouse's own INSERT SELECT FROM
// file: the same file, the same transformation, the same table, in turns, on
// the same machine. It calls the dray binary and nothing else of the project.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	dray := flag.String("dray", "bin/dray", "the binary to measure")
	rows := flag.Int("rows", 10_000_000, "rows of the file")
	rounds := flag.Int("rounds", 5, "rounds; the medians are printed")
	dir := flag.String("dir", filepath.Join(os.Getenv("DRAY_DATA_DIR"), "bench"), "where file and tables are kept")
	asJSON := flag.Bool("json", false, "write JSON")
	flag.Parse()
	if err := bench(*dray, *dir, *rows, *rounds, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figures of one load.
type figures struct {
	Load        float64 `json:"load_seconds"`  // the load itself
	Total       float64 `json:"total_seconds"` // with the start and the end of every process
	Destination float64 `json:"destination_cpu_seconds"`
	Worker      float64 `json:"worker_cpu_seconds"` // everything else that was started
	Memory      float64 `json:"peak_memory_mib"`    // of all processes together, shared pages once
	Rows        uint64  `json:"rows"`
}

type side struct {
	Name   string
	run    func(ctx context.Context, dir string) (figures, error)
	rounds []figures
}

func bench(dray, dir string, rows, rounds int, asJSON bool) error {
	dray, err := filepath.Abs(dray)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := filepath.Join(dir, fmt.Sprintf("events-%d.csv", rows))
	if _, err := os.Stat(file); err != nil {
		fmt.Fprintf(os.Stderr, "making %d rows in %s\n", rows, file)
		if err := generate(file, rows); err != nil {
			return err
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	sides := []*side{
		{Name: "clickhouse", run: func(ctx context.Context, dir string) (figures, error) { return runClickHouse(ctx, dray, file, dir) }},
		{Name: "dray run", run: func(ctx context.Context, dir string) (figures, error) { return runDray(ctx, dray, file, dir, true) }},
		{Name: "not strict", run: func(ctx context.Context, dir string) (figures, error) { return runDray(ctx, dray, file, dir, false) }},
	}
	ctx := context.Background()
	for round := range rounds + 1 { // the first warms the page cache and is not counted
		for _, s := range sides {
			work := filepath.Join(dir, "round")
			if err := os.RemoveAll(work); err != nil {
				return err
			}
			f, err := s.run(ctx, work)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if f.Rows != uint64(rows) {
				return fmt.Errorf("%s loaded %d rows of %d", s.Name, f.Rows, rows)
			}
			fmt.Fprintf(os.Stderr, "round %d  %-10s load %6.2f s  total %6.2f s\n", round, s.Name, f.Load, f.Total)
			if round > 0 {
				s.rounds = append(s.rounds, f)
			}
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "round")); err != nil {
		return err
	}
	return report(sides, float64(info.Size()), asJSON)
}

func report(sides []*side, size float64, asJSON bool) error {
	rowsOf := func(pick func(figures) float64) (a, b, r float64) {
		return median(sides[0].rounds, pick), median(sides[1].rounds, pick), ratio(sides[0].rounds, sides[1].rounds, pick)
	}
	if asJSON {
		out := map[string]any{"rounds": map[string]any{sides[0].Name: sides[0].rounds, sides[1].Name: sides[1].rounds, sides[2].Name: sides[2].rounds}}
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	n := float64(sides[0].rounds[0].Rows)
	fmt.Printf("\n%.0f rows, %.0f MB, medians of %d rounds; ratio: median of the rounds' ratios\n", n, size/1e6, len(sides[0].rounds))
	fmt.Printf("%-26s %12s %12s %12s\n", "", "clickhouse", "dray run", "dray/clickhouse")
	line := func(name, format string, pick func(figures) float64) {
		a, b, r := rowsOf(pick)
		fmt.Printf("%-26s %12s %12s %12.2f\n", name, fmt.Sprintf(format, a), fmt.Sprintf(format, b), r)
	}
	line("load, s", "%.2f", func(f figures) float64 { return f.Load })
	line("with start and end, s", "%.2f", func(f figures) float64 { return f.Total })
	line("load, rows/s", "%.0f", func(f figures) float64 { return n / f.Load })
	line("load, MB/s", "%.0f", func(f figures) float64 { return size / 1e6 / f.Load })
	line("destination, CPU s", "%.2f", func(f figures) float64 { return f.Destination })
	_, worker, _ := rowsOf(func(f figures) float64 { return f.Worker })
	fmt.Printf("%-26s %12s %12.2f\n", "workers and queue, CPU s", "-", worker)
	line("all, CPU s", "%.2f", func(f figures) float64 { return f.Destination + f.Worker })
	line("peak memory, MiB", "%.0f", func(f figures) float64 { return f.Memory })
	wall := func(f figures) float64 { return f.Load }
	cpu := func(f figures) float64 { return f.Destination + f.Worker }
	strict, lax := sides[1].rounds, sides[2].rounds
	fmt.Printf("\nmedians and the median of the rounds' ratios: %11s %12s %12s\n", "strict", "not strict", "ratio")
	for _, l := range []struct {
		name string
		pick func(figures) float64
	}{{"load, s", wall}, {"all, CPU s", cpu}, {"peak memory, MiB", func(f figures) float64 { return f.Memory }}} {
		fmt.Printf("%-43s %12.2f %12.2f %12.2f\n", l.name, median(strict, l.pick), median(lax, l.pick), ratio(lax, strict, l.pick))
	}
	return nil
}

// ratio is the median of b to a, round by round.
func ratio(a, b []figures, pick func(figures) float64) float64 {
	var ratios []float64
	for i := range a {
		if x := pick(a[i]); x > 0 {
			ratios = append(ratios, pick(b[i])/x)
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	return ratios[len(ratios)/2]
}

func median(rounds []figures, pick func(figures) float64) float64 {
	values := make([]float64, len(rounds))
	for i, f := range rounds {
		values[i] = pick(f)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// runClickHouse loads the file by ClickHouse alone.
func runClickHouse(ctx context.Context, dray, file, dir string) (figures, error) {
	var f figures
	begin := time.Now()
	cmd := exec.CommandContext(ctx, dray, "engine", "--listen", "127.0.0.1:18399", "--path", dir)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return f, err
	}
	watch := watchMemory(cmd.Process.Pid)
	query := func(sql string) (string, error) {
		resp, err := http.Post("http://127.0.0.1:18399/?"+url.Values{"session_timezone": {"UTC"}}.Encode(), "text/plain", strings.NewReader(sql))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s", text)
		}
		return string(text), err
	}
	for {
		if _, err := query("SELECT 1"); err == nil {
			break
		}
		if time.Since(begin) > 30*time.Second {
			return f, fmt.Errorf("the engine does not answer: %s", log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := query("CREATE TABLE events (" + columns + ") " + engineSQL); err != nil {
		return f, err
	}
	loading := time.Now()
	if _, err := query(fmt.Sprintf("INSERT INTO events %s FROM file('%s', 'CSVWithNames', '%s')", sel, file, strings.ReplaceAll(structure, "'", "\\'"))); err != nil {
		return f, err
	}
	f.Load = time.Since(loading).Seconds()
	count, err := query("SELECT count() FROM events")
	if err != nil {
		return f, err
	}
	fmt.Sscan(count, &f.Rows)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return f, err
	}
	err = cmd.Wait()
	f.Total = time.Since(begin).Seconds()
	f.Memory = watch()
	f.Destination = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if err != nil {
		return f, fmt.Errorf("%w: %s", err, log.String())
	}
	return f, nil
}

// runDray loads the file by dray run, with its embedded ClickHouse. Not strict,
// values are read by the engine's own parsers, which change in silence what
// does not fit.
func runDray(ctx context.Context, dray, file, dir string, strict bool) (figures, error) {
	var f figures
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return f, err
	}
	indented := strings.ReplaceAll(sel+"\nFROM chunk", "\n", "\n  ")
	pipeline := fmt.Sprintf("pipeline: events\nsource:\n  files: {path: %s, format: CSV, header: true}\n  columns: %s\ntransform: |\n  %s\nload:\n  table: events\n  create: %s\n",
		file, structure, indented, engineSQL)
	path := filepath.Join(dir, "events.yaml")
	if err := os.WriteFile(path, []byte(pipeline), 0o644); err != nil {
		return f, err
	}
	begin := time.Now()
	cmd := exec.CommandContext(ctx, dray, "run", path, "--json")
	cmd.Env = append(os.Environ(), "DRAY_DATA_DIR="+filepath.Join(dir, "data"), "DRAY_CLICKHOUSE_URL=", fmt.Sprintf("DRAY_STRICT=%t", strict))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	if err := cmd.Start(); err != nil {
		return f, err
	}
	watch := watchMemory(cmd.Process.Pid)
	err := cmd.Wait()
	f.Total = time.Since(begin).Seconds()
	f.Memory = watch()
	if err != nil {
		return f, fmt.Errorf("%w: %s %s", err, out.String(), log.String())
	}
	var summary struct {
		Frozen struct {
			At time.Time `json:"at"`
		} `json:"frozen"`
		FinishedAt time.Time `json:"finished_at"`
		Totals     struct {
			RowsLoaded uint64 `json:"rows_loaded"`
		} `json:"totals"`
		Resources struct {
			Destination struct {
				CPU float64 `json:"cpu_seconds"`
			} `json:"destination_engine"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(out.Bytes(), &summary); err != nil {
		return f, fmt.Errorf("reading the summary: %w", err)
	}
	// As on the other side, the table is there and the processes run: from
	// the first chunk to the proof.
	f.Load = summary.FinishedAt.Sub(summary.Frozen.At).Seconds()
	f.Rows = summary.Totals.RowsLoaded
	f.Destination = summary.Resources.Destination.CPU
	// What wait4 says of dray includes its children, which it waited for.
	f.Worker = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds() - f.Destination
	return f, nil
}
