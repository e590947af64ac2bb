package quarantine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/transform"
)

// fitted finds out how the records of the input are cut. It reports whether
// they can be.
func (w *work) fitted() bool {
	in := w.Input
	w.settings, w.structure, w.base = maps.Clone(in.Settings), in.Structure, w.Offset
	if w.settings == nil {
		w.settings = map[string]string{}
	}
	w.format, w.header = withoutHeader(in.Format)
	for _, name := range []string{"input_format_csv_skip_first_lines", "input_format_tsv_skip_first_lines"} {
		if n, err := strconv.Atoi(w.settings[name]); err == nil && w.skip == 0 {
			w.skip = n
		}
		delete(w.settings, name)
	}
	w.skip += w.header
	w.named = w.header > 0 && w.settings["input_format_with_names_use_header"] != "0"
	if in.File != nil && in.Compression != "" && in.Compression != "none" {
		w.base = -1
	}
	switch w.format {
	case "CSV":
		w.cutter = w.csv()
	case "TSV":
		w.cutter = &lineCutter{escapes: true, fields: w.fields()}
	case "TSVRaw":
		w.cutter = &lineCutter{fields: w.fields()}
	case "TSKV":
		w.cutter = &lineCutter{escapes: true}
	case "LineAsString":
		if w.cutter = (&lineCutter{matches: matcher(in.Pattern)}); in.Framed {
			w.cutter = frameCutter{matches: matcher(in.Pattern)}
		}
	case "Regexp":
		w.cutter = &lineCutter{matches: matcher(w.settings["format_regexp"])}
	case "JSONEachRow", "JSONStringsEachRow", "JSONAsString", "JSONAsObject":
		w.cutter = newJSONCutter('{', w.structure)
		if strings.HasPrefix(w.format, "JSONAs") {
			w.cutter = &jsonCutter{open: '{', any: true}
		}
	case "JSONCompactEachRow", "JSONCompactStringsEachRow":
		w.cutter = newJSONCutter('[', w.structure)
	default:
		return false
	}
	return true
}

// matcher tells what matches the pattern as a whole; nil where there is none, or
// none that is understood here.
func matcher(pattern string) func([]byte) bool {
	if pattern == "" {
		return nil
	}
	re, err := source.CompilePattern(transform.MatchPattern(pattern))
	if err != nil {
		return nil
	}
	return re.Match
}

func withoutHeader(format string) (base string, lines int) {
	if base, ok := strings.CutSuffix(format, "WithNamesAndTypes"); ok {
		return base, 2
	}
	if base, ok := strings.CutSuffix(format, "WithNames"); ok {
		return base, 1
	}
	return format, 0
}

// fields is how many fields a line has; 0 when that is not certain.
func (w *work) fields() int {
	for name, value := range w.settings {
		if strings.HasSuffix(name, "allow_variable_number_of_columns") && value != "0" {
			return 0
		}
	}
	return len(w.structure)
}

func (w *work) csv() *csvCutter {
	c := &csvCutter{delimiter: ',', quote: '"', fields: w.fields()}
	if d := w.settings["format_csv_delimiter"]; d != "" {
		c.delimiter = d[0]
	}
	c.space = c.delimiter == ' ' || c.delimiter == '\t'
	switch {
	case w.settings["format_csv_allow_single_quotes"] == "1":
		c.quote = '\''
	case w.settings["format_csv_allow_double_quotes"] == "0":
		c.quote = 0
	}
	for _, col := range w.structure {
		if strings.Contains(col.Type, "Tuple(") {
			c.fields = 0 // it may be one field or several
		}
	}
	return c
}

// order puts the structure into the order of the header in a file that only
// the engine has read so far.
func (w *work) order(header []byte) error {
	w.named = false
	var names []string
	header = bytes.TrimSuffix(header, []byte("\r"))
	switch c := w.cutter.(type) {
	case *jsonCutter:
		if err := json.Unmarshal(header, &names); err != nil {
			return job.WithClass(fmt.Errorf("reading the header: %w", err), job.Permanent)
		}
	case *csvCutter:
		names = c.split(header)
	default:
		names = strings.Split(string(header), "\t")
	}
	byName := map[string]job.Column{}
	for _, col := range w.structure {
		byName[col.Name] = col
	}
	var ordered []job.Column
	for _, name := range names {
		col, ok := byName[name]
		if !ok {
			return job.WithClass(fmt.Errorf("the header names %q, which is no column", name), job.Permanent)
		}
		ordered = append(ordered, col)
	}
	if len(ordered) != len(w.structure) {
		return job.WithClass(fmt.Errorf("the header names %d columns of %d", len(ordered), len(w.structure)), job.Permanent)
	}
	w.structure = ordered
	return nil
}

// split splits a record into its fields.
func (c *csvCutter) split(record []byte) []string {
	var fields []string
	for i := 0; i <= len(record); i++ {
		for i < len(record) && (record[i] == ' ' || record[i] == '\t') && !c.space {
			i++
		}
		var field []byte
		if c.quote != 0 && i < len(record) && record[i] == c.quote {
			end := c.closing(record, i+1)
			if end < 0 {
				end = len(record)
			}
			quote := string(c.quote)
			field = []byte(strings.ReplaceAll(strings.TrimSuffix(string(record[i+1:end]), quote), quote+quote, quote))
			i = end
		}
		start := i
		for i < len(record) && record[i] != c.delimiter {
			i++
		}
		if field == nil {
			field = bytes.TrimSpace(record[start:i])
		}
		fields = append(fields, string(field))
	}
	return fields
}
