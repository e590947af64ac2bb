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
	"drayage/coordinator/api/guard"
)

// Config is what a Site works with.
type Config struct {
	Service *api.Service
	Log     zerolog.Logger
}

// Site is the page. Make it with New; it is safe for concurrent use. An
// api.Server serves its Routes, and LoginPage, and decides who may have what.
type Site struct {
	service   *api.Service
	log       zerolog.Logger
	assets    assets
	templates templates
	watched   watched
	live      chan struct{} // holds a value for each page that is live
}

// New makes a Site of the files that are part of the binary.
func New(cfg Config) (*Site, error) {
	s := &Site{service: cfg.Service, log: cfg.Log, live: make(chan struct{}, MaxLive)}
	var err error
	if s.assets, err = newAssets(); err != nil {
		return nil, err
	}
	if s.templates, err = newTemplates(s.assets); err != nil {
		return nil, err
	}
	s.watched.read = s.readJob
	return s, nil
}

// Routes are what the page needs to be served, with the role that each needs.
func (s *Site) Routes() []api.Route {
	get := func(path string, h func(http.ResponseWriter, *http.Request) error) api.Route {
		return api.Route{Pattern: "GET " + path, Role: guard.Read, Handler: s.handle(h)}
	}
	live := func(path string, h func(http.ResponseWriter, *http.Request) error) api.Route {
		return api.Route{Pattern: "GET " + path, Role: guard.Read, Handler: s.handle(h), Stream: true}
	}
	post := func(path string, role guard.Role, h func(http.ResponseWriter, *http.Request) error) api.Route {
		return api.Route{Pattern: "POST " + path, Role: role, Handler: s.handle(h)}
	}
	return []api.Route{
		{Pattern: "GET /assets/", Role: guard.Open, Handler: s.assets}, // the login needs them
		get("/{$}", s.jobs),
		live("/live", s.jobsLive),
		get("/jobs/{job}", s.job),
		live("/jobs/{job}/live", s.jobLive),
		get("/jobs/{job}/chunks", s.chunks),
		get("/jobs/{job}/chunks/{chunk}", s.chunk),
		get("/jobs/{job}/rejects", s.rejects),
		get("/jobs/{job}/{action}", s.ask),
		post("/jobs/{job}/{action}", guard.Operate, s.act),
		get("/workers", s.workers),
		live("/workers/live", s.workersLive),
		get("/dead", s.dead),
		post("/dead/replay", guard.Operate, s.replay),
		post("/dead/drop", guard.Admin, s.drop),
		get("/schedules", s.schedules),
		post("/schedules/{schedule}/{action}", guard.Operate, s.actSchedule),
		get("/submit", s.submit),
		post("/submit", guard.Operate, s.submitted),
		get("/", func(http.ResponseWriter, *http.Request) error { return noPage() }),
	}
}

// Who is what the visitor of a page may do.
type Who struct {
	MayRead, MayOperate bool
	MayDrop             bool // do what can not be taken back
	Session             bool // signed in, and can sign out
}

func whoOf(r *http.Request) Who {
	who := guard.Of(r.Context())
	return Who{who.Role >= guard.Read, who.Role >= guard.Operate, who.Role >= guard.Admin, who.LoggedIn()}
}

// LoginPage asks for a token, and says why the last one was refused; nil: none was.
// It is api.ServerDeps.LoginPage.
func (s *Site) LoginPage(w http.ResponseWriter, r *http.Request, next string, refused *guard.Refusal) {
	status, problem := http.StatusOK, ""
	if refused != nil {
		status, problem = refused.Status, sentence(refused.Detail)+"."
		if refused.Hint != "" {
			problem += " " + sentence(refused.Hint) + "."
		}
	}
	s.write(w, r, status, "login", struct {
		frame
		Next, Problem string
	}{s.frame(r, "Sign in", ""), next, problem})
}

// handle makes a handler of one that returns its errors. They are shown as a
// page, and those that are nobody's mistake are logged.
func (s *Site) handle(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
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
		return &api.Problem{Status: http.StatusRequestEntityTooLarge, Title: "that is too long", Detail: "A form may have 1 MiB."}
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
	f := frame{Title: title, Who: whoOf(r), Live: live, Notice: notices[r.URL.Query().Get("done")]}
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
