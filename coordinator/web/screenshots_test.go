package web_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"drayage/pkg/job"
)

var screenshots = flag.String("screenshots", "", "folder to write the pictures of the README into; without it they are made and thrown away")

// maxShot bounds a picture, in bytes: it is kept with the code.
const maxShot = 150 << 10

// shot writes what the tab shows into a folder, as PNG.
func (t *tab) shot(folder, name string) {
	t.Helper()
	png, err := chromedp.Run(t.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644) //nolint:gosec // a picture for everybody
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(png) > maxShot {
		t.Errorf("%s has %d bytes; a picture may have %d", name, len(png), maxShot)
	}
}

// The pictures of the README: the demo, and a job with some trouble while it runs.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	folder, chunks := *screenshots, uint64(260)
	if folder == "" {
		folder, chunks = t.TempDir(), 20 // which takes less time
	}
	pipelines, err := filepath.Abs("../../pipelines")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flights", "birdstrikes"} {
		text, err := os.ReadFile(filepath.Join(pipelines, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		stack.Ended(t, create(t, name+"-20261128-0600", pipelines, string(text)))
	}
	create(t, "archive-20261128-0612", "", strings.Replace(slow("archive", 40, 0), "sleep", "slep", 1))
	stack.Ended(t, "archive-20261128-0612")
	dir, text := meters(t, "readings", 50, 0)
	stack.Ended(t, create(t, "readings-20261128-0610", dir, text))
	dir, text = meters(t, "metering", 640, 100*time.Millisecond)
	running := create(t, "metering-20261128-0615", dir, text)
	stack.Reach(t, running, func(j job.Job) bool { return j.Totals.Outcomes() >= chunks })
	for _, p := range []struct {
		name, path, sign string
		options          []tabOption
	}{
		{"job-light", "/jobs/" + running, "Dead", nil},
		{"job-dark", "/jobs/" + running, "Dead", []tabOption{dark}},
		{"jobs", "/", "metering", nil},
		{"dead", "/dead", "reject.max", nil},
	} {
		tb := openTab(t, site.URL, p.path, append(p.options, func(*tab) action { return chromedp.EmulateViewport(1200, 900) })...)
		tb.see("main", p.sign)
		if p.path != "/dead" {
			tb.see("#live-status", "Live")
		}
		tb.shot(folder, p.name)
		tb.close()
	}
	if _, err := service.Cancel(t.Context(), running); err != nil {
		t.Fatal(err)
	}
}
