package web_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"drayage/pkg/job"
)

var screenshots = flag.String("screenshots", "", "folder to write the screenshots of the README into")

// shot writes what the tab shows, as PNG.
func (t *tab) shot(name string) {
	t.Helper()
	png, err := chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		t.Skip("make screenshots runs it")
	}
	pipelines, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	flights, err := os.ReadFile(filepath.Join(pipelines, "flights.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	create(t, "flights-20261128-0600", pipelines, string(flights))
	reach(t, "flights-20261128-0600", ended)
	dir, text := meters(t, "readings", 130, 0)
	create(t, "readings-20261128-0610", dir, text)
	reach(t, "readings-20261128-0610", ended)
	create(t, "archive-20261128-0612", "", slow("archive", 40, 0))
	reach(t, "archive-20261128-0612", ended)
	dir, text = meters(t, "metering", 240, 150*time.Millisecond)
	create(t, "metering-20261128-0615", dir, text)
	reach(t, "metering-20261128-0615", func(j job.Job) bool { return j.Totals.Outcomes() >= 100 })
	for _, mode := range []struct {
		name    string
		options []tabOption
	}{{"light", nil}, {"dark", []tabOption{dark}}, {"narrow", []tabOption{narrow}}} {
		for name, path := range map[string]string{
			"jobs": "/", "job": "/jobs/metering-20261128-0615", "done": "/jobs/readings-20261128-0610", "workers": "/workers", "dead": "/dead", "chunk": "/jobs/readings-20261128-0610/chunks/11",
			"rejects": "/jobs/readings-20261128-0610/rejects", "schedules": "/schedules", "chunks": "/jobs/readings-20261128-0610/chunks",
		} {
			tb := openTab(t, site.URL, path, mode.options...)
			tb.run(chromedp.Sleep(1500 * time.Millisecond))
			png, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
			if err != nil {
				t.Fatal(err)
			}
			_ = os.WriteFile(filepath.Join(*screenshots, name+"-"+mode.name+".png"), png, 0o600)
		}
	}
}
