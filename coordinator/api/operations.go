package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"drayage/coordinator"
	"drayage/coordinator/api/guard"
	"drayage/pkg/job"
)

// describe begins the document that describes the API.
func describe(version string) huma.Config {
	c := huma.DefaultConfig("Drayage", version)
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // which would add links to schemas to every answer
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat, yamlType: {Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: readText}}
	c.Transformers = []huma.Transformer{ownProblem}
	c.RejectUnknownQueryParameters = true
	c.Info.Description = "Jobs, chunks, rejects, dead letters, workers and schedules of a fleet that hauls data into ClickHouse. Fields have the names of the command line's --json and of the records in NATS. Errors are RFC 9457, with what to do in hint."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "a token of DRAY_HTTP_TOKENS_FILE"},
		"session": {Type: "apiKey", In: "cookie", Name: guard.SessionCookie, Description: "of a login at /login"},
	}
	return c
}

// yamlType is the media type of a pipeline's text.
const yamlType = "application/yaml"

// readText reads the text of a pipeline as a submission of it.
func readText(data []byte, v any) error {
	switch v := v.(type) {
	case *any: // what is checked against the schema
		*v = map[string]any{"pipeline": string(data)}
		return nil
	case *SubmitRequest:
		v.Pipeline = string(data)
		return nil
	}
	return json.Unmarshal(data, v)
}

// ownProblem makes the errors of huma, which checks requests against the
// document, Problems.
func ownProblem(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{Type: "about:blank", Status: e.Status, Title: e.Title, Detail: e.Detail, Hint: "see " + base + "/openapi.json for what the request may be"}
	var details []string
	for _, one := range e.Errors {
		details = append(details, strings.TrimPrefix(one.Location+": "+one.Message, ": "))
	}
	if len(details) > 0 {
		p.Detail = strings.Join(details, "; ")
	}
	return p, nil
}

// operations serves and describes the operations.
func (s *Server) operations() {
	s.jobOperations()
	s.actions()
	s.letterOperations()
	s.scheduleOperations()
	v := s.Service
	register(s, operation{role: guard.Read, path: "/workers", id: "listWorkers", summary: "The workers that live"},
		func(ctx context.Context, _ *struct{}) (*body[WorkerList], error) { return answer(v.Workers(ctx)) })
	register(s, operation{role: guard.Open, path: "/whoami", id: "whoAmI", summary: "Who the request's token says that one is"},
		func(ctx context.Context, _ *struct{}) (*body[Identity], error) {
			who := guard.Of(ctx)
			return &body[Identity]{Identity{who.Name, who.Role.String()}}, nil
		})
	op := register(s, operation{role: guard.Open, path: "/openapi.json", id: "describe", summary: "This document"},
		func(context.Context, *struct{}) (*huma.StreamResponse, error) {
			return &huma.StreamResponse{Body: func(ctx huma.Context) {
				ctx.SetHeader("Content-Type", "application/json")
				_ = json.NewEncoder(ctx.BodyWriter()).Encode(s.api.OpenAPI()) // to a client that may be gone
			}}, nil
		})
	op.Responses["200"] = &huma.Response{Description: "an OpenAPI 3.1 document", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}}
}

// Identity is who one is to this server.
type Identity struct {
	Name string `json:"name"` // of the token; local or anyone where none is needed
	Role string `json:"role"` // open for one who is not known
}

