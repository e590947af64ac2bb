package files

import (
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
)

// DefaultChunkBytes is the target size of a chunk when Config names none.
const DefaultChunkBytes = 128 << 20

// Config is the block source.files of a pipeline.
type Config struct {
	// Paths are files and globs: *, ?, [a-z], {a,b} and ** for any number of
	// directories. Each must match something. A file that several match is
	// read once.
	//
	// An address such as s3://bucket/key names an object, or a glob of objects; one
	// of http:// or https:// a file of a web server, which has no globs.
	Paths []string
	// Stores open what addresses name, by scheme.
	Stores map[string]Opener
	// Seen reports whether a version of a file was loaded by an earlier job, by
	// what Version makes of it; nil: none was. Plan leaves those out.
	Seen func(version string) bool
	// Allow says which files of this machine may be read; nil: all.
	Allow *allow.Rules
	// Dir is what relative paths start from; the working directory by default.
	Dir string
	// Format is a ClickHouse input format, in any case, or a log format such as
	// access_log_combined; by default the extension says it. CSVWithNames is CSV
	// with Header true, and so on.
	Format string
	// Compression is none, gzip, zstd, bz2, xz, lz4, br, snappy or deflate; by
	// default the extension says it.
	Compression string
	// Header says whether CSV and TSV files begin with the names of their
	// columns. nil: as the engine judges the first file; the others must
	// then be alike. The engine sees no header where every value is text:
	// say true there.
	Header *bool
	// Delimiter is the byte between the fields of CSV; a comma by default.
	Delimiter string
	// Quote is the byte around the fields of CSV: a double quote by default,
	// or a single quote, or "none".
	Quote string
	// SkipLines leaves out lines before the header or the first record. As
	// in ClickHouse, a line of CSV may hold newlines in quotes.
	SkipLines int
	// Regexp is what each record must match as a whole, for the format Regexp, in
	// the syntax of RE2; its groups are the columns. All have names, and Columns
	// the types of those that are not String, or none has.
	Regexp string
	// Multiline puts several lines together to a record, of LineAsString, Regexp
	// and log formats; nil: a line is one.
	Multiline *Multiline
	// Columns are the declared columns; empty: the engine infers them.
	Columns []job.Column
	// Settings are further format settings of the engine. They outrank the
	// strict ones that this package sends. Those that would move the borders
	// of records, or drop rows in silence, are refused.
	Settings map[string]string
	// ChunkBytes is about how large the chunks become; 128 MiB by default.
	ChunkBytes int64
}

// Validate reports every mistake that can be seen without opening a file, as
// source.FieldErrors, or nil.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
	if len(c.Paths) == 0 {
		bad("path", "name a file or a glob such as data/*.csv", "is missing")
	}
	for _, p := range c.Paths {
		c.checkPath(p, bad)
	}
	f := c.checkFormat(bad)
	c.checkText(f, bad)
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		if why, refused := refusedSetting(name); refused {
			bad("settings."+name, why, "can not be set here")
		}
	}
	if c.ChunkBytes < 0 {
		bad("chunk", "128MiB is the default", "is negative")
	}
	source.CheckOnce(c.Columns, bad)
	return all.Err()
}

// numericRange is ClickHouse's glob of numbers, which doublestar reads as text.
var numericRange = regexp.MustCompile(`\{\d+\.\.\d+\}`)

func (c Config) checkPath(p string, bad source.Complain) {
	switch {
	case p == "":
		bad("path", "name a file or a glob such as data/*.csv", "is empty")
	case strings.ContainsRune(p, 0):
		bad("path", "", "%q holds a zero byte", p)
	case schemeOf.MatchString(p):
		c.checkAddress(p, bad)
	case !doublestar.ValidatePattern(filepath.ToSlash(p)):
		bad("path", "a [ or { is not closed; write \\[ for the letter", "%q is not a glob", p)
	case numericRange.MatchString(p):
		bad("path", "list the numbers, such as {1,2,3}, or use * or [0-9]", "%q has a range of numbers, which is not supported", p)
	}
}

// checkFormat returns the format of all files, or nil when it is left to their
// extensions.
func (c Config) checkFormat(bad source.Complain) *format {
	if c.Compression != "" {
		if _, ok := compressionNamed(c.Compression); !ok {
			bad("compression", near(c.Compression, compressionNames()), "%q is not known", c.Compression)
		}
	}
	if c.Format != "" {
		f, ok := formatNamed(c.Format)
		if !ok {
			bad("format", near(c.Format, formatNames()), "%q is not known", c.Format)
			return nil
		}
		return &f
	}
	for _, p := range c.Paths {
		if at, key := splitAddress(p); !at.listed() {
			p = bare(at, key)
		}
		base := path.Base(filepath.ToSlash(p))
		if ext := path.Ext(base); strings.ContainsAny(ext, "*?[{") || ext == "" && strings.ContainsAny(base, "*?[{") {
			continue // the names of the files will tell
		}
		if _, _, err := formatOfPath(p, c.Compression); err != nil && p != "" {
			bad("format", "write format: CSV or another one", "is missing, and %q does not say it by its extension", p)
			break
		}
	}
	return nil
}

