package local_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
)

// reject is a row in quarantine: the file that it was in, its text and a part of
// the reason.
type reject struct{ file, raw, reason string }

// The pipelines of the page run as they stand there. In each log is something
// that does not belong there: it is in quarantine, with its place and text.
func TestDocumentedLogs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		files   map[string]string
		rows    uint64
		query   string
		want    string
		rejects []reject
	}{
		{
			name: "access_log",
			files: map[string]string{
				"access.log": `203.0.113.9 - - [10/Oct/2026:13:55:36 +0200] "GET /index.html HTTP/1.1" 200 2326 "-" "A \"quoted\" agent"` + "\n" +
					strings.Repeat(`203.0.113.9 - - [10/Oct/2026:13:55:37 +0200] "GET /healthz HTTP/1.1" 200 - "-" "-"`+"\n", 100) +
					"not a line of an access log\n" +
					`2001:db8::1 - jo [29/Feb/2024:00:00:00 -0700] "\x16\x03\x01" 400 - "-" "-"` + "\n",
				"access.log.1": `203.0.113.9 - - [09/Oct/2026:13:55:36 +0200] "GET /late HTTP/1.1" 70000 1 "-" "-"` + "\n" +
					strings.Repeat(`203.0.113.9 - - [09/Oct/2026:13:55:36 +0200] "GET /a HTTP/1.1" 200 1 "-" "-"`+"\n", 150),
			},
			rows:    152,
			query:   "SELECT toString(min(time)), toString(max(time)), countIf(bytes IS NULL), countIf(method = ''), anyIf(user_agent, user_agent != '') FROM access_log",
			want:    "2024-02-29 07:00:00\t2026-10-10 11:55:36\t1\t1\tA \\\\\"quoted\\\\\" agent",
			rejects: []reject{{"access.log", "not a line of an access log", "does not match"}, {"access.log.1", `203.0.113.9 - - [09/Oct/2026:13:55:36 +0200] "GET /late HTTP/1.1" 70000 1 "-" "-"`, "does not match"}},
		},
		{
			name: "syslog",
			files: map[string]string{"syslog": strings.Repeat("Oct  1 22:14:15 alpha cron[7]: job done\n", 9) + "Feb 30 00:00:00 alpha cron[7]: no such day\n" +
				"Mar 11 02:14:15 alpha kernel: [1.5] up\n"},
			rows:    10,
			query:   "SELECT toString(min(at), 'UTC'), toString(max(at), 'UTC'), sum(toUInt32(pid != '')), argMin(message, at) FROM syslog",
			want:    "2026-03-11 01:14:15\t2026-10-01 20:14:15\t9\t[1.5] up",
			rejects: []reject{{"syslog", "Feb 30 00:00:00 alpha cron[7]: no such day", "Invalid date"}},
		},
		{
			name: "traces",
			files: map[string]string{"app.log": "2026-10-11 22:14:15.003 ERROR com.example.Shop - boom\njava.lang.IllegalStateException: boom\n\tat com.example.Shop.buy(Shop.java:7)\n" +
				strings.Repeat("2026-10-11 22:14:16.000 INFO  com.example.Shop - fine\n", 18) +
				"2026-10-11 22:14:17.000 nonsense\n\tat x\n" + "2026-10-11 22:14:18.000 WARN  com.example.Shop - last\n"},
			rows:    20,
			query:   "SELECT argMin(trace, time), countIf(trace = ''), argMax(message, time) FROM traces",
			want:    `java.lang.IllegalStateException: boom\n\tat com.example.Shop.buy(Shop.java:7)` + "\t19\tlast",
			rejects: []reject{{"app.log", "2026-10-11 22:14:17.000 nonsense\n\tat x", "does not match"}},
		},
		{
			name: "events",
			files: map[string]string{"events.json": `{"ts":"2026-10-11T22:14:15.003Z","level":"info","msg":"a","http":{"status":200,"path":"/"},"tags":["x"],"more":1}` + "\n" +
				strings.Repeat(`{"ts":"2026-10-11T22:14:16Z","level":"info","msg":"b","http":{"status":404,"path":"/b"},"user":"jo","tags":[]}`+"\n", 9) +
				`{"ts":"2026-10-11T22:14:16Z","level":"info","msg":"c","http":{"status":70000,"path":"/b"},"user":"jo","tags":[]}` + "\n"},
			rows:    10,
			query:   "SELECT countIf(status = 404), countIf(user IS NULL), groupArrayArray(tags) FROM events",
			want:    "9\t1\t['x']",
			rejects: []reject{{"events.json", `{"ts":"2026-10-11T22:14:16Z","level":"info","msg":"c","http":{"status":70000,"path":"/b"},"user":"jo","tags":[]}`, "is no Tuple"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range tt.files {
				write(t, filepath.Join(dir, "logs"), name, text)
			}
			j := ended(t, submit(t, dir, documented(t, "logs.md", tt.name)))
			if j.State != job.DoneWithRejects || j.Totals.RowsLoaded != tt.rows {
				t.Fatalf("the job is %s with %+v: %s", j.State, j.Totals, j.Error)
			}
			if got := stack.SQL(t, tt.query); got != tt.want {
				t.Errorf("the table has %q, want %q", got, tt.want)
			}
			var got []clickhouse.RejectRow
			err := stack.ClickHouse.Rejects(t.Context(), clickhouse.RejectFilter{Job: j.ID, Limit: 10}, func(r clickhouse.RejectRow) error {
				got = append(got, r)
				return nil
			})
			if err != nil || !slices.EqualFunc(got, tt.rejects, func(got clickhouse.RejectRow, want reject) bool {
				return got.Offset == int64(strings.Index(tt.files[want.file], want.raw)) && got.Raw == want.raw && strings.Contains(got.Reason, want.reason)
			}) {
				t.Errorf("rejected are %+v, not %+v: %v", got, tt.rejects, err)
			}
		})
	}
}
