package cli_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql/parser"
)

// targetLabels are those that Prometheus gives to every series.
func targetLabels() []string { return []string{"job", "instance"} }

// labels are those of a family, with le of a histogram.
func labelsOf(f *dto.MetricFamily) []string {
	all := targetLabels()
	if f.GetType() == dto.MetricType_HISTOGRAM {
		all = append(all, "le")
	}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if !slices.Contains(all, l.GetName()) {
				all = append(all, l.GetName())
			}
		}
	}
	return all
}

// family is what a name in an expression is of.
func (e exposed) family(name string) *dto.MetricFamily {
	if f := e[name]; f != nil {
		return f
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if f := e[strings.TrimSuffix(name, suffix)]; f != nil && f.GetType() == dto.MetricType_HISTOGRAM && strings.HasSuffix(name, suffix) {
			return f
		}
	}
	return nil
}

// rare are metrics whose series begin with the first event of their kind, with
// their labels, and those that Prometheus makes itself.
func rare() map[string][]string {
	return map[string][]string{
		"dray_insert_errors_total": append(targetLabels(), "code", "name"),
		"dray_eta_seconds":         targetLabels(),
		"up":                       targetLabels(),
	}
}

// sensible checks that an expression is one of PromQL, and that whatever it names
// is exposed, with these labels and values. It returns the labels of what it reads.
func (e exposed) sensible(t *testing.T, where, expression string) []string {
	t.Helper()
	expression = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "1m").Replace(expression)
	root, err := parser.ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expression, err)
		return nil
	}
	var known, grouped []string
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			labels := e.selected(t, where, n)
			known = append(known, labels...)
		case *parser.AggregateExpr:
			grouped = append(grouped, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				grouped = append(append(grouped, n.VectorMatching.MatchingLabels...), n.VectorMatching.Include...)
			}
		}
		return nil
	})
	for _, label := range grouped {
		if !slices.Contains(known, label) {
			t.Errorf("%s: nothing in %s has the label %s", where, expression, label)
		}
	}
	return known
}

// selected checks a selector against what is exposed, and returns the labels.
func (e exposed) selected(t *testing.T, where string, s *parser.VectorSelector) []string {
	t.Helper()
	family := e.family(s.Name)
	labels := rare()[s.Name]
	if family != nil {
		labels = labelsOf(family)
	}
	if labels == nil {
		t.Errorf("%s: no metric is called %s", where, s.Name)
	}
	for _, m := range s.LabelMatchers {
		if m.Name == "__name__" || strings.HasPrefix(m.Value, "$") {
			continue
		}
		if !slices.Contains(labels, m.Name) {
			t.Errorf("%s: %s has no label %s", where, s.Name, m.Name)
		}
		if family == nil || slices.Contains(targetLabels(), m.Name) {
			continue
		}
		has := slices.ContainsFunc(family.Metric, func(metric *dto.Metric) bool {
			return slices.ContainsFunc(metric.Label, func(l *dto.LabelPair) bool { return l.GetName() == m.Name && m.Matches(l.GetValue()) })
		})
		if !has {
			t.Errorf("%s: no series of %s has %s", where, s.Name, m)
		}
	}
	return labels
}

var legendLabel = regexp.MustCompile(`{{\s*([a-z_]+)\s*}}`)

