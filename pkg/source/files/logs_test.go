package files

import (
	"slices"
	"strings"
	"testing"

	"drayage/pkg/source"
)

// TestLogFormats: each line of a log is what its format says, or does not match.
// Values are the texts of the groups; package transform makes them what they are.
func TestLogFormats(t *testing.T) {
	const apache = `host,ident,user,time,request,method,path,protocol,status,bytes`
	const combined = apache + `,referer,user_agent`
	for _, c := range []struct {
		format, groups, line, want string // want joined by |; empty: no match
	}{
		{"access_log_common", apache, `127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326`,
			`127.0.0.1||frank|10/Oct/2000:13:55:36 -0700|GET /apache_pb.gif HTTP/1.0|GET|/apache_pb.gif|HTTP/1.0|200|2326`},
		{"access_log_common", apache, `2001:db8::7 id - [10/Oct/2000:13:55:36 +0530] "-" 408 -`, `2001:db8::7|id||10/Oct/2000:13:55:36 +0530|||||408|`},
		{"access_log_common", apache, `::1 - John Doe [x] [10/Oct/2000:13:55:36 +0000] "GET /a b?c=\"d\" HTTP/2" 200 0`,
			`::1||John Doe [x]|10/Oct/2000:13:55:36 +0000|GET /a b?c=\"d\" HTTP/2|GET|/a b?c=\"d\"|HTTP/2|200|0`},
		{"access_log_common", apache, `h - - [10/Oct/2000:13:55:36 +0000] "\x16\x03\x01\x02" 400 226`, `h|||10/Oct/2000:13:55:36 +0000|\x16\x03\x01\x02||||400|226`},
		{"access_log_common", apache, "h - - [10/Oct/2000:13:55:36 +0000] \"\x16\x03\xff\x00\" 400 -", "h|||10/Oct/2000:13:55:36 +0000|\x16\x03\xff\x00||||400|"},
		{"access_log_common", apache, `h - - [10/Oct/2000:13:55:36 +0000] "GET /" 200 5`, `h|||10/Oct/2000:13:55:36 +0000|GET /||||200|5`},
		{"access_log_common", apache, `h - - [10/Oct/2000:13:55:36 +0000] "GET /\" 200 5 HTTP/1.1" 404 7`, `h|||10/Oct/2000:13:55:36 +0000|GET /\" 200 5 HTTP/1.1|GET|/\" 200 5|HTTP/1.1|404|7`},
		{"access_log_common", apache, `h - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326 "-" "-"`, ``},
		{"access_log_common", apache, `h - - [10/10/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326`, ``},
		{"access_log_common", apache, `h - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200`, ``},
		{"access_log_common", apache, ``, ``},
		{"access_log_combined", combined, `1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5 "http://x/\"y" "A \"quoted\" agent \\"`,
			`1.2.3.4|||10/Oct/2000:13:55:36 -0700|GET / HTTP/1.1|GET|/|HTTP/1.1|200|5|http://x/\"y|A \"quoted\" agent \\`},
		{"access_log_combined", combined, `h - - [10/Oct/2000:13:55:36 -0700] "-" 408 - "-" "-"`, `h|||10/Oct/2000:13:55:36 -0700|||||408|||`},
		{"access_log_combined", combined, `h - - [10/Oct/2000:13:55:36 -0700] "" 400 0 "" "-x"`, `h|||10/Oct/2000:13:55:36 -0700|||||400|0||-x`},
		{"access_log_combined", combined, `h - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 5`, ``},
		{"access_log_vhost_combined", "vhost," + combined, `example.org:443 h - - [10/Oct/2000:13:55:36 -0700] "-" 408 0 "-" "a"`, `example.org:443|h|||10/Oct/2000:13:55:36 -0700|||||408|0||a`},
		{"access_log_nginx_main", combined + ",forwarded_for", `h - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/3.0" 200 5 "-" "a" "10.0.0.1, 10.0.0.2"`,
			`h|||10/Oct/2000:13:55:36 -0700|GET / HTTP/3.0|GET|/|HTTP/3.0|200|5||a|10.0.0.1, 10.0.0.2`},
		{"syslog_rfc3164", "pri,time,host,program,pid,message", `<34>Oct 11 22:14:15 mymachine su[12]: 'su root' failed for lonvick on /dev/pts/8`, `34|Oct 11 22:14:15|mymachine|su|12|'su root' failed for lonvick on /dev/pts/8`},
		{"syslog_rfc3164", "pri,time,host,program,pid,message", `Oct  1 22:14:15 h kernel: [1.5] x: y`, `|Oct  1 22:14:15|h|kernel||[1.5] x: y`},
		{"syslog_rfc3164", "pri,time,host,program,pid,message", `Oct  1 22:14:15 h last message repeated 2 times`, `|Oct  1 22:14:15|h|||last message repeated 2 times`},
		{"syslog_rfc3164", "pri,time,host,program,pid,message", `<192>Oct  1 22:14:15 h a: b`, ``},
		{"syslog_iso", "pri,time,host,program,pid,message", `2026-10-11T22:14:15.003456+02:00 h systemd[1]: Started x.`, `|2026-10-11T22:14:15.003456+02:00|h|systemd|1|Started x.`},
		{"syslog_rfc5424", "pri,version,time,host,program,pid,message_id,structured_data,message",
			`<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - [a@1 k="x\]\"]"][b@2] %% It's time.`, `165|1|2003-08-24T05:14:15.000003-07:00|192.0.2.1|myproc|8710||[a@1 k="x\]\"]"][b@2]|%% It's time.`},
		{"syslog_rfc5424", "pri,version,time,host,program,pid,message_id,structured_data,message", "<34>1 - - su - ID47 - \ufeffé", `34|1|||su||ID47||é`},
		{"syslog_rfc5424", "pri,version,time,host,program,pid,message_id,structured_data,message", `<34>1 - - - - - -`, `34|1|||||||`},
		{"syslog_rfc5424", "pri,version,time,host,program,pid,message_id,structured_data,message", `<34>Oct 11 22:14:15 h su: x`, ``},
		{"container_cri", "time,stream,tag,message", `2016-10-06T00:17:09.669794202Z stdout F  {"a":1}`, `2016-10-06T00:17:09.669794202Z|stdout|F| {"a":1}`},
		{"container_cri", "time,stream,tag,message", `2016-10-06T00:17:09.669794202Z stderr P `, `2016-10-06T00:17:09.669794202Z|stderr|P|`},
	} {
		t.Run(c.format+" "+c.line, func(t *testing.T) {
			t.Parallel()
			s := mustNew(t, Config{Paths: []string{"a.log"}, Dir: write(t, map[string]string{"a.log": c.line + "\r\n"}), Format: c.format})
			columns, err := s.Columns(t.Context(), eng)
			if err != nil || strings.Join(names(columns), ",") != c.groups {
				t.Fatalf("columns %v: %v", columns, err)
			}
			// The engine and Go, which says why a line is rejected, agree.
			re, err := source.CompilePattern("^(?:" + s.cfg.pattern(*s.format) + ")$")
			if err != nil {
				t.Fatal(err)
			}
			var inGo string
			if m := re.FindStringSubmatch(c.line); m != nil {
				inGo = strings.Join(m[1:], "|")
			}
			got, err := text("SELECT arrayStringConcat(extractGroups("+literal(c.line)+", "+literal("^(?-s:"+s.cfg.pattern(*s.format)+")$")+"), '|') FORMAT TSVRaw", nil)
			if got = strings.TrimSuffix(got, "\n"); err != nil || got != c.want || inGo != c.want {
				t.Errorf("it is %q, in Go %q, not %q: %v", got, inGo, c.want, err)
			}
		})
	}
}