func (s *Server) jobOperations() {
	v := s.Service
	register(s, operation{role: guard.Read, path: "/jobs", id: "listJobs", summary: "Jobs, the newest first"},
		func(ctx context.Context, in *listJobs) (*body[JobPage], error) {
			return answer(v.Jobs(ctx, JobFilter{States: states(in.State), Pipeline: in.Pipeline, Text: in.Text, Live: in.Live, Limit: in.Limit, Cursor: in.Cursor}))
		})
	register(s, operation{
		role: guard.Read, path: "/jobs/{job}", id: "getJob", summary: "One job",
		detail: "With wait, the answer comes when the job has ended, or as it is after that time.",
	}, func(ctx context.Context, in *struct {
		OfJob
		Waiting
	}) (*body[JobView], error) {
		if err := s.wait(ctx, in.Job, in.Waiting); err != nil {
			return nil, err
		}
		return answer(v.Job(ctx, in.Job))
	})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/chunks", id: "getChunks", summary: "The map of a job's chunks: a letter each"},
		func(ctx context.Context, in *OfJob) (*body[ChunkMap], error) { return answer(v.Chunks(ctx, in.Job)) })
	register(s, operation{role: guard.Read, path: "/jobs/{job}/chunks/{chunk}", id: "getChunk", summary: "One chunk with its attempts"},
		func(ctx context.Context, in *OfChunk) (*body[ChunkView], error) {
			return answer(v.Chunk(ctx, in.Job, in.Chunk))
		})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/throughput", id: "getThroughput", summary: "What a job loaded over time"},
		func(ctx context.Context, in *OfJob) (*body[Throughput], error) {
			return answer(v.Throughput(ctx, in.Job))
		})
	type limitedJob struct {
		OfJob
		Limited
	}
	register(s, operation{role: guard.Read, path: "/jobs/{job}/slowest", id: "listSlowest", summary: "The chunks that took longest"},
		func(ctx context.Context, in *limitedJob) (*body[SlowChunks], error) {
			return answer(v.Slowest(ctx, in.Job, in.Limit))
		})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/errors", id: "listErrors", summary: "The errors of a job's attempts, by kind"},
		func(ctx context.Context, in *limitedJob) (*body[ErrorList], error) {
			return answer(v.Errors(ctx, in.Job, in.Limit))
		})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/rejects", id: "listRejects", summary: "Rows of a job in quarantine, as they stood in the input"},
		func(ctx context.Context, in *listRejects) (*body[RejectPage], error) {
			q := RejectQuery{Job: in.Job, Column: in.Column, Reason: in.Reason, Limit: in.Limit, Offset: in.Offset}
			if in.Chunk != "" {
				n, err := strconv.ParseUint(in.Chunk, 10, 64)
				if err != nil {
					return nil, badInput("chunk", "%q is not the number of a chunk", in.Chunk)
				}
				q.Chunk = &n
			}
			return answer(v.Rejects(ctx, q))
		})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/rejects/groups", id: "listRejectGroups", summary: "Rows of a job in quarantine, counted by column and reason"},
		func(ctx context.Context, in *limitedJob) (*body[RejectGroups], error) {
			return answer(v.RejectGroups(ctx, in.Job, in.Limit))
		})

	const how = "Server-sent events: job (a row of the list, whenever it has changed; its id is the revision), gone (a job's record is no more), reset (forget what was told before: something may have gone meanwhile). A comment comes every 15 seconds. A reader that does not take what is sent is dropped."
	for _, op := range []*huma.Operation{
		register(s, operation{role: guard.Read, path: "/events", id: "followJobs", summary: "Jobs as they change", detail: how, stream: true},
			func(_ context.Context, in *Streaming) (*huma.StreamResponse, error) { return s.stream("", *in) }),
		register(s, operation{role: guard.Read, path: "/jobs/{job}/events", id: "followJob", summary: "One job as it changes", detail: how, stream: true},
			func(ctx context.Context, in *streamingJob) (*huma.StreamResponse, error) {
				if _, err := v.record(ctx, in.Job); err != nil {
					return nil, err
				}
				return s.stream(in.Job, in.Streaming)
			}),
	} {
		op.Responses["200"] = &huma.Response{Description: "events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	}
}

func (s *Server) actions() {
	v := s.Service
	post := http.MethodPost
	s.takesText(register(s, operation{
		role: guard.Operate, method: post, path: "/jobs", id: "submitJob", summary: "Submit a job", status: http.StatusCreated,
		detail: "The body is JSON, or the text of a pipeline with the rest in the query. The same job or key again, with the same submission, is the same job: 200 in place of 201. Another submission under it is 409. With wait, the answer comes when the job has ended, or as it is after that time.",
	}, func(ctx context.Context, in *submittingJob) (*submitted, error) {
		r, err := in.request()
		if err != nil {
			return nil, err
		}
		if _, err := in.patience(); err != nil {
			return nil, err
		}
		row, created, err := v.Submit(ctx, r)
		if err != nil {
			return nil, err
		}
		out := &submitted{http.StatusOK, base + "/jobs/" + row.ID, row}
		if created {
			out.Status = http.StatusCreated
		}
		if in.Wait != "" {
			if err := s.wait(ctx, row.ID, in.Waiting); err != nil {
				return nil, err
			}
			j, err := v.record(ctx, row.ID)
			if err != nil {
				return nil, err
			}
			out.Body = rowOf(j)
		}
		return out, nil
	}), "200")
	for _, a := range []struct {
		verb, summary string
		act           func(context.Context, string) (JobRow, error)
	}{
		{"pause", "Hold a running job: chunks at the workers are finished, no other is handed out", v.Pause},
		{"resume", "Let a paused job go on", v.Resume},
		{"cancel", "Stop a job for good; rows that are loaded stay", v.Cancel},
	} {
		register(s, operation{role: guard.Operate, method: post, path: "/jobs/{job}/" + a.verb, id: a.verb + "Job", summary: a.summary},
			func(ctx context.Context, in *OfJob) (*body[JobRow], error) { return answer(a.act(ctx, in.Job)) })
	}
	register(s, operation{
		role: guard.Operate, method: post, path: "/jobs/{job}/retry", id: "retryJob", summary: "Load again what an ended job has left, as a new job",
		detail: "Its dead letters, all or those that the body chooses, or its rows in quarantine; with the pipeline as it was, or a mended one. What another job has taken over is left out; job is empty when nothing is left.",
	}, func(ctx context.Context, in *struct {
		OfJob
		Body *RetryRequest `doc:"without it all dead letters, with the pipeline as it was"`
	}) (*body[Replayed], error) {
		if in.Body == nil {
			in.Body = &RetryRequest{}
		}
		return answer(v.Retry(ctx, in.Job, *in.Body))
	})
	s.takesText(register(s, operation{
		role: guard.Operate, method: post, path: "/pipelines/validate", id: "validatePipeline", summary: "Check a pipeline: keys, source, SQL and target, without loading",
		detail: "Mistakes are 422, with line and column. One pipeline is tried out at a time.",
	}, func(ctx context.Context, in *Submitting) (*body[Validation], error) {
		r, err := in.request()
		if err != nil {
			return nil, err
		}
		return answer(v.Validate(ctx, r))
	}))
	s.takesText(register(s, operation{
		role: guard.Operate, method: post, path: "/pipelines/preview", id: "previewPipeline", summary: "Run a pipeline on the first chunk of its input, into a ClickHouse that is thrown away",
		detail: "The target is looked at and not touched. One pipeline is tried out at a time, for two minutes.",
	}, func(ctx context.Context, in *previewing) (*body[Preview], error) {
		r, err := in.request()
		if err != nil {
			return nil, err
		}
		return answer(v.Preview(ctx, r, in.Rows))
	}))
}

// takesText says that an operation takes the text of a pipeline too, and answers
// with other statuses what it answers with its own.
func (s *Server) takesText(op *huma.Operation, more ...string) {
	op.RequestBody.Content[yamlType] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: "the text of the pipeline file"}}
	for _, status := range more {
		same := *op.Responses[strconv.Itoa(op.DefaultStatus)]
		same.Description = http.StatusText(http.StatusOK)
		op.Responses[status] = &same
	}
}

