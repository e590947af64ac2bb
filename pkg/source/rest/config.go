package rest

import (
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Defaults of a Config.
const (
	DefaultMaxPage  = 64 << 20
	DefaultMaxPages = 100_000 // of a chunk
	DefaultTimeout  = 30 * time.Second
	DefaultRetries  = 4
)

// Kinds of paging.
const (
	PagingNone   = "none"
	PagingPage   = "page"
	PagingOffset = "offset"
	PagingCursor = "cursor"
	PagingLink   = "link"
)

// Config is the block source.http of a pipeline.
type Config struct {
	// URL is a template: {from}, {to} and {last} (the last that is included)
	// stand for the range of a chunk, {value} for its value; {page}, {offset}
	// and {cursor} for the page. They are escaped as the place in the URL
	// demands. The host is fixed.
	URL    string
	Method string // GET, the default, or POST
	// Body is what POST sends: a template like URL, whose values are escaped as
	// within a string of JSON, or as a form when Content-Type says so.
	Body    string
	Headers map[string]string
	Bearer  string // token; empty: none
	Basic   *Basic
	// Records is the path of the array of records in an answer, such as
	// "data.items". Empty: the answer is the array, or NDJSON. ".": each value
	// of the answer is a record.
	Records string
	Paging  Paging
	Range   Range
	Rate    string       // requests of this process, such as "10/s", "600/m"; empty: unbounded
	Retries *int         // of a request; nil: DefaultRetries
	Timeout string       // the longest silence of the server, such as "30s"; empty: DefaultTimeout
	MaxPage int64        // bytes of an answer, decompressed; 0: DefaultMaxPage
	Columns []job.Column // declared; empty: inferred from the first records
	source.Certificates
	Seats source.Seats // one is held while a chunk is read
}

// Basic are the credentials of HTTP's basic authentication.
type Basic struct{ Username, Password string }

// Paging says how the pages of a chunk follow each other.
type Paging struct {
	Kind  string // none, the default, page, offset, cursor or link
	Param string // query parameter of the page, offset or cursor; not needed where the templates have {page}, {offset} or {cursor}
	Size  int    // records of a page, sent as SizeParam
	// SizeParam is sent with Size. Both or none.
	SizeParam string
	Start     *int   // the first page (nil: 1) or offset (nil: 0)
	Cursor    string // path of the next cursor in an answer; for the kind link, of the address of the next page, where the header Link does not have it
	Total     string // path of the number of records; optional
	MaxPages  int    // of a chunk, more are an error; 0: DefaultMaxPages
}

// Range cuts what is read into chunks. At most one field is set.
type Range struct {
	Days   *Days
	IDs    *IDs
	Values []string
}

// Days are the days, in UTC, from From up to and without To.
type Days struct {
	From, To string // such as 2026-01-31; of 2026-01-31 12:00:00 the day counts
	Last     int    // in place of From: so many days before To
	Step     int    // days of a chunk; 0: 1
	Layout   string // how {from} is written, as package time has it, or "unix", "unix_ms"; empty: 2006-01-02
}

// IDs are the integers from From up to and without To, a chunk a Step.
type IDs struct {
	From, To int64
	Step     int64
}

// maxValue bounds a value of Range.Values, which stands in its chunk's input.
const maxValue = 1 << 10

// ownHeaders belong to the client, or to a key.
var ownHeaders = map[string]string{
	"Accept-Encoding": "gzip is asked for, and read, by itself", "Host": "write it in url",
	"Content-Length": "it is known", "Transfer-Encoding": "it is known", "Connection": "it is known",
}

var validHeader = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

// Validate reports every mistake that can be seen without a request, as
// source.FieldErrors, or nil. None of them shows a secret.
func (c Config) Validate() error {
	var all source.FieldErrors
	bad := all.Bad
	c.checkURL(bad)
	switch c.Method {
	case "", http.MethodGet:
		if c.Body != "" {
			bad("body", "write method: POST", "is for POST only")
		}
	case http.MethodPost:
	default:
		bad("method", "GET or POST", "can not be %q", c.Method)
	}
	c.checkHeaders(bad)
	c.Check(bad)
	if _, err := parsePath(c.Records); err != nil && c.Records != "." {
		bad("records", "such as data.items", "%v", err)
	}
	c.checkPaging(bad)
	c.checkRange(bad)
	if _, err := parseRate(c.Rate); err != nil {
		bad("rate", "such as 10/s, 600/m or 5000/h", "%v", err)
	}
	if c.Retries != nil && (*c.Retries < 0 || *c.Retries > 20) {
		bad("retries", "0 to 20", "can not be %d", *c.Retries)
	}
	if _, err := parseTimeout(c.Timeout); err != nil {
		bad("timeout", "such as 30s or 2m", "%v", err)
	}
	if c.MaxPage < 0 {
		bad("max_page", "64MiB is the default", "is negative")
	}
	source.CheckOnce(c.Columns, bad)
	return all.Err()
}

func (c Config) checkURL(bad source.Complain) {
	if c.URL == "" {
		bad("url", "such as https://api.example.com/orders?day={from}", "is missing")
		return
	}
	u, err := newTemplate(c.URL).url(nil)
	switch {
	case err != nil:
		bad("url", "such as https://api.example.com/orders?day={from}", "does not parse")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("url", "it begins with https:// or http:// and a host", "is no address of HTTP")
	case u.User != nil:
		bad("url", "write basic: {username: …, password: ${env:NAME}}", "holds a user or password")
	case u.Fragment != "":
		bad("url", "", "has a #fragment, which no server sees")
	}
}

func (c Config) checkHeaders(bad source.Complain) {
	auth := c.Bearer != ""
	if c.Basic != nil {
		if auth {
			bad("basic", "leave one of the two", "there is a bearer too")
		}
		if strings.Contains(c.Basic.Username, ":") {
			bad("basic.username", "", "holds a colon, which HTTP can not send")
		}
		auth = true
	}
	if strings.ContainsAny(c.Bearer, "\r\n\x00 ") {
		bad("bearer", "the token alone, without the word Bearer", "holds a blank or a line break")
	}
	for name, value := range c.Headers {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		hint, own := ownHeaders[canonical]
		switch {
		case !validHeader.MatchString(name):
			bad("headers", "", "%q is not the name of a header", name)
		case own:
			bad("headers."+name, hint, "can not be set")
		case canonical == "Authorization" && auth:
			bad("headers."+name, "leave one of the two", "there is a bearer or basic too")
		case strings.ContainsAny(value, "\r\n\x00"):
			bad("headers."+name, "", "holds a line break")
		}
	}
}

func (c Config) checkPaging(bad source.Complain) {
	p := c.Paging
	placed := c.uses("{page}") || c.uses("{offset}") || c.uses("{cursor}")
	switch p.Kind {
	case "", PagingNone, PagingLink:
		if p.Param != "" || placed {
			bad("paging.kind", "page, offset or cursor", "it is %q, and there is a parameter for it", p.Kind)
		}
	case PagingPage, PagingOffset, PagingCursor:
		own := "{" + p.Kind + "}"
		switch {
		case p.Param == "" && !c.uses(own):
			bad("paging.param", "the name of the query parameter, or put "+own+" in url or body", "is missing")
		case p.Param != "" && c.uses(own):
			bad("paging.param", "leave one of the two", "there is %s too", own)
		}
		for _, other := range []string{PagingPage, PagingOffset, PagingCursor} {
			if other != p.Kind && c.uses("{"+other+"}") {
				bad("paging.kind", "", "it is %s, and there is {%s}", p.Kind, other)
			}
		}
	default:
		bad("paging.kind", "none, page, offset, cursor or link", "%q is not known", p.Kind)
	}
	switch {
	case p.Cursor == "" && p.Kind == PagingCursor:
		bad("paging.cursor", "the path of the next cursor in an answer", "is missing")
	case p.Cursor != "" && p.Kind != PagingCursor && p.Kind != PagingLink:
		bad("paging.cursor", "", "goes with the kinds cursor and link")
	}
	counted := p.Kind == PagingPage || p.Kind == PagingOffset
	if p.Total != "" && !counted {
		bad("paging.total", "", "goes with the kinds page and offset")
	}
	if p.Start != nil && (!counted || *p.Start < 0) {
		bad("paging.start", "", "is a page or an offset, from 0")
	}
	for field, text := range map[string]string{"paging.cursor": p.Cursor, "paging.total": p.Total} {
		if _, err := parsePath(text); err != nil {
			bad(field, "such as meta.next", "%v", err)
		}
	}
	if p.Size < 0 || (p.Size > 0) != (p.SizeParam != "") {
		bad("paging.size", "such as size: 500 with size_param: limit", "size and size_param go together")
	}
	if p.MaxPages < 0 {
		bad("paging.max_pages", "", "is negative")
	}
	if u, err := newTemplate(c.URL).url(nil); err == nil {
		for _, param := range []string{p.Param, p.SizeParam} {
			if param != "" && u.Query().Has(param) {
				bad("paging", "take it out of url", "the parameter %s stands in url too", param)
			}
		}
	}
}

func (c Config) uses(placeholder string) bool {
	return strings.Contains(c.URL, placeholder) || strings.Contains(c.Body, placeholder)
}

func (c Config) checkRange(bad source.Complain) {
	r := c.Range
	set := 0
	for _, one := range []bool{r.Days != nil, r.IDs != nil, len(r.Values) > 0} {
		if one {
			set++
		}
	}
	if set > 1 {
		bad("range", "days, ids or values", "%d of its keys are set", set)
		return
	}
	if _, err := newSpan(r); err != nil {
		bad("range", "such as days: {from: 2026-01-01, to: 2026-02-01} or ids: {from: 0, to: 1000000, step: 50000}", "%v", err)
	}
	for _, v := range r.Values {
		if len(v) > maxValue {
			bad("range.values", "", "a value is longer than %d bytes", maxValue)
		}
	}
	// With a step of more than one, what lies between would not be asked for.
	wide := r.Days != nil && r.Days.Step > 1 || r.IDs != nil && r.IDs.Step > 1
	if wide && !c.uses("{to}") && !c.uses("{last}") {
		bad("range", "put {to} (not included) or {last} (included) in url or body, or write step: 1", "has steps of more than one, and only their begin is asked for")
	}
	if d := r.Days; d != nil && d.Layout != "" && d.Layout != "unix" && d.Layout != "unix_ms" {
		if time.Unix(0, 0).UTC().Format(d.Layout) == time.Date(2012, 11, 24, 0, 0, 0, 0, time.UTC).Format(d.Layout) {
			bad("range.days.layout", "write the day 2 January 2006 as the API wants days, such as 02.01.2006", "%q is the same for every day", d.Layout)
		}
	}
	ranged := c.uses("{from}") || c.uses("{to}") || c.uses("{last}")
	switch hasRange := r.Days != nil || r.IDs != nil; {
	case hasRange && !c.uses("{from}"):
		bad("range", "put {from} and {to} in url or body", "is not used: each chunk would read the same")
	case ranged && !hasRange:
		bad("range", "write range: {days: {from: …, to: …}}", "{from}, {to} or {last} stand for nothing")
	case len(r.Values) > 0 && !c.uses("{value}"):
		bad("range.values", "put {value} in url or body", "are not used: each chunk would read the same")
	case len(r.Values) == 0 && c.uses("{value}"):
		bad("range.values", "list the values, a chunk each", "{value} stands for nothing")
	}
}

// parseRate reads "10/s"; the empty one is 0.
func parseRate(text string) (perSecond float64, err error) {
	if text == "" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	seconds := map[string]float64{"s": 1, "m": 60, "h": 3600}[strings.TrimSpace(unit)]
	if err != nil || !(n > 0) || n > 1e6 || seconds == 0 {
		return 0, fmt.Errorf("%q is not a rate", text)
	}
	return n / seconds, nil
}

// parseTimeout reads "30s"; the empty one is DefaultTimeout.
func parseTimeout(text string) (time.Duration, error) {
	if text == "" {
		return DefaultTimeout, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a time", text)
	}
	return d, nil
}

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() Config {
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	if c.MaxPage == 0 {
		c.MaxPage = DefaultMaxPage
	}
	if c.Retries == nil {
		n := DefaultRetries
		c.Retries = &n
	}
	if c.Paging.Kind == "" {
		c.Paging.Kind = PagingNone
	}
	if c.Paging.MaxPages == 0 {
		c.Paging.MaxPages = DefaultMaxPages
	}
	return c
}

// host is the URL without what may be secret: for people.
func (t template) place(values map[string]string) string {
	u, err := t.url(values)
	if err != nil {
		return "the API"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).Redacted()
}
