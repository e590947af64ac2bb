package web_test

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tabWait bounds what a test of a tab may take in all, on a busy machine.
const tabWait = 2 * time.Minute

// chromium starts the one browser that all tests share.
var chromium = sync.OnceValues(func() (context.Context, error) {
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		return nil, fmt.Errorf("the tests of the page need Chromium: apt-get install --no-install-recommends chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1280, 900),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.WSURLReadTimeout(time.Minute))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, end := chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		end()
		stop()
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	closeChromium = func() {
		_ = chromedp.Cancel(ctx) // it is killed when it does not end
		stop()
	}
	return ctx, nil
})

// closeChromium ends the browser, if it was started.
var closeChromium = func() {}

// tab is a page in a browser of its own: no cookie of another. It fails its test
// for every error on the console and every request that leaves its origin.
type tab struct {
	*testing.T
	ctx    context.Context
	close  func()
	origin string

	mu       sync.Mutex
	problems []string
	expected []string // parts of problems that are meant to happen
}

// tabOption changes how a tab is opened.
type tabOption func(*tab) action

type action = chromedp.Action[chromedp.Void]

// command is a command of the browser's protocol as something to do.
func command[P, R any](c cdp.Command[P, R], params P) action {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func withoutScripts(*tab) action {
	return command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

func dark(*tab) action {
	return command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}},
	})
}

func narrow(*tab) action { return chromedp.EmulateViewport(390, 844) }

// expecting says that a problem with this text is part of the test.
func expecting(text string) tabOption {
	return func(t *tab) action {
		t.expected = append(t.expected, text)
		return chromedp.Steps()
	}
}

// openTab opens a tab on a page of the site at origin.
func openTab(t *testing.T, origin, path string, options ...tabOption) *tab {
	t.Helper()
	browser, err := chromium()
	if err != nil {
		t.Fatal(err)
	}
	return newTab(t, browser, origin, path, options, chromedp.WithNewBrowserContext())
}

// another opens one more tab in the tab's browser, in a window of its own or in
// front of the tab.
func (t *tab) another(path string, window bool) *tab {
	t.Helper()
	return newTab(t.T, t.ctx, t.origin, path, nil, chromedp.WithNewWindow(window))
}

func newTab(t *testing.T, parent context.Context, origin, path string, options []tabOption, in ...chromedp.ContextOption) *tab {
	t.Helper()
	open, end := chromedp.NewContext(parent, in...)
	ctx, late := context.WithTimeout(open, tabWait)
	tb := &tab{T: t, ctx: ctx, close: end, origin: origin}
	if err := chromedp.Listen(ctx, tb.watch); err != nil {
		t.Fatal(err)
	}
	var actions []action
	for _, o := range options {
		actions = append(actions, o(tb))
	}
	t.Cleanup(func() {
		if t.Failed() && open.Err() == nil {
			// In a time of its own: that of the test may be over.
			last, over := context.WithTimeout(open, 5*time.Second)
			text, err := chromedp.Run(last, chromedp.Evaluate[string](`document.location.href + "\n" + document.body.innerText`))
			over()
			t.Logf("the page was (%v):\n%.3000s", err, text)
		}
		late()
		end()
		tb.mu.Lock()
		defer tb.mu.Unlock()
		for _, p := range tb.problems {
			t.Error(p)
		}
	})
	tb.run(append(actions, chromedp.Navigate(origin+path))...)
	return tb
}

// watch notes what should not happen.
func (t *tab) watch(event any) {
	problem := ""
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = "a script failed: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			problem += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			problem = fmt.Sprintf("the console says %s", e.Args[0].Value)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			problem = "the browser says " + e.Entry.Text + " " + e.Entry.URL
		}
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme+"://"+u.Host != t.origin && u.Scheme != "data" {
			problem = "a request left the page's origin: " + e.Request.URL
		}
	}
	if problem == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, text := range t.expected {
		if strings.Contains(problem, text) {
			return
		}
	}
	t.problems = append(t.problems, problem)
}

// run does things in the tab, one after the other.
func (t *tab) run(actions ...action) {
	t.Helper()
	if err := chromedp.Do(t.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// see waits until an element that the selector finds has the text in it.
func (t *tab) see(selector, text string) {
	t.Helper()
	t.until(fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.checkVisibility() && e.textContent.includes(%q))`, selector, text))
}

// until waits until an expression is true in the page, whatever is loaded
// meanwhile.
func (t *tab) until(expression string) {
	t.Helper()
	for {
		ok, err := chromedp.Run(t.ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		switch {
		case err == nil && ok:
			return
		case t.ctx.Err() != nil:
			t.Fatalf("this never came true: %s (%v)", expression, err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.ctx.Done():
		}
	}
}

// click clicks an element when it is there, with the mouse.
func (t *tab) click(selector string) {
	t.Helper()
	t.run(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// button clicks the button, or the link, of this name.
func (t *tab) button(name string) {
	t.Helper()
	t.run(chromedp.Click(chromedp.Search(fmt.Sprintf(`//*[self::button or self::a][normalize-space(.)=%q or @aria-label=%[1]q]`, name)), chromedp.NodeVisible))
}

// value evaluates an expression in the page.
func value[T any](t *tab, expression string) T {
	t.Helper()
	v, err := chromedp.Run(t.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// node is the element that a selector finds.
func (t *tab) node(selector string) *chromedp.Node {
	t.Helper()
	nodes, err := chromedp.Run(t.ctx, chromedp.Nodes(chromedp.CSS(selector)))
	if err != nil || len(nodes) == 0 {
		t.Fatalf("looking for %s: %v", selector, err)
	}
	return nodes[0]
}

// goTo opens another page of the site.
func (t *tab) goTo(path string) {
	t.Helper()
	t.run(chromedp.Navigate(t.origin + path))
}