func (s *Server) letterOperations() {
	v := s.Service
	register(s, operation{role: guard.Read, path: "/dead_letters", id: "listDeadLetters", summary: "Chunks that were given up, of one job or of all"},
		func(ctx context.Context, in *listLetters) (*body[LetterPage], error) {
			if in.Job != "" && !job.ValidID(in.Job) {
				return nil, badInput("job", "%q is no name of a job", in.Job)
			}
			return answer(v.DeadLetters(ctx, LetterQuery{
				Job: in.Job, Choice: coordinator.Choice{Chunks: in.Chunk, Error: in.Error, Reason: in.Reason, All: in.All}, Limit: in.Limit, Cursor: in.Cursor,
			}))
		})
	register(s, operation{role: guard.Read, path: "/jobs/{job}/dead_letters/{chunk}", id: "getDeadLetter", summary: "One dead letter"},
		func(ctx context.Context, in *OfChunk) (*body[coordinator.Letter], error) {
			return answer(v.DeadLetter(ctx, in.Job, in.Chunk))
		})
	register(s, operation{
		role: guard.Admin, method: http.MethodPost, path: "/jobs/{job}/dead_letters/drop", id: "dropDeadLetters", summary: "Forget dead letters; their input is not loaded",
		detail: "Of a job that has ended: those that the body chooses, or all with all_chunks. Those that another job has taken over stay. POST /jobs/{job}/retry loads them again instead.",
	}, func(ctx context.Context, in *struct {
		OfJob
		Body DropRequest
	}) (*body[Dropped], error) {
		return answer(v.DropDead(ctx, in.Job, in.Body))
	})
}

