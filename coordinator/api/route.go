package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"drayage/coordinator/api/guard"
	"drayage/pkg/telemetry/trace"
)

// Route is something that the server serves.
type Route struct {
	// Pattern is one of http.ServeMux with a method, such as "GET /metrics". GET
	// serves HEAD too. All that is not GET is an action, and logged.
	Pattern string
	Role    guard.Role // who may ask for it
	Handler http.Handler
	// Stream says that an answer has no end: the handler bounds how long each of
	// its writes may take. Others have a minute for the whole.
	Stream bool
}

// routes are the patterns of a server with the roles that they need.
type routes struct {
	mux   *http.ServeMux
	guard *guard.Guard
	log   zerolog.Logger
	roles map[string]guard.Role
	// streams are the patterns whose answers have no end.
	streams map[string]bool
}

// HandleFunc serves a pattern whose role is known. One whose role is not is
// served to nobody.
func (rs *routes) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	role, known := rs.roles[pattern]
	if !known {
		role = guard.Admin + 1
	}
	rs.mux.Handle(pattern, rs.guard.Require(role, rs.patient(rs.streams[pattern], rs.audited(pattern, http.HandlerFunc(h)))))
}

func (rs *routes) add(r Route) {
	rs.roles[r.Pattern], rs.streams[r.Pattern] = r.Role, r.Stream
	rs.HandleFunc(r.Pattern, r.Handler.ServeHTTP)
}

// ServeHTTP serves the route that a request asks for, and a Problem where there
// is none.
func (rs *routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(requestIn)) // until patient says more
	h, pattern := rs.mux.Handler(r)
	_, path, _ := strings.Cut(pattern, " ")
	if api := strings.HasPrefix(r.URL.Path, base+"/"); api && !strings.HasPrefix(path, base) || pattern == "" {
		nowhere(w, r, h)
		return
	}
	rs.mux.ServeHTTP(w, r)
}

// nowhere answers a request that no route is for, as h would by its status.
func nowhere(w http.ResponseWriter, r *http.Request, h http.Handler) {
	found := &discarded{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(found, r)
	p := &Problem{Status: http.StatusNotFound, Title: "there is no such path", Detail: r.URL.Path + " is nothing of this server", Hint: base + "/openapi.json lists the paths"}
	if found.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", found.header.Get("Allow"))
		p = &Problem{Status: found.status, Title: "the path is not for this method", Detail: r.Method + " is not for " + r.URL.Path, Hint: "it is for " + found.header.Get("Allow")}
	}
	writeProblem(w, p)
}

// discarded takes an answer of which only header and status count.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(status int)      { d.status = status }

// Times that a request may take to be answered.
const (
	answerIn = time.Minute
	// MaxWait bounds ?wait=: a longer one ends then, and is asked again.
	MaxWait = 5 * time.Minute
)

// patient gives a request that may take long the time for its answer, and ends
// the others.
func (rs *routes) patient(stream bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctl := http.NewResponseController(w) // of a test's recorder there are no deadlines
		if stream {
			_ = ctl.SetReadDeadline(time.Time{}) // it bounds its writes itself
			next.ServeHTTP(w, r)
			return
		}
		in := answerIn
		switch {
		case r.URL.Query().Has("wait"):
			in += MaxWait
		case strings.HasPrefix(r.URL.Path, base+"/pipelines/"), strings.HasPrefix(r.URL.Path, "/debug/pprof/"):
			in += tryFor
		}
		// A deadline for reading that passes ends the request, read or not.
		_ = ctl.SetReadDeadline(time.Now().Add(in))
		_ = ctl.SetWriteDeadline(time.Now().Add(in))
		ctx, cancel := context.WithTimeout(r.Context(), in-slowReader)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// audited logs an action: who did what to which job, and what came of it. The
// action is of the trace that the request comes with.
func (rs *routes) audited(pattern string, next http.Handler) http.Handler {
	method, _, _ := strings.Cut(pattern, " ")
	if method == http.MethodGet {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &witnessed{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r.WithContext(trace.FromHTTP(r.Context(), r.Header)))
		who := guard.Of(r.Context())
		e := rs.log.Info().Str("who", who.Name).Str("role", who.Role.String()).Str("client", r.RemoteAddr).
			Str("operation", r.Method+" "+r.URL.Path).Int("status", seen.status)
		for _, name := range []string{"job", "schedule"} {
			if value := r.PathValue(name); value != "" {
				e = e.Str(name, value)
			}
		}
		e.Msg("asked for over HTTP")
	})
}

// witnessed notes the status of an answer.
type witnessed struct {
	http.ResponseWriter
	status int
}

func (w *witnessed) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *witnessed) Unwrap() http.ResponseWriter { return w.ResponseWriter }
