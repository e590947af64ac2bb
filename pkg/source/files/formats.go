package files

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// family says how the files of a format are cut.
type family uint8

const (
	csv     family = iota + 1
	tsv            // newlines that a backslash does not escape
	lines          // newlines
	objects        // JSON objects, or an array of them
	arrays         // JSON arrays one after the other
	parquet        // row groups
	whole          // one chunk a file
)

// format is a ClickHouse input format as this package treats it.
type format struct {
	asked   string // as the user names it: CSVWithNames
	name    string // without the header: CSV
	family  family
	header  int    // lines of header: 1 names, 2 names and types
	magic   string // what every file of the format begins with
	columns bool   // the file names its columns, and some may be left out
	binary  bool   // it is no text
	seeks   bool   // the engine goes to and fro in it, so that it can not be streamed
	lined   bool   // JSON whose name says that each line is a record
	log     *logFormat
}

// splits reports whether a plain file of the format is cut into ranges.
func (f format) splits() bool { return f.family <= arrays }

// multiline reports whether Config.Multiline applies.
func (f format) multiline() bool { return f.name == "LineAsString" || f.name == "Regexp" }

// mayHaveHeader reports whether Config.Header applies.
func (f format) mayHaveHeader() bool {
	return f.family == csv || f.family == arrays || f.family == tsv && f.name != "TSKV" || f.name == "TSVRaw"
}

// withHeader is the name of the format for the engine when it is to skip the
// header itself.
func (f format) withHeader(n int) string {
	return f.name + [...]string{"", "WithNames", "WithNamesAndTypes"}[n]
}

// knownFormats lists every format once, by the name that is sent to the engine.
var knownFormats = func() []format {
	all := []format{
		{name: "JSONEachRow", family: objects},
		{name: "JSONStringsEachRow", family: objects},
		{name: "JSONAsString", family: objects},
		{name: "JSONAsObject", family: objects},
		{name: "LineAsString", family: lines},
		{name: "Regexp", family: lines},
		{name: "TSKV", family: tsv},
		{name: "Parquet", seeks: true, family: parquet, magic: "PAR1", columns: true, binary: true},
		{name: "Arrow", seeks: true, family: whole, magic: "ARROW1", columns: true, binary: true},
		{name: "ArrowStream", family: whole, columns: true, binary: true},
		{name: "ORC", seeks: true, family: whole, magic: "ORC", columns: true, binary: true},
		{name: "Avro", family: whole, magic: "Obj\x01", columns: true, binary: true},
		{name: "Native", family: whole, columns: true, binary: true},
		{name: "RowBinary", family: whole, binary: true},
		{name: "RowBinaryWithNames", family: whole, binary: true},
		{name: "RowBinaryWithNamesAndTypes", family: whole, binary: true},
		{name: "BSONEachRow", family: whole, binary: true},
		{name: "MsgPack", family: whole, binary: true},
		{name: "JSON", family: whole},
		{name: "JSONCompact", family: whole},
		{name: "JSONColumns", family: whole},
		{name: "JSONCompactColumns", family: whole},
		{name: "JSONColumnsWithMetadata", family: whole},
		{name: "JSONObjectEachRow", family: whole},
		{name: "CustomSeparated", family: whole},
		{name: "CustomSeparatedWithNames", family: whole},
		{name: "CustomSeparatedWithNamesAndTypes", family: whole},
		{name: "Values", family: whole},
		{name: "MySQLDump", family: whole},
		{name: "Npy", family: whole, magic: "\x93NUMPY", binary: true},
		{name: "RawBLOB", family: whole, binary: true},
	}
	for _, f := range []format{
		{name: "CSV", family: csv},
		{name: "TSV", family: tsv},
		{name: "TSVRaw", family: lines},
		{name: "JSONCompactEachRow", family: arrays},
		{name: "JSONCompactStringsEachRow", family: arrays},
	} {
		for f.header = range 3 {
			all = append(all, f)
		}
	}
	for i := range all {
		all[i].asked = all[i].withHeader(all[i].header)
	}
	for i := range logFormats {
		all = append(all, format{asked: logFormats[i].name, name: "Regexp", family: lines, log: &logFormats[i]})
	}
	return all
}()