func (s *Server) scheduleOperations() {
	v := s.Service
	register(s, operation{role: guard.Read, path: "/schedules", id: "listSchedules", summary: "Pipelines that run again and again"},
		func(ctx context.Context, _ *struct{}) (*body[ScheduleList], error) { return answer(v.Schedules(ctx)) })
	s.takesText(register(s, operation{
		role: guard.Operate, method: http.MethodPost, path: "/schedules", id: "addSchedule", summary: "Run a pipeline again and again, as its key schedule says", status: http.StatusCreated,
		detail: "A schedule of the same name is replaced: 200 in place of 201.",
	}, func(ctx context.Context, in *Submitting) (*scheduled, error) {
		r, err := in.request()
		if err != nil {
			return nil, err
		}
		row, replaced, err := v.AddSchedule(ctx, r)
		out := &scheduled{http.StatusCreated, row}
		if replaced {
			out.Status = http.StatusOK
		}
		return out, err
	}), "200")
	register(s, operation{role: guard.Admin, method: http.MethodDelete, path: "/schedules/{schedule}", id: "removeSchedule", summary: "Forget a schedule; jobs that it began go on"},
		func(ctx context.Context, in *OfSchedule) (*body[ScheduleRow], error) {
			return answer(v.RemoveSchedule(ctx, in.Schedule))
		})
	for _, a := range []struct {
		verb, summary string
		act           func(context.Context, string) (ScheduleRow, error)
	}{
		{"pause", "Hold a schedule: no run begins", v.PauseSchedule},
		{"resume", "Let a paused schedule go on, with its next time from now", v.ResumeSchedule},
	} {
		register(s, operation{role: guard.Operate, method: http.MethodPost, path: "/schedules/{schedule}/" + a.verb, id: a.verb + "Schedule", summary: a.summary},
			func(ctx context.Context, in *OfSchedule) (*body[ScheduleRow], error) {
				return answer(a.act(ctx, in.Schedule))
			})
	}
	register(s, operation{role: guard.Operate, method: http.MethodPost, path: "/schedules/{schedule}/run", id: "runSchedule", summary: "Run a schedule now, once, paused or not"},
		func(ctx context.Context, in *OfSchedule) (*body[job.Run], error) {
			return answer(v.RunSchedule(ctx, in.Schedule))
		})
}

// enter takes a place among the streams and waits, or says that there is none.
func (s *Server) enter() (leave func(), err error) {
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams }, nil
	default:
		return nil, &Problem{Status: http.StatusServiceUnavailable, Title: "too many streams and waits", Detail: "there are DRAY_HTTP_STREAMS of them already", Hint: "ask again later, without wait, or raise DRAY_HTTP_STREAMS"}
	}
}

// wait waits for a job's end, if that is asked for.
func (s *Server) wait(ctx context.Context, id string, in Waiting) error {
	d, err := in.patience()
	if err != nil || d == 0 {
		return err
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	patient, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	_, err = s.Service.Ended(patient, id)
	return err
}

// stream answers with events.
func (s *Server) stream(only string, in Streaming) (*huma.StreamResponse, error) {
	after, err := lastEvent(in.Last, in.After)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		r, w := unwrap(ctx)
		leave, err := s.enter()
		if err != nil {
			writeProblem(w, ProblemOf(err))
			return
		}
		defer leave()
		s.Service.events(w, r, only, after)
	}}, nil
}
