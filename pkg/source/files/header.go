package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// headerRule says what is known about the files' headers.
type headerRule uint8

const (
	headerUnknown headerRule = iota // the first file decides
	headerNo
	headerYes
	// headerByEngine: there is a header, and only the engine can decompress
	// the file to read it.
	headerByEngine
)

// rule is what the configuration and the columns say about headers of the
// format f, before any file is looked at.
func (s *Source) rule(f format, columns []job.Column) headerRule {
	switch {
	case !f.mayHaveHeader():
		return headerNo
	case f.header > 0, s.cfg.Header != nil && *s.cfg.Header:
		return headerYes
	case s.cfg.Header != nil, f.family != csv && f.name != "TSV":
		return headerNo
	case len(s.cfg.Columns) == 0 && len(columns) > 0 && !numbered(columns):
		return headerYes // the engine found these names in a header
	}
	return headerUnknown
}

// numbered reports whether the columns are called c1, c2, …, as the engine
// calls those of a file without a header.
func numbered(columns []job.Column) bool {
	for i, c := range columns {
		if c.Name != fmt.Sprintf("c%d", i+1) {
			return false
		}
	}
	return true
}

// headerLines is how many lines of header a file has under the rule r.
func (f format) headerLines(r headerRule) int {
	if r == headerNo {
		return 0
	}
	return max(1, f.header)
}

// settleHeader finds the layout of f under rule, and the rule for the files
// after it. Columns are the declared or frozen ones.
func (s *Source) settleHeader(ctx context.Context, f *file, rule headerRule, columns []job.Column) (layout, headerRule, error) {
	h, err := f.head()
	if errors.Is(err, errNoReader) {
		switch rule {
		case headerNo:
			return layout{}, rule, nil
		case headerYes:
			return layout{}, headerByEngine, nil
		}
		return layout{}, rule, job.Permanentf("%s: whether it has a header can not be told of %s files: write header: true or header: false", f.path, f.comp.name)
	}
	if err != nil {
		return layout{}, rule, err
	}
	l, err := s.readLayout(ctx, f.format, h, f.format.headerLines(rule))
	if err != nil {
		return l, rule, job.Permanentf("%s: %w", f.path, err)
	}
	if len(l.names) == 0 {
		l.names = nil
		if rule == headerYes && !h.all || rule == headerYes && int64(len(h.data)) > l.start {
			return l, rule, job.Permanentf("%s: its header is an empty line", f.path)
		}
		if rule == headerUnknown {
			l.start = l.first
		}
		return l, rule, nil
	}
	unknown, missing, twice := compareNames(l.names, columns)
	same := len(unknown)+len(missing)+len(twice) == 0
	if rule == headerUnknown {
		switch {
		case same:
			return l, headerYes, nil
		case len(missing) == len(columns):
			l.names, l.start = nil, l.first
			return l, headerNo, nil
		}
		return l, rule, job.Permanentf("%s: its first line looks like a header of other columns than the source's: %s; if it is data, write header: false",
			f.path, difference(unknown, missing, twice))
	}
	if !same {
		return l, rule, job.Permanentf("%s: its header does not name the columns of the source: %s", f.path, difference(unknown, missing, twice))
	}
	return l, rule, nil
}

// compareNames compares a header with the columns.
func compareNames(names []string, columns []job.Column) (unknown, missing, twice []string) {
	seen := map[string]bool{}
	known := map[string]bool{}
	for _, c := range columns {
		known[c.Name] = true
	}
	for _, n := range names {
		switch {
		case seen[n]:
			if !slices.Contains(twice, n) {
				twice = append(twice, n)
			}
		case !known[n]:
			unknown = append(unknown, n)
		}
		seen[n] = true
	}
	for _, c := range columns {
		if !seen[c.Name] {
			missing = append(missing, c.Name)
		}
	}
	return unknown, missing, twice
}

// maxListed is how many names an error lists of each kind.
const maxListed = 20

func difference(unknown, missing, twice []string) string {
	var parts []string
	list := func(what string, names []string) {
		if len(names) == 0 {
			return
		}
		quoted := make([]string, 0, maxListed)
		for _, n := range names[:min(len(names), maxListed)] {
			quoted = append(quoted, fmt.Sprintf("%q", n))
		}
		if more := len(names) - len(quoted); more > 0 {
			quoted = append(quoted, fmt.Sprintf("and %d more", more))
		}
		parts = append(parts, what+" "+strings.Join(quoted, ", "))
	}
	list("unknown:", unknown)
	list("missing:", missing)
	list("twice:", twice)
	return strings.Join(parts, "; ")
}

// fingerprint tells names in one order from all others; "" for none.
func fingerprint(names []string) string {
	if len(names) == 0 {
		return ""
	}
	h := sha256.New()
	for _, n := range names {
		fmt.Fprintf(h, "%d:%s", len(n), n)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// structure returns the columns in the order of the header of the file f, of
// which p is a part.
func (s *Source) structure(ctx context.Context, f *file, p piece, columns []job.Column) ([]job.Column, error) {
	if p.Header != headerYes || p.Names != "" && p.Names == fingerprint(names(columns)) {
		return columns, nil
	}
	h, err := f.head()
	if err != nil {
		return nil, err
	}
	l, err := s.readLayout(ctx, f.format, h, f.format.headerLines(headerYes))
	if err != nil {
		return nil, job.Permanentf("%s: %w", f.path, err)
	}
	return inOrder(f, columns, l.names)
}

// inOrder returns the columns in the order of names. They are the same where
// the columns are those that f was planned with; those of a job that takes
// over chunks of another may differ.
func inOrder(f *file, columns []job.Column, names []string) ([]job.Column, error) {
	if unknown, missing, twice := compareNames(names, columns); len(unknown)+len(missing)+len(twice) > 0 {
		return nil, job.Permanentf("%s: its header does not name the columns of the source: %s", f.path, difference(unknown, missing, twice))
	}
	byName := make(map[string]job.Column, len(columns))
	for _, c := range columns {
		byName[c.Name] = c
	}
	ordered := make([]job.Column, len(names))
	for i, n := range names {
		ordered[i] = byName[n]
	}
	return ordered, nil
}
