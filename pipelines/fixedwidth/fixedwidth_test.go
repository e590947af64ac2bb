package fixedwidth_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"drayage/pipelines/fixedwidth"
	"drayage/pkg/engine"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
	"drayage/pkg/testkit"
)

// eng is the engine that reads what the source gives.
var eng *engine.Client

func TestMain(m *testing.M) {
	testkit.WithEngine(m, func(c *engine.Client) { eng = c })
}

var fields = []fixedwidth.Field{{Name: "id", Width: 4}, {Name: "name", Width: 8}, {Name: "score", Width: 6}}

// file writes a file of n records with a trailer that says some number.
func file(t *testing.T, n, said int) (dir string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "H%-18s\n", "NAMES")
	for i := range n {
		score := ""
		if i%3 > 0 {
			score = fmt.Sprintf("%.1f", float64(i)/2)
		}
		fmt.Fprintf(&b, "D%-4d%-8s%6s\n", i, fmt.Sprintf("n\t\\%d", i), score)
	}
	fmt.Fprintf(&b, "T%-18s\n", fmt.Sprintf("%09d", said))
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "names.txt"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func config(dir string) source.Config {
	return source.Config{Dir: dir, ChunkBytes: 400, Columns: []job.Column{{Name: "id", Type: "UInt32"}, {Name: "name", Type: "String"}, {Name: "score", Type: "Nullable(Float64)"}}}
}

func open(cfg source.Config) (source.Source, error) {
	return fixedwidth.New(fixedwidth.Settings{Path: "names.txt", Fields: fields}, cfg)
}

func TestSuite(t *testing.T) {
	cfg := config(file(t, 100, 100))
	var want []string
	for i := range 100 {
		score := "null"
		if i%3 > 0 {
			score = strings.TrimSuffix(fmt.Sprintf("%.1f", float64(i)/2), ".0")
		}
		want = append(want, fmt.Sprintf(`[%d,"n\t\\%d",%s]`, i, i, score))
	}
	sourcetest.Run(t, sourcetest.Case{
		New:    func() (source.Source, error) { return open(cfg) },
		Engine: eng, Want: want, Chunks: 5,
		Change: func() error { return os.WriteFile(filepath.Join(cfg.Dir, "names.txt"), []byte("H\nT0\n"), 0o600) },
	})
}

// Of a file that is not whole nothing is planned.
func TestTrailer(t *testing.T) {
	for name, tt := range map[string]struct {
		mend func(path string) error
		said int
		want string
	}{
		"another number": {func(string) error { return nil }, 11, "it has 10 records, and its trailer says 11"},
		"cut off":        {func(path string) error { return os.Truncate(path, 109) }, 10, "no records of 20 bytes with a header and a trailer"},
		"cut at a line":  {func(path string) error { return os.Truncate(path, 100+20) }, 10, "its last line is no trailer"},
		"gone":           {os.Remove, 10, "input is gone"},
	} {
		dir := file(t, 10, tt.said)
		if err := tt.mend(filepath.Join(dir, "names.txt")); err != nil {
			t.Fatal(err)
		}
		src, err := open(config(dir))
		if err != nil {
			t.Fatal(err)
		}
		_, err = src.Columns(t.Context(), eng)
		if err == nil || !strings.Contains(err.Error(), tt.want) || job.ClassOf(err) != job.Permanent {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
}

// A file that is written anew is not the one that was planned.
func TestChanged(t *testing.T) {
	dir := file(t, 10, 10)
	src, err := open(config(dir))
	if err != nil {
		t.Fatal(err)
	}
	var input json.RawMessage
	for p, err := range src.Plan(t.Context(), nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		input = p.Input
	}
	in, err := src.Open(t.Context(), input, config(dir).Columns)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := os.WriteFile(filepath.Join(dir, "names.txt"), []byte("H"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.Check(); !errors.Is(err, source.ErrChanged) {
		t.Errorf("the check says %v", err)
	}
	if _, err := src.Open(t.Context(), input, config(dir).Columns); !errors.Is(err, source.ErrChanged) || job.ClassOf(err) != job.Permanent {
		t.Errorf("opening says %v", err)
	}
}

func TestSettings(t *testing.T) {
	for settings, want := range map[string]string{
		`{"path": "a"}`: "settings.fields: there are none",
		`{"fields": [{"name": "a", "width": 0}]}`:              "settings.path: it is missing",
		`{"path": "a", "fields": [{"name": "a", "width": 0}]}`: "settings.fields: number 1 needs a name and a width",
		`{"path": "a", "fields": [{"name": "a", "width": 1}]}`: "columns: there are 3, and 1 fields",
		`{"path": "a", "width": 1}`:                            `settings: unknown field "width"`,
	} {
		cfg := config("")
		cfg.Settings = json.RawMessage(settings)
		_, err := source.Registry{"fixedwidth": source.New(fixedwidth.New)}.Make("fixedwidth", cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v", settings, err)
		}
	}
	var unknown *source.UnknownKindError
	if _, err := (source.Registry{}).Make("tape", source.Config{}); !errors.As(err, &unknown) {
		t.Errorf("the error is %v", err)
	}
}