// dashboard checks every expression of the dashboard, and that Grafana finds what
// it needs.
func dashboard(t *testing.T, all exposed) {
	var board struct {
		UID    string `json:"uid"`
		Panels []struct {
			Title, Description, Type string
			Datasource               struct{ UID string } `json:"datasource"`
			Targets                  []struct {
				Expr         string `json:"expr"`
				LegendFormat string `json:"legendFormat"`
			}
			GridPos struct{ X, Y, W, H int } `json:"gridPos"`
		}
	}
	if err := json.Unmarshal([]byte(read(t, "deploy/grafana/dashboards/drayage.json")), &board); err != nil {
		t.Fatal(err)
	}
	var source struct {
		Datasources []struct{ UID, Type, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml")), &source); err != nil {
		t.Fatal(err)
	}
	if len(source.Datasources) != 1 || board.UID == "" || len(board.Panels) < 20 {
		t.Fatalf("%d sources of data, %d panels, uid %q", len(source.Datasources), len(board.Panels), board.UID)
	}
	var shown strings.Builder
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%q lies over %q or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != source.Datasources[0].UID || len(p.Targets) == 0 || p.Description == "" {
			t.Errorf("%q: source %q, %d expressions, description %q", p.Title, p.Datasource.UID, len(p.Targets), p.Description)
		}
		for _, target := range p.Targets {
			shown.WriteString(target.Expr + "\n")
			labels := all.sensible(t, p.Title, target.Expr)
			for _, l := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: the legend names %s", p.Title, l[1])
				}
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "dray_") && !strings.Contains(shown.String(), name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// heading is one of a Markdown file.
var heading = regexp.MustCompile(`(?m)^#+ (.*)$`)

// anchors are the targets of links into a Markdown file.
func anchors(text string) []string {
	var all []string
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		kept := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
				return r
			}
			return -1
		}, strings.ToLower(h[1]))
		all = append(all, kept)
	}
	return all
}

// alerts checks the rules: that what they go by is exposed, and what they tell
// one to read is there.
func alerts(t *testing.T, all exposed) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/prometheus/alerts.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			count++
			labels := all.sensible(t, r.Alert, r.Expr)
			page, anchor, _ := strings.Cut(r.Annotations["runbook"], "#")
			if page != "docs/operations.md" || !slices.Contains(anchors(read(t, "docs/operations.md")), anchor) {
				t.Errorf("%s: there is no %s", r.Alert, r.Annotations["runbook"])
			}
			if !slices.Contains([]string{"info", "warning", "critical"}, r.Labels["severity"]) || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s: %v %v", r.Alert, r.Labels, r.Annotations)
			}
			for _, l := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("%s: the summary names %s", r.Alert, l[1])
				}
			}
		}
	}
	if count < 10 {
		t.Errorf("%d alerts", count)
	}
}

var (
	documentedRow = regexp.MustCompile("(?m)^\\| `(dray_[a-z_]+)` \\| ([a-z]+) \\|([^|]*)\\|")
	quotedName    = regexp.MustCompile("`([a-z_]+)`")
)

// documented checks that docs/metrics.md has every metric as it is exposed, and
// no other.
func documented(t *testing.T, all exposed) {
	listed := map[string]bool{}
	for _, row := range documentedRow.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		name, kind := row[1], row[2]
		listed[name] = true
		var labels []string
		for _, l := range quotedName.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, l[1])
		}
		family := all[name]
		want, there := rare()[name]
		if family != nil {
			want, there = labelsOf(family), true
			if got := strings.ToLower(family.GetType().String()); got != kind {
				t.Errorf("%s is a %s, the page says %s", name, got, kind)
			}
		}
		want = slices.DeleteFunc(slices.Clone(want), func(l string) bool { return l == "le" || slices.Contains(targetLabels(), l) })
		slices.Sort(want)
		slices.Sort(labels)
		if !there || !slices.Equal(want, labels) {
			t.Errorf("%s has the labels %v (exposed: %v), the page says %v", name, want, there, labels)
		}
		if kind == "counter" != strings.HasSuffix(name, "_total") {
			t.Errorf("%s is a %s", name, kind)
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "dray_") && !listed[name] {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
		if !strings.HasPrefix(name, "dray_") && !strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "process_") {
			t.Errorf("%s is not a name of ours", name)
		}
	}
}

// Prometheus' own tool takes the configuration, and each alert fires when it
// should and not before.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "..", "deploy", "prometheus")
	for _, args := range [][]string{{"check", "config", "prometheus.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.Command("promtool", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s (apt-get install prometheus): %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tested := read(t, "deploy/prometheus/alerts_test.yml")
	for _, name := range regexp.MustCompile(`alert: (\S+)`).FindAllStringSubmatch(read(t, "deploy/prometheus/alerts.yml"), -1) {
		if !strings.Contains(tested, "alertname: "+name[1]+"\n") {
			t.Errorf("%s is not tested", name[1])
		}
	}
}
