package clickhouse

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

// ClauseError is a CreateSpec that contradicts itself. Its class is
// job.Permanent.
type ClauseError struct {
	Field  string // of CreateSpec
	Column string // of Codecs, or the name of a setting; may be ""
	Reason string
}

func (e *ClauseError) Error() string {
	if e.Column == "" {
		return e.Field + ": " + e.Reason
	}
	return fmt.Sprintf("%s of %s: %s", e.Field, quoteName(e.Column), e.Reason)
}

// clauseWords begin the parts of a clause.
func clauseWords() []string {
	return []string{"ENGINE", "ORDER", "PARTITION", "PRIMARY", "SAMPLE", "TTL", "SETTINGS", "COMMENT"}
}

// clause is the text after the columns; whole tells that the user wrote it as
// it is.
func (s CreateSpec) clause() (text string, whole bool, err error) {
	text = strings.TrimRight(s.Engine, " \t\r\n;")
	isClause := slices.ContainsFunc(clauseWords(), func(word string) bool { return hasWord(text, word) })
	parts := map[string]string{"OrderBy": s.OrderBy, "PartitionBy": s.PartitionBy, "TTL": s.TTL}
	if len(s.Settings) > 0 {
		parts["Settings"] = "given"
	}
	given := slices.Sorted(maps.Keys(parts))
	given = slices.DeleteFunc(given, func(name string) bool { return parts[name] == "" })
	switch {
	case isClause && len(given) > 0:
		return "", false, &ClauseError{Field: "Engine", Reason: fmt.Sprintf("it is a whole clause, and %s is given beside it: either write all into the clause, or name the engine alone", strings.Join(given, ", "))}
	case isClause:
		return text, true, nil
	case s.OrderBy == "":
		return "", false, &ClauseError{Field: "OrderBy", Reason: "it is missing: by what shall the table be sorted? tuple() is by nothing"}
	case text == "":
		text = "MergeTree"
	}
	// Each on a line of its own: an expression may end in a comment.
	text = "ENGINE = " + text
	if s.PartitionBy != "" {
		text += "\nPARTITION BY " + tuple(s.PartitionBy)
	}
	text += "\nORDER BY " + tuple(s.OrderBy)
	if s.TTL != "" {
		text += "\nTTL " + s.TTL
	}
	settings, err := s.settings(engineOf(text))
	return text + settings, false, err
}

// tuple puts what is a list, such as "a, b", in parentheses.
func tuple(list string) string {
	for _, t := range tokens(list) {
		if t.depth == 0 && !t.quoted && t.text == "," {
			return "(" + list + "\n)"
		}
	}
	return list
}

// settings is the SETTINGS clause; with the deduplication window, since
// nothing can be added to it.
func (s CreateSpec) settings(engine string) (string, error) {
	if len(s.Settings) == 0 {
		return "", nil
	}
	all := maps.Clone(s.Settings)
	window := windowSetting(engine)
	if all[window] == "" {
		all[window] = strconv.FormatUint(s.DedupWindow, 10)
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == "" || plainOrQuoted(name) != name {
			return "", &ClauseError{Field: "Settings", Column: name, Reason: "that is no name of a setting"}
		}
		value := all[name]
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			value = quoteString(value)
		}
		list = append(list, name+" = "+value)
	}
	return "\nSETTINGS " + strings.Join(list, ", "), nil
}

// checkCodecs finds codecs of columns that are not there.
func (s CreateSpec) checkCodecs(columns []job.Column) error {
	for _, name := range slices.Sorted(maps.Keys(s.Codecs)) {
		if !slices.ContainsFunc(columns, func(c job.Column) bool { return c.Name == name }) {
			return &ClauseError{Field: "Codecs", Column: name, Reason: "the table has no such column"}
		}
	}
	return nil
}
