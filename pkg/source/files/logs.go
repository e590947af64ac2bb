package files

import (
	"fmt"
	"regexp"
	"slices"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Parts of the patterns of logs. A value in quotes may hold bytes that are no
// UTF-8, which only \C matches, and quotes behind a backslash, as Apache and
// nginx write them: it ends where the rest of the line fits. A - is no value.
const (
	accessStart = `(?P<host>[!-~]+) (?:-|(?P<ident>[!-~]+)) (?:-|(?P<user>[^\[]\C*?)) ` +
		`\[(?P<time>[0-3]\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d\d[0-5]\d)\] ` +
		`"(?:-|(?P<request>(?P<method>[A-Za-z][A-Za-z_-]*) (?P<path>\C+?) (?P<protocol>HTTP/\d(?:\.\d)?)|\C*?))" ` +
		`(?P<status>\d{3}) (?:-|(?P<bytes>\d+))`
	accessAgent = ` "(?:-|(?P<referer>\C*?))" "(?:-|(?P<user_agent>\C*?))"`

	timeISO    = `\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)`
	timeBSD    = `[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d`
	priority   = `(?P<pri>\d{1,2}|1[0-8]\d|19[01])`
	syslogRest = ` (?P<host>[!-~]+) (?:(?P<program>[^\s:\[\]]+)(?:\[(?P<pid>\d+)\])?: ?)?(?P<message>\C*)`
)

// logFormat is a format of log lines that is known by a name: a pattern, and the
// types of its groups, String where none is named.
type logFormat struct {
	name    string
	pattern string
	types   map[string]string
}

var logFormats = func() []logFormat {
	access := map[string]string{
		"time": "DateTime('UTC')", "method": "LowCardinality(String)", "protocol": "LowCardinality(String)",
		"status": "UInt16", "bytes": "Nullable(UInt64)",
	}
	return []logFormat{
		{"access_log_common", accessStart, access},
		{"access_log_combined", accessStart + accessAgent, access},
		{"access_log_vhost_combined", `(?P<vhost>[!-~]+) ` + accessStart + accessAgent, access},
		{"access_log_nginx_main", accessStart + accessAgent + ` "(?:-|(?P<forwarded_for>\C*?))"`, access},
		{"syslog_rfc3164", `(?:<` + priority + `>)?(?P<time>` + timeBSD + `)` + syslogRest, map[string]string{"pri": "Nullable(UInt8)"}},
		{"syslog_iso", `(?:<` + priority + `>)?(?P<time>` + timeISO + `)` + syslogRest, map[string]string{"pri": "Nullable(UInt8)", "time": "DateTime64(6, 'UTC')"}},
		{"syslog_rfc5424", `<` + priority + `>(?P<version>[1-9]\d?) (?:-|(?P<time>` + timeISO + `)) (?:-|(?P<host>[!-~]+)) (?:-|(?P<program>[!-~]+)) ` +
			`(?:-|(?P<pid>[!-~]+)) (?:-|(?P<message_id>[!-~]+)) (?:-|(?P<structured_data>(?:\[(?:[^\]"]|"(?:[^"\\]|\\\C)*")*\])+))(?: (?:\x{FEFF})?(?P<message>\C*))?`,
			map[string]string{"pri": "UInt8", "version": "UInt8", "time": "Nullable(DateTime64(6, 'UTC'))"}},
		{"container_cri", `(?P<time>` + timeISO + `) (?P<stream>stdout|stderr) (?P<tag>[FP]\S*) (?P<message>\C*)`,
			map[string]string{"time": "DateTime64(9, 'UTC')", "stream": "LowCardinality(String)", "tag": "LowCardinality(String)"}},
	}
}()

// pattern is the regular expression of the records of a Regexp or a log; empty
// where another format's is meant, or one whose groups the engine alone reads.
func (c Config) pattern(f format) string {
	switch {
	case f.name != "Regexp":
		return ""
	case f.log != nil:
		return f.log.pattern
	case c.Settings[escapingRule] != "" && c.Settings[escapingRule] != "Raw":
		return ""
	}
	return c.Regexp
}

const escapingRule = "format_regexp_escaping_rule"

// groups are the columns that the named groups of a pattern are, in their order,
// with the types that are declared, or the log's, or String; none when no group
// has a name. It returns what is wrong with the regular expression or with the
// declared columns.
func groups(re *regexp.Regexp, log *logFormat, declared []job.Column) (columns []job.Column, field string, err error) {
	names := re.SubexpNames()[1:]
	named := slices.ContainsFunc(names, func(n string) bool { return n != "" })
	switch {
	case len(names) == 0:
		return nil, "regexp", fmt.Errorf("has no groups")
	case !named && len(declared) > 0 && len(names) != len(declared):
		return nil, "regexp", fmt.Errorf("has %d groups for %d columns", len(names), len(declared))
	case !named:
		return nil, "", nil
	}
	for i, name := range names {
		if name == "" {
			return nil, "regexp", fmt.Errorf("has names for some groups, and none for group %d", i+1)
		}
		c := job.Column{Name: name, Type: "String"}
		if log != nil && log.types[name] != "" {
			c.Type = log.types[name]
		}
		if at := slices.IndexFunc(declared, func(d job.Column) bool { return d.Name == name }); at >= 0 {
			c.Type = declared[at].Type
		}
		columns = append(columns, c)
	}
	for _, d := range declared {
		if !slices.Contains(names, d.Name) {
			return nil, "columns", fmt.Errorf("%s is no group of the regular expression", d.Name)
		}
	}
	return columns, "", nil
}

// matching fills in the columns that the groups of a Regexp or a log name.
func (c *Config) matching(f format) {
	if f.name != "Regexp" {
		return
	}
	text := c.Regexp // also of groups with escapes
	if f.log != nil {
		text = f.log.pattern
	}
	if re, err := source.CompilePattern(text); err == nil {
		if columns, _, err := groups(re, f.log, c.Columns); err == nil && columns != nil {
			c.Columns = columns
		}
	}
}

// Declared are the columns that the configuration says, by Columns or by the
// names of groups; nil when the files are to be looked at. It does not validate.
func (c Config) Declared() []job.Column {
	if f, ok := formatNamed(c.Format); ok {
		c.matching(f)
	}
	return c.Columns
}

// numberedGroups are the columns of a pattern whose groups have no names, and
// for which none are declared.
func numberedGroups(pattern string) ([]job.Column, error) {
	re, err := source.CompilePattern(pattern)
	if err != nil {
		return nil, err
	}
	var columns []job.Column
	for i := range re.NumSubexp() {
		columns = append(columns, job.Column{Name: fmt.Sprintf("c%d", i+1), Type: "String"})
	}
	return columns, nil
}

// shape says of in, whose format is f, how its records are put together and
// taken apart.
func (s *Source) shape(f format, in *source.Input) {
	if in.Pattern = s.cfg.pattern(f); in.Pattern != "" {
		in.Format = "LineAsString"
	}
	in.Framed = s.begin != nil && f.multiline()
}