// TestGroups: named groups are columns, with the types that are declared.
func TestGroups(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"names", Config{Format: "regexp", Regexp: `(?P<a>.)(?<b>.)`}, "a String, b String"},
		{"declared", Config{Format: "Regexp", Regexp: `(?P<a>.)(?<b>.)`, Columns: cols("b", "UInt8")}, "a String, b UInt8"},
		{"declared in another order", Config{Format: "Regexp", Regexp: `(?P<a>.)(?<b>.)`, Columns: cols("b", "UInt8", "a", "Int8")}, "a Int8, b UInt8"},
		{"of values with escapes", Config{Format: "Regexp", Regexp: `(?P<a>.)(?<b>.)`, Columns: cols("b", "UInt8"), Settings: map[string]string{escapingRule: "Escaped"}}, "a String, b UInt8"},
		{"of a log", Config{Format: "container_cri", Columns: cols("time", "DateTime64(3)")}, "time DateTime64(3), stream LowCardinality(String), tag LowCardinality(String), message String"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.cfg.Paths, c.cfg.Dir = []string{"a.log"}, write(t, map[string]string{"a.log": "12\n"})
			columns, err := mustNew(t, c.cfg).Columns(t.Context(), eng)
			var all []string
			for _, col := range columns {
				all = append(all, col.Name+" "+col.Type)
			}
			if err != nil || strings.Join(all, ", ") != c.want {
				t.Errorf("%v, not %s: %v", all, c.want, err)
			}
		})
	}
	if !slices.Contains(formatNames(), "syslog_iso") {
		t.Error("the names of the logs are not listed")
	}
}