func (c Config) checkText(f *format, bad source.Complain) {
	is := func(families ...family) bool { return f == nil || slices.Contains(families, f.family) }
	switch {
	case c.Delimiter == "":
	case !is(csv):
		bad("delimiter", "", "does not apply to the format %s", f.name)
	case len(c.Delimiter) != 1 || strings.ContainsAny(c.Delimiter, "\r\n\x00\"'.UL"):
		bad("delimiter", "one byte, such as ; or | or a tab", "can not be %q", c.Delimiter)
	}
	switch {
	case c.Quote == "":
	case !is(csv):
		bad("quote", "", "does not apply to the format %s", f.name)
	case c.Quote != `"` && c.Quote != "'" && c.Quote != "none":
		bad("quote", "a double quote, a single quote, or none", "can not be %q", c.Quote)
	}
	if c.Header != nil && f != nil {
		switch {
		case !f.mayHaveHeader():
			bad("header", "", "does not apply to the format %s", f.name)
		case f.header > 0 && !*c.Header:
			bad("header", "drop one of the two", "is false, but the format %s has one", f.asked)
		}
	}
	switch {
	case c.SkipLines < 0:
		bad("skip_lines", "", "is negative")
	case c.SkipLines > 0 && !is(csv, tsv, lines):
		bad("skip_lines", "", "does not apply to the format %s", f.name)
	}
	c.checkRegexp(f, bad)
	c.checkMultiline(f, bad)
}

func (c Config) checkRegexp(f *format, bad source.Complain) {
	isRegexp := f != nil && f.name == "Regexp"
	switch {
	case isRegexp && f.log != nil && c.Regexp != "":
		bad("regexp", "write format: Regexp for one of your own", "the format %s has one", f.asked)
		return
	case isRegexp && f.log == nil && c.Regexp == "":
		bad("regexp", `such as '^(?P<level>\S+) (?P<message>.*)$'`, "is missing for the format Regexp")
		return
	case !isRegexp && c.Regexp != "":
		bad("regexp", "write format: Regexp", "applies to the format Regexp only")
		return
	case !isRegexp:
		return
	}
	text, log := c.Regexp, f.log
	if log != nil {
		text = log.pattern
	}
	re, err := source.CompilePattern(text)
	if err != nil {
		bad("regexp", "", "does not parse: %v", err)
		return
	}
	if _, field, err := groups(re, log, c.Columns); err != nil {
		bad(field, "write (?P<name>…) for a column, and (?:…) for a group that is none", "%v", err)
	}
	if log != nil && c.Settings[escapingRule] != "" {
		bad("settings."+escapingRule, "", "does not apply to the format %s", f.asked)
	}
}

func (c Config) checkMultiline(f *format, bad source.Complain) {
	m := c.Multiline
	switch {
	case m == nil:
		return
	case c.Format == "":
		bad("multiline", "write format: LineAsString, Regexp or that of a log", "needs a format")
	case f != nil && !f.multiline():
		bad("multiline", "write format: LineAsString, Regexp or that of a log", "does not apply to the format %s", f.asked)
	case f != nil && f.name == "Regexp" && c.Regexp != "" && c.pattern(*f) == "":
		bad("multiline", "leave the setting "+escapingRule+" out", "does not apply to groups with escapes")
	}
	switch _, err := regexp.Compile(m.Begin); {
	case m.Begin == "":
		bad("multiline.begin", `such as '^\d{4}-\d\d-\d\d '`, "is missing")
	case err != nil:
		bad("multiline.begin", "", "does not parse: %v", err)
	}
	if m.Max < 0 || m.Max > MaxMultilineMax {
		bad("multiline.max", "", "%d is outside 1 to %d bytes", m.Max, MaxMultilineMax)
	}
}

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() Config {
	if c.ChunkBytes == 0 {
		c.ChunkBytes = DefaultChunkBytes
	}
	if c.Delimiter == "" {
		c.Delimiter = ","
	}
	if c.Quote == "" {
		c.Quote = `"`
	}
	if c.Dir == "" {
		c.Dir = "."
	}
	return c
}

// quote is the byte that quotes CSV fields, 0 for none.
func (c Config) quote() byte {
	if c.Quote == "none" {
		return 0
	}
	return c.Quote[0]
}
