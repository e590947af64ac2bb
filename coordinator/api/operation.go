package api

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"drayage/coordinator/api/guard"
	"drayage/pkg/job"
)

// operation is an operation of the JSON API as the document describes it.
type operation struct {
	role    guard.Role
	method  string // default GET
	path    string // below base
	id      string // its name, for clients that are made from the document
	summary string
	detail  string // what more there is to say
	status  int    // of success; default 200
	stream  bool   // see Route.Stream
}

// register serves an operation and describes it.
func register[I, O any](s *Server, o operation, h func(context.Context, *I) (*O, error)) *huma.Operation {
	if o.method == "" {
		o.method = http.MethodGet
	}
	op := huma.Operation{
		OperationID: o.id, Method: o.method, Path: base + o.path, Summary: o.summary, DefaultStatus: o.status,
		Description: strings.TrimSpace(o.detail + "\n\nNeeds the role " + o.role.String() + "."),
		Tags:        []string{strings.Split(o.path, "/")[1]}, MaxBodyBytes: maxDocument,
		Responses: map[string]*huma.Response{"default": {
			Description: "what went wrong, and what to do",
			Content:     map[string]*huma.MediaType{problemType: {Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")}},
		}},
	}
	if o.role > guard.Open {
		op.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	}
	pattern := o.method + " " + op.Path
	s.routes.roles[pattern], s.routes.streams[pattern] = o.role, o.stream
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			p := ProblemOf(err)
			if p.Status >= http.StatusInternalServerError {
				s.Log.Warn().Err(err).Str("operation", o.id).Msg("an answer over HTTP failed")
			}
			return nil, p
		}
		return out, nil
	})
	return described(s.api.OpenAPI().Paths[op.Path], o.method)
}

// described is the operation of a method in the document.
func described(path *huma.PathItem, method string) *huma.Operation {
	switch method {
	case http.MethodPost:
		return path.Post
	case http.MethodDelete:
		return path.Delete
	}
	return path.Get
}

// maxDocument bounds the body of a request, in bytes: a pipeline and its params.
const maxDocument = 1 << 20

// body is an answer with a body.
type body[T any] struct{ Body T }

// answer makes a handler's answer of a view.
func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{v}, nil
}

// GetStatus, and ContentType, make a Problem an error of huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return problemType }

