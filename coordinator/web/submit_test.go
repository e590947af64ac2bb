package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"drayage/coordinator/api"
	"drayage/coordinator/api/guard"
	"drayage/pkg/job"
)

// A pipeline is mended until it can be previewed, previewed and submitted.
func TestSubmit(t *testing.T) {
	t.Parallel()
	dir, text := meters(t, "handed", 5, 0)
	write(t, dir, "readings-000.csv", strings.Repeat("meter-000,2026-11-01 10:00:00,1.5\n", 199)+"meter-000,2026-11-01 10:00:00,<b>n/a</b>\n")
	tb := openTab(t, site.URL, "/", expecting("422"))
	tb.button("Submit a pipeline")
	tb.see("h1", "Submit a pipeline")
	fill := func(selector, value string) {
		t.Helper()
		tb.run(chromedp.SetValue(chromedp.CSS(selector), value))
	}
	fill("#pipeline", text+"no_such_key: 1\n")
	fill("#dir", dir)
	fill("#key", "handed-1")
	tb.click("#submit button[value=submit]")
	tb.see(".notice pre", "no_such_key")
	fill("#pipeline", text)
	tb.button("Preview")
	tb.see("#preview tbody", "meter-000")
	tb.see("#preview thead", "Decimal(9, 2)")
	tb.see("#preview header", "1 would be rejected")
	tb.see("#preview pre.raw", "<b>n/a</b>")
	if rows := stack.SQL(t, "EXISTS TABLE handed"); rows != "0" {
		t.Error("the preview has made the table")
	}
	tb.button("Submit it")
	tb.see("#notice", "Submitted")
	tb.see("h1", "handed-1")
	stack.Reach(t, "handed-1", in(job.DoneWithRejects))
	tb.see("#job-head .state", "Done with rejects")
	if rows := stack.SQL(t, "SELECT count() FROM handed"); rows != "998" {
		t.Errorf("%s rows are loaded", rows)
	}
}

// A schedule is paused, resumed and run.
func TestSchedules(t *testing.T) {
	t.Parallel()
	_, _, err := service.AddSchedule(t.Context(), api.SubmitRequest{Pipeline: slow("hourly", 2, 0) + "schedule: \"0 3 * * *\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	tb := openTab(t, site.URL, "/schedules")
	tb.see("#schedule-hourly", "0 3 * * *")
	tb.button("Pause hourly")
	tb.see("#schedule-hourly", "paused")
	paused := func(want bool) {
		t.Helper()
		list, err := service.Schedules(t.Context())
		if err != nil || len(list.Schedules) != 1 || list.Schedules[0].Paused != want {
			t.Errorf("the schedules are %+v (%v)", list.Schedules, err)
		}
	}
	paused(true)
	tb.button("Resume hourly")
	tb.until(`document.querySelector("#schedule-hourly time")`)
	paused(false)
	tb.button("Run now: hourly")
	tb.see("#job-head .state", "Done")
	tb.goTo("/schedules")
	tb.see("#schedule-hourly", "Done")
	if rows := stack.SQL(t, "SELECT count() FROM hourly"); rows != "2" {
		t.Errorf("%s rows are loaded", rows)
	}
}

// Where tokens are wanted the page asks for one, and offers what it may do.
func TestLogin(t *testing.T) {
	t.Parallel()
	guarded, err := served(guard.Config{Tokens: "read:viewer:read-token-0123456789 admin:boss:admin-token-0123456789"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { guarded.CloseClientConnections(); guarded.Close() })
	id := create(t, "guarded-1", "", slow("guarded", 200, time.Second))
	tb := openTab(t, guarded.URL, "/jobs/"+id, expecting("401"))
	in := func(token string) {
		t.Helper()
		tb.see("h1", "Sign in")
		tb.run(chromedp.SetValue(chromedp.CSS("#token"), token))
		tb.button("Sign in")
	}
	in("no-token-of-anybody-0")
	tb.see("[role=alert]", "token")
	in("read-token-0123456789")
	tb.see("h1", id) // it was asked for
	tb.see("#live-status", "Live")
	if n := value[int](tb, `document.querySelectorAll("#job-head button, #job-head a.button, a[href='/submit']").length`); n != 0 {
		t.Errorf("who may read is offered %d actions", n)
	}
	tb.button("Sign out")
	tb.see("h1", "Sign in")
	tb.goTo("/jobs/" + id)
	in("admin-token-0123456789")
	tb.button("Pause")
	tb.see("#job-head .state", "Paused")
	tb.button("Cancel…")
	tb.button("Cancel the job")
	tb.see("#notice", "being cancelled")
	if cookie := value[string](tb, "document.cookie"); cookie != "" {
		t.Errorf("scripts can read the cookie %q", cookie)
	}
}
