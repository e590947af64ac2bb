package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"drayage/pkg/job"
)

// pager goes through the pages of one chunk.
type pager struct {
	cfg     Paging
	number  int    // of the page, from 1
	page    int    // for the kinds page and offset: what is sent
	cursor  string // empty: the first page
	link    *url.URL
	records int // of the pages before

	last  marks  // of the page before, where it had records
	mark  string // a cursor or link from before, to find a circle
	power int    // pages until mark moves
	since int
}

func newPager(cfg Paging) *pager {
	p := &pager{cfg: cfg, number: 1, power: 1}
	if cfg.Kind == PagingPage {
		p.page = 1
	}
	if cfg.Start != nil {
		p.page = *cfg.Start
	}
	return p
}

// vars are what stands for the page in templates, and in the query under param.
func (p *pager) vars() (name, value string) {
	switch p.cfg.Kind {
	case PagingPage, PagingOffset:
		return p.cfg.Kind, strconv.Itoa(p.page)
	case PagingCursor:
		return p.cfg.Kind, p.cursor
	}
	return "", ""
}

// next goes on after a page that was read to its end, and reports whether there
// is another one. It refuses what would go on for ever.
func (p *pager) next(a *answer, now marks, at *url.URL, header http.Header) (more bool, err error) {
	if p.number > 1 && p.repeats(a, now) {
		return false, job.Permanentf("page %d is the same as the one before: the API does not heed the paging, or repeats its last page (paging.total tells where it ends)", p.number)
	}
	p.last = marks{}
	if a.count > 0 {
		p.last = now
	}
	p.records += a.count
	switch p.cfg.Kind {
	case PagingPage, PagingOffset:
		more, err = p.counted(a)
	case PagingCursor:
		more, err = p.cursored(a)
	case PagingLink:
		more, err = p.linked(a, at, header)
	}
	if !more || err != nil {
		return false, err
	}
	if p.number++; p.number > p.cfg.MaxPages {
		return false, job.Permanentf("there are more than %d pages: raise paging.max_pages, or cut the range smaller", p.cfg.MaxPages)
	}
	return true, nil
}

// marks are hashes of a page: as it came, and of its records.
type marks struct{ body, records uint64 }

// repeats reports whether a page is the one before: the same bytes or, where the
// API writes the time or a number into each answer, the same records. One equal
// record may be a coincidence; where a cursor tells the pages apart, many may.
func (p *pager) repeats(a *answer, now marks) bool {
	return a.count > 0 && (now.body == p.last.body || a.count > 1 && p.cfg.Kind != PagingCursor && now.records == p.last.records)
}

func (p *pager) counted(a *answer) (more bool, err error) {
	if a.count == 0 {
		return false, nil
	}
	if p.cfg.Total != "" {
		total, err := strconv.Atoi(strings.Trim(string(a.total), `"`))
		if err != nil {
			return false, job.Permanentf("page %d has no number of records at %s (paging.total)", p.number, p.cfg.Total)
		}
		if p.records >= total {
			return false, nil
		}
	}
	if p.cfg.Kind == PagingPage {
		p.page++
	} else {
		p.page += a.count
	}
	return true, nil
}

// named is the cursor or the address of the next page that an answer has; empty
// where it has none.
func (p *pager) named(a *answer) (next string, err error) {
	switch text := string(a.cursor); {
	case text == "" || text == "null" || text == `""` || text == "false":
		return "", nil
	case text[0] == '"':
		if err := json.Unmarshal(a.cursor, &next); err != nil {
			return "", job.Retryf("the next cursor does not parse: %w", err)
		}
		return next, nil
	case text == "true":
		return "", job.Permanentf("the next cursor at %s is true: name the path of the cursor itself", p.cfg.Cursor)
	default:
		return text, nil
	}
}

func (p *pager) cursored(a *answer) (more bool, err error) {
	next, err := p.named(a)
	if next == "" || err != nil {
		return false, err
	}
	if next == p.cursor {
		return false, job.Permanentf("page %d names its own cursor as the next one: the API would repeat it for ever", p.number)
	}
	p.cursor = next
	return true, p.circle(next)
}

func (p *pager) linked(a *answer, at *url.URL, header http.Header) (more bool, err error) {
	text := nextLink(header)
	if p.cfg.Cursor != "" {
		text, err = p.named(a)
	}
	if text == "" || err != nil {
		return false, err
	}
	next, err := at.Parse(text)
	switch {
	case err != nil:
		return false, job.Permanentf("the link to the page after page %d is no address", p.number)
	case !sameOrigin(at, next):
		return false, job.Permanentf("the link to the page after page %d leads to another host, %s://%s", p.number, next.Scheme, next.Host)
	case next.String() == at.String():
		return false, job.Permanentf("page %d names itself as the next one: the API would repeat it for ever", p.number)
	}
	next.Fragment = ""
	p.link = next
	return true, p.circle(next.String())
}

// circle finds cursors that come round again, by comparing each with one from
// before, which moves up at pages 1, 2, 4, 8, …: without keeping them all.
func (p *pager) circle(next string) error {
	if p.mark != "" && next == p.mark {
		return job.Permanentf("after page %d comes again what came %d pages before: the API goes round in a circle", p.number, p.since+1)
	}
	if p.since++; p.since == p.power {
		p.mark, p.since, p.power = next, 0, 2*p.power
	}
	return nil
}

// nextLink is the target of rel="next" in Link headers; empty when there is none.
func nextLink(header http.Header) string {
	for _, line := range header.Values("Link") {
		for line != "" {
			_, rest, ok := strings.Cut(line, "<")
			if !ok {
				break
			}
			target, rest, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, after := cutUnquoted(rest)
			line = after
			for _, param := range strings.Split(params, ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
				if !strings.EqualFold(strings.TrimSpace(name), "rel") {
					continue
				}
				for _, rel := range strings.Fields(strings.Trim(strings.TrimSpace(value), `"`)) {
					if strings.EqualFold(rel, "next") {
						return target
					}
				}
			}
		}
	}
	return ""
}

// cutUnquoted cuts at the first comma outside double quotes.
func cutUnquoted(s string) (before, after string) {
	quoted := false
	for i := range len(s) {
		switch s[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, ""
}