// formatAliases are ClickHouse's other names of formats.
var formatAliases = map[string]string{
	"jsonlines": "JSONEachRow", "jsonl": "JSONEachRow", "ndjson": "JSONEachRow",
	"tabseparated": "TSV", "tabseparatedwithnames": "TSVWithNames", "tabseparatedwithnamesandtypes": "TSVWithNamesAndTypes",
	"tabseparatedraw": "TSVRaw", "tabseparatedrawwithnames": "TSVRawWithNames", "tabseparatedrawwithnamesandtypes": "TSVRawWithNamesAndTypes",
	"raw": "TSVRaw", "rawwithnames": "TSVRawWithNames", "rawwithnamesandtypes": "TSVRawWithNamesAndTypes",
}

// formatNamed finds a format by the name a user gives it.
func formatNamed(name string) (format, bool) {
	name = strings.ToLower(name)
	to, alias := formatAliases[name]
	if alias {
		name = strings.ToLower(to)
	}
	for _, f := range knownFormats {
		if strings.ToLower(f.asked) == name {
			f.lined = alias && f.family == objects
			return f, true
		}
	}
	return format{}, false
}

func formatNames() []string {
	names := make([]string, len(knownFormats))
	for i, f := range knownFormats {
		names[i] = f.asked
	}
	return names
}

// formatByExtension is what an extension stands for.
var formatByExtension = map[string]string{
	".csv": "CSV", ".tsv": "TSV", ".tab": "TSV",
	".json": "JSONEachRow", ".jsonl": "JSONLines", ".ndjson": "JSONLines",
	".parquet": "Parquet", ".pq": "Parquet",
	".arrow": "Arrow", ".feather": "Arrow", ".arrows": "ArrowStream",
	".orc": "ORC", ".avro": "Avro", ".native": "Native", ".bson": "BSONEachRow", ".npy": "Npy",
	".log": "LineAsString", ".txt": "LineAsString",
}

// formatOfPath reads the format and the compression off the end of a path. A
// compression that is given outranks the path's.
func formatOfPath(path, given string) (format, compression, error) {
	base := filepath.Base(path)
	ext := strings.ToLower(filepath.Ext(base))
	comp, ok := compressionOfExtension(ext)
	if ok {
		base = base[:len(base)-len(ext)]
		ext = strings.ToLower(filepath.Ext(base))
	}
	if given != "" {
		comp, _ = compressionNamed(given)
	}
	name, ok := formatByExtension[ext]
	if slices.Contains(archives, strings.ToLower(filepath.Ext(base))) {
		return format{}, comp, fmt.Errorf("%s files are archives or of a compression that is not supported: unpack them, or compress with gzip or zstd", ext)
	}
	if !ok {
		return format{}, comp, fmt.Errorf("the extension %q names no format", ext)
	}
	f, _ := formatNamed(name)
	return f, comp, nil
}

// near is a hint that names what was probably meant.
func near(word string, names []string) string {
	type guess struct {
		name     string
		distance int
	}
	var all []guess
	for _, n := range names {
		a, b := strings.ToLower(word), strings.ToLower(n)
		d := distance(a, b)
		if strings.HasPrefix(b, a) && a != "" {
			d = min(d, 1)
		}
		all = append(all, guess{n, d})
	}
	slices.SortStableFunc(all, func(x, y guess) int { return x.distance - y.distance })
	var close []string
	for _, g := range all[:min(3, len(all))] {
		if g.distance <= max(2, len(word)/2) {
			close = append(close, g.name)
		}
	}
	if len(close) == 0 {
		return "one of " + strings.Join(names, ", ")
	}
	return "did you mean " + strings.Join(close, ", ") + "?"
}

// distance counts the letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
