package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"drayage/coordinator/api"
)

// Config is what a Site works with.
type Config struct {
	Service *api.Service
	Log     zerolog.Logger
	// Who says what the sender of a request may do. Whether a request may do
	// what it asks is not the Site's to decide: whoever serves it does that
	// first. nil: everybody may everything.
	Who func(*http.Request) Who
}

// Who is what the visitor of a page may do.
type Who struct {
	MayRead, MayOperate bool
	MayDrop             bool // do what can not be taken back
	Session             bool // signed in, and can sign out
}

// Site serves the page. Make it with New; it is safe for concurrent use.
type Site struct {
	service   *api.Service
	log       zerolog.Logger
	who       func(*http.Request) Who
	mux       *http.ServeMux
	assets    assets
	templates templates
	watched   watched
	live      chan struct{} // holds a value for each page that is live
}

// New makes a Site of the files that are part of the binary.
func New(cfg Config) (*Site, error) {
	s := &Site{service: cfg.Service, log: cfg.Log, who: cfg.Who, mux: http.NewServeMux(), live: make(chan struct{}, MaxLive)}
	if s.who == nil {
		s.who = func(*http.Request) Who { return Who{MayRead: true, MayOperate: true, MayDrop: true} }
	}
	var err error
	if s.assets, err = newAssets(); err != nil {
		return nil, err
	}
	if s.templates, err = newTemplates(s.assets); err != nil {
		return nil, err
	}
	s.watched.read = s.readJob
	s.routes()
	return s, nil
}

// ServeHTTP answers a request for the page, or for a part of it.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Site) routes() {
	s.mux.Handle("GET /assets/", s.assets)
	get := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		s.mux.HandleFunc("GET "+path, s.handle(h))
	}
	post := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		s.mux.HandleFunc("POST "+path, s.handle(h))
	}
	get("/{$}", s.jobs)
	get("/live", s.jobsLive)
	get("/jobs/{job}", s.job)
	get("/jobs/{job}/live", s.jobLive)
	get("/jobs/{job}/chunks", s.chunks)
	get("/jobs/{job}/chunks/{chunk}", s.chunk)
	get("/jobs/{job}/rejects", s.rejects)
	get("/jobs/{job}/{action}", s.ask)
	post("/jobs/{job}/{action}", s.act)
	get("/workers", s.workers)
	get("/workers/live", s.workersLive)
	get("/dead", s.dead)
	post("/dead/replay", s.replay)
	post("/dead/drop", s.drop)
	get("/schedules", s.schedules)
	post("/schedules/{schedule}/{action}", s.actSchedule)
	get("/submit", s.submit)
	post("/submit", s.submitted)
	s.mux.HandleFunc("/", s.handle(func(http.ResponseWriter, *http.Request) error { return noPage() }))
}

// maxForm bounds the body of a form, in bytes: a pipeline is the largest.
const maxForm = 2 << 20

// handle makes a handler of one that returns its errors. They are shown as a
// page, and those that are nobody's mistake are logged.
func (s *Site) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		err := h(w, r)
		if err == nil || errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			return
		}
		p := problemOf(err)
		if p.Status >= http.StatusInternalServerError {
			s.log.Warn().Err(err).Str("path", r.URL.Path).Msg("the page could not show or do something")
		}
		s.write(w, r, p.Status, "problem", struct {
			frame
			Heading, Text, Hint string
		}{s.frame(r, p.Title, ""), sentence(p.Title), p.Detail, pageHint(p.Hint)})
	}
}

// problemOf is api's, for what forms do too.
func problemOf(err error) *api.Problem {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Title: "that is too long", Detail: "A pipeline has at most 1 MiB."}
	}
	return api.ProblemOf(err)
}

// pageHint leaves out hints that are for callers of the API.
func pageHint(hint string) string {
	if strings.Contains(hint, "/api/v1") {
		return ""
	}
	return hint
}

// sentence begins a text with a capital letter.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// frame is what every page has around it.
func (s *Site) frame(r *http.Request, title, live string) frame {
	f := frame{Title: title, Who: s.who(r), Live: live, Notice: noticeOf(r.URL.Query())}
	for _, n := range []navigation{
		{Name: "Jobs", Path: "/"}, {Name: "Workers", Path: "/workers"}, {Name: "Dead letters", Path: "/dead"},
		{Name: "Schedules", Path: "/schedules"}, {Name: "Submit", Path: "/submit"},
	} {
		if n.Path == "/submit" && !f.Who.MayOperate {
			continue
		}
		n.Current = n.Path == r.URL.Path
		f.Nav = append(f.Nav, n)
	}
	return f
}

// notices are what the page says after an action, by the value of done in the
// address that the action leads to. The text is ours alone, so that an address
// can not put words into the page's mouth.
//
//nolint:gochecknoglobals // a constant
var notices = map[string]string{
	"pause":          "Paused: no chunk is given to a worker. Those at work are finished.",
	"resume":         "Resumed.",
	"cancel":         "The job is being cancelled: queued chunks are taken back, workers let go of theirs.",
	"retry":          "This job loads the dead letters again.",
	"retry-rejects":  "This job loads the rejected rows again.",
	"submit":         "Submitted.",
	"replay":         "The dead letters are being replayed, by a job each of the jobs that they are of.",
	"drop":           "The dead letters are dropped. Their input is not loaded.",
	"nothing":        "Nothing was checked, so nothing was done.",
	"left-nothing":   "There is nothing left to load again: another job has taken it over.",
	"schedule-pause": "The schedule is paused.", "schedule-resume": "The schedule goes on.", "schedule-run": "This is the run that was asked for.",
}

// noticeOf is the notice that an address asks for, nil for none.
func noticeOf(q url.Values) *notice {
	if text, ok := notices[q.Get("done")]; ok {
		return &notice{Text: text}
	}
	return nil
}

// seeOther leads to a page after an action, which says that it is done.
func seeOther(w http.ResponseWriter, r *http.Request, path, done string) error {
	http.Redirect(w, r, path+"?done="+url.QueryEscape(done), http.StatusSeeOther)
	return nil
}

// begin takes a place among the live pages; false when there is none.
func (s *Site) begin() (end func(), ok bool) {
	select {
	case s.live <- struct{}{}:
		return sync.OnceFunc(func() { <-s.live }), true
	default:
		return nil, false
	}
}
