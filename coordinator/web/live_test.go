package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"

	"drayage/coordinator/api/guard"
)

// streams serves the site, and counts the streams that are open.
func streams(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var open atomic.Int32
	s, err := served(guard.Config{}, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/live") {
				open.Add(1)
				defer open.Add(-1)
			}
			h.ServeHTTP(w, r)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s, &open
}

// eventually waits until something that is on its way is there.
func eventually(t *testing.T, what string, there func() bool) {
	t.Helper()
	late := time.After(tabWait)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("it never was: %s", what)
		}
	}
}

// Eight windows of one browser, which opens six connections to a host: all can
// be read and used, a few are live, and when one is closed another is.
func TestManyWindows(t *testing.T) {
	t.Parallel()
	s, open := streams(t)
	windows := []*tab{openTab(t, s.URL, "/workers")}
	for len(windows) < 8 {
		windows = append(windows, windows[0].another("/workers", true))
	}
	const waits = "Other windows are live"
	for i, w := range windows {
		if i < 4 {
			w.see("#live-status", "Live")
		} else {
			w.see("#live-status", waits)
		}
	}
	if n := open.Load(); n != 4 {
		t.Errorf("%d streams are open", n)
	}
	last := windows[7]
	last.goTo("/")
	last.see("h1", "Jobs")
	last.see("#live-status", waits)

	windows[1].close()
	windows[2].goTo("/submit") // which has no stream
	eventually(t, "four are live again", func() bool {
		live := 0
		for _, w := range append(windows[4:8:8], windows[0], windows[3]) {
			if value[string](w, `document.getElementById("live-status").textContent`) == "Live" {
				live++
			}
		}
		return live == 4 && open.Load() == 4
	})
}

// Eight tabs of one window: the one that is seen is live, and no other.
func TestManyTabs(t *testing.T) {
	t.Parallel()
	s, open := streams(t)
	one := func() {
		t.Helper()
		eventually(t, "one stream is open", func() bool { return open.Load() == 1 })
	}
	tabs := []*tab{openTab(t, s.URL, "/workers")}
	for len(tabs) < 8 {
		tabs = append(tabs, tabs[len(tabs)-1].another("/workers", false))
		tabs[len(tabs)-1].see("#live-status", "Live")
		one()
	}
	tabs[3].run(command(page.BringToFront, cdp.Empty{}))
	tabs[3].until(`!document.hidden`)
	one()
	// It is told what is new, not what was.
	value[string](tabs[3], `document.querySelector("#workers p").textContent = "old"`)
	tabs[3].see("#workers p", "slots are busy")

	// A tab that is hidden when it loads has no stream until it is seen.
	hidden := tabs[0]
	hidden.goTo("/")
	hidden.until(`document.readyState === "complete"`)
	one()
	hidden.run(command(page.BringToFront, cdp.Empty{}))
	hidden.see("#live-status", "Live")
	one()
}

// Whichever script comes late, the page is live when it says so, and says so.
func TestSlowScripts(t *testing.T) {
	t.Parallel()
	for _, late := range []string{"htmx.min.js", "hx-sse.min.js", "page.js", "live.js"} {
		t.Run(late, func(t *testing.T) {
			t.Parallel()
			s, err := served(guard.Config{}, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/"+late) {
						time.Sleep(300 * time.Millisecond) // the network
					}
					h.ServeHTTP(w, r)
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
			tb := openTab(t, s.URL, "/workers")
			tb.see("#live-status", "Live")
		})
	}
}

// A page whose first stream is refused tries again.
func TestRefusedStream(t *testing.T) {
	t.Parallel()
	var refused atomic.Bool
	s, err := served(guard.Config{}, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/live") && refused.CompareAndSwap(false, true) {
				http.Error(w, "too many", http.StatusServiceUnavailable)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	tb := openTab(t, s.URL, "/workers", expecting("503"))
	tb.see("#live-status", "Live")
	if !refused.Load() {
		t.Error("it was not refused")
	}
}