// What several requests name. They are exported for huma, which reads the
// parameters of a request from exported fields only, embedded ones among them.
type (
	// OfJob names a job.
	OfJob struct {
		Job string `path:"job" maxLength:"128" pattern:"^[a-z0-9_-]+$" doc:"the job's identifier"`
	}
	// OfChunk names a chunk of a job.
	OfChunk struct {
		OfJob
		Chunk uint64 `path:"chunk" maximum:"4294967295" doc:"the chunk's ordinal"`
	}
	// OfSchedule names a schedule.
	OfSchedule struct {
		Schedule string `path:"schedule" maxLength:"128" pattern:"^[a-z0-9_-]+$" doc:"the schedule's name, which is that of its pipeline"`
	}
	// Limited bounds a list.
	Limited struct {
		Limit int `query:"limit" minimum:"1" maximum:"1000" default:"20" doc:"at most so many"`
	}
	// Waiting has an answer wait for a job's end.
	Waiting struct {
		Wait string `query:"wait" pattern:"^[0-9]+(ms|s|m)$" doc:"answer when the job has ended, or after this time, such as 30s; at most 5m"`
	}
	listJobs struct {
		State    []string `query:"state,explode" doc:"only jobs in one of these states, such as RUNNING"`
		Pipeline string   `query:"pipeline" doc:"only jobs of this pipeline"`
		Text     string   `query:"text" doc:"only jobs with this text in their name, pipeline, file, tables or error, in any case"`
		Live     bool     `query:"live" doc:"only jobs that have not ended"`
		Limit    int      `query:"limit" minimum:"1" maximum:"500" default:"50" doc:"at most so many"`
		Cursor   string   `query:"cursor" doc:"next of the page before"`
	}
	// Submitting is a submission as JSON or, with what else it says in the query,
	// as the text of a pipeline.
	Submitting struct {
		Idempotency string   `header:"Idempotency-Key" maxLength:"128" doc:"as key in the body"`
		Job         string   `query:"job" maxLength:"128" doc:"as job in the body; of a YAML body"`
		Key         string   `query:"key" maxLength:"128" doc:"likewise"`
		File        string   `query:"file" maxLength:"256" doc:"likewise"`
		Dir         string   `query:"dir" maxLength:"4096" doc:"likewise"`
		Full        bool     `query:"full" doc:"likewise"`
		Set         []string `query:"set,explode" doc:"name=value of a param; of a YAML body"`
		Body        SubmitRequest
	}
	submittingJob struct {
		Waiting
		Submitting
	}
	previewing struct {
		Rows int `query:"rows" minimum:"1" maximum:"200" default:"20" doc:"of each output, at most"`
		Submitting
	}
	listLetters struct {
		Job    string   `query:"job" doc:"only of this job"`
		Chunk  []uint64 `query:"chunk,explode" doc:"only of these chunks"`
		Error  string   `query:"error" doc:"only those with this text in their error, in any case"`
		Reason string   `query:"reason" enum:"permanent,attempts,rejects,too_big" doc:"only those with this reason"`
		All    bool     `query:"all" doc:"also those that were taken over or loaded after all"`
		Limited
		Cursor string `query:"cursor" doc:"next of the page before"`
	}
	listRejects struct {
		OfJob
		Chunk  string `query:"chunk" pattern:"^[0-9]*$" doc:"only those of this chunk"`
		Column string `query:"column" doc:"only those with a value that did not fit this column"`
		Reason string `query:"reason" doc:"only those with this text in their reason, in any case"`
		Offset uint64 `query:"offset" doc:"next of the page before"`
		Limited
	}
	// Streaming says where a stream of events goes on.
	Streaming struct {
		Last  string `header:"Last-Event-ID" doc:"go on after this event; browsers send it"`
		After string `query:"after" doc:"go on after this event, or the revision of a page of jobs; without either: from now on"`
	}
	streamingJob struct {
		OfJob
		Streaming
	}
	submitted struct {
		Status   int
		Location string `header:"Location" doc:"where the job is"`
		Body     JobRow
	}
	scheduled struct {
		Status int
		Body   ScheduleRow
	}
)

// request is what a submission asks for.
func (in *Submitting) request() (SubmitRequest, error) {
	r := in.Body
	for _, f := range []struct{ to, from *string }{{&r.Job, &in.Job}, {&r.Key, &in.Key}, {&r.Key, &in.Idempotency}, {&r.File, &in.File}, {&r.Dir, &in.Dir}} {
		if *f.from == "" {
			continue
		}
		if *f.to != "" && *f.to != *f.from {
			return r, badInput("key", "the request says %q and %q for the same thing", *f.to, *f.from)
		}
		*f.to = *f.from
	}
	r.Full = r.Full || in.Full
	for _, set := range in.Set {
		name, value, ok := strings.Cut(set, "=")
		if !ok || name == "" {
			return r, badInput("set", "%q is not name=value", set)
		}
		if r.Params == nil {
			r.Params = map[string]string{}
		}
		r.Params[name] = value
	}
	return r, nil
}

// patience is how long a request waits.
func (in Waiting) patience() (time.Duration, error) {
	if in.Wait == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(in.Wait)
	if err != nil {
		return 0, badInput("wait", "%q is no time such as 30s", in.Wait)
	}
	return min(d, MaxWait), nil
}

// unwrap is the request and the answer beneath huma.
func unwrap(ctx huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(ctx) }

func states(names []string) (all []job.State) {
	for _, n := range names {
		all = append(all, job.State(strings.ToUpper(n)))
	}
	return all
}
