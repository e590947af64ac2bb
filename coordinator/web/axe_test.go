package web_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe reads what make axe has put into the user's cache.
func axe(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("axe/package.json")
	if err != nil {
		t.Fatal(err)
	}
	var pinned struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &pinned); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(cache, "drayage", "axe", pinned.Dependencies["axe-core"], "axe.min.js"))
	if err != nil {
		t.Fatalf("axe-core is not installed: make axe (%v)", err)
	}
	return string(script)
}

// barriers is what axe finds on the page of the tab: of serious impact, with the
// elements. Rules are more options of axe, each after a comma.
func (t *tab) barriers(script string, rules string) []string {
	t.Helper()
	t.run(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Evaluate[any](script+"\n;null")(ctx, target)
		return err
	}))
	found, err := chromedp.Run(t.ctx, chromedp.Evaluate[[]string](`axe.run(document, {resultTypes: ["violations"]`+rules+`}).then(r => r.violations
		.filter(v => v.impact === "serious" || v.impact === "critical")
		.flatMap(v => v.nodes.map(n => v.id + ": " + n.target.join(" ") + ": " + n.failureSummary.replaceAll("\n", " "))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// No page has a serious barrier, light, dark or narrow, live or not.
func TestBarriers(t *testing.T) {
	t.Parallel()
	script := axe(t)
	dir, text := meters(t, "barrier", 12, 0)
	id := create(t, "barrier-1", dir, text)
	stack.Ended(t, id)
	wide := []string{"/jobs/" + id, "/", "/dead"}
	all := append(wide, "/jobs/"+id+"/chunks/11", "/jobs/"+id+"/rejects", "/workers", "/?find=no-such-job", "/jobs/"+id+"/chunks", "/jobs/"+id+"/cancel", "/schedules", "/submit")
	for name, mode := range map[string]struct {
		paths   []string
		options []tabOption
		rules   string
	}{
		"light":  {all, nil, ""},
		"dark":   {all, []tabOption{dark}, `, runOnly: ["color-contrast"]`}, // all that differs
		"narrow": {wide, []tabOption{narrow}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tb := openTab(t, site.URL, "/", mode.options...)
			for _, path := range mode.paths {
				tb.goTo(path)
				if strings.HasSuffix(path, id) {
					tb.see("#live-status", "Live")
				}
				for _, b := range tb.barriers(script, mode.rules) {
					t.Errorf("%s: %s", path, b)
				}
			}
		})
	}
}
