package stages

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"drayage/pkg/stage"
)

// SpellNamesSettings are the settings of the stage spell-names.
type SpellNamesSettings struct {
	Column string            `json:"column"`
	Words  map[string]string `json:"words"` // more abbreviations, with what they stand for
}

// SpellNames is a Map that spells out the names of places as the FAA abbreviates
// them: of DALLAS/FORT WORTH INTL ARPT it makes Dallas/Fort Worth International
// Airport. A name that is empty is no name: its record goes to quarantine.
func SpellNames(s SpellNamesSettings) (stage.Stage, error) {
	if s.Column == "" {
		return stage.Stage{}, errors.New("column is missing: name the column of the names")
	}
	words := map[string]string{}
	for short, long := range abbreviations {
		words[short] = long
	}
	for short, long := range s.Words {
		words[strings.ToUpper(short)] = long
	}
	return stage.Map(stage.Need(s.Column), func(r *stage.Record) error {
		name, err := r.Text(s.Column)
		if err != nil {
			return err
		}
		if strings.TrimSpace(name) == "" {
			return fmt.Errorf("column %s: there is no name", s.Column)
		}
		return r.Set(s.Column, spell(name, words))
	}), nil
}

// abbreviations are those of the FAA's reports. What is not here is a word, or in
// brackets or of one letter an abbreviation that stays.
var abbreviations = map[string]string{
	"ARPT": "Airport", "INTL": "International", "NATL": "National", "RGNL": "Regional", "MUNI": "Municipal",
	"CNTY": "County", "FLD": "Field", "WASH": "Washington", "ST": "St.", "AFB": "Air Force Base", "NY": "New York",
}

// spell spells out a name word by word; what stands between words stays.
func spell(name string, words map[string]string) string {
	var b strings.Builder
	bracket := false
	for len(name) > 0 {
		end := strings.IndexFunc(name, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' })
		switch {
		case end < 0:
			end = len(name)
		case end == 0: // no word
			bracket = name[0] == '('
			b.WriteByte(name[0])
			name = name[1:]
			continue
		}
		word := name[:end]
		name = name[end:]
		long, short := words[strings.ToUpper(word)]
		switch {
		case bracket:
			b.WriteString(word)
		case short:
			b.WriteString(long)
		default:
			b.WriteString(capital(word))
		}
	}
	return b.String()
}

// capital is a word with capital letters at its start and after an apostrophe:
// O'Hare.
func capital(word string) string {
	parts := strings.Split(strings.ToLower(word), "'")
	for i, p := range parts {
		if i == 0 || len(p) > 1 { // but not that of a genitive
			for at, r := range p {
				parts[i] = string(unicode.ToUpper(r)) + p[at+len(string(r)):]
				break
			}
		}
	}
	return strings.Join(parts, "'")
}
