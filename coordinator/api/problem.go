package api

import (
	"context"
	"errors"
	"net/http"

	"drayage/coordinator"
	"drayage/pkg/clickhouse"
	"drayage/pkg/pipeline"
	"drayage/pkg/queue"
)

// Problem is an error as RFC 9457 has it, with what to do about it.
type Problem struct {
	Type   string `json:"type"`   // always about:blank: Title and Status say it
	Status int    `json:"status"` // of HTTP
	Title  string `json:"title"`  // the same for all of its kind
	Detail string `json:"detail"` // what went wrong here
	Hint   string `json:"hint,omitempty"`
	// Mistakes are those of a pipeline's text, with their places.
	Mistakes pipeline.Errors `json:"mistakes,omitempty"`
	// Job is the one that is in the way, when one is.
	Job string `json:"job,omitempty"`

	err error
}

func (p *Problem) Error() string {
	if p.Hint == "" {
		return p.Detail
	}
	return p.Detail + "\n  hint: " + p.Hint
}

// Unwrap is the error that it was made of.
func (p *Problem) Unwrap() error { return p.err }

// ProblemOf makes a Problem of an error of the Service; nil of nil.
func ProblemOf(err error) *Problem {
	if err == nil {
		return nil
	}
	p := &Problem{}
	if !errors.As(err, &p) {
		p = classify(err)
	}
	known := *p
	known.Type = "about:blank"
	if known.Detail == "" {
		known.Detail = err.Error()
	}
	known.err = err
	return &known
}

// classify is the one table from errors to HTTP.
func classify(err error) *Problem {
	var (
		mistakes pipeline.Errors
		state    *coordinator.StateError
		running  *coordinator.RunningError
		replay   *coordinator.ReplayError
		letter   *coordinator.LetterError
	)
	switch {
	case errors.As(err, &mistakes):
		return &Problem{Status: http.StatusUnprocessableEntity, Title: "the pipeline has mistakes", Hint: "mend what mistakes lists; docs/pipeline.md says what each key may be", Mistakes: mistakes}
	case errors.As(err, &state):
		return &Problem{Status: http.StatusConflict, Title: "the job is in a state that does not allow it", Hint: "GET /api/v1/jobs/" + state.Job + " says how far it is", Job: state.Job}
	case errors.As(err, &running):
		return &Problem{Status: http.StatusConflict, Title: "the schedule's last run has not ended", Hint: "wait for it, or POST /api/v1/jobs/" + running.Job + "/cancel", Job: running.Job}
	case errors.As(err, &replay):
		return &Problem{Status: http.StatusConflict, Title: "another replay is on its way", Hint: "once it runs, ask again", Job: replay.Job}
	case errors.As(err, &letter):
		return &Problem{Status: http.StatusConflict, Title: "the chunk has no dead letter that could be taken", Hint: "GET /api/v1/jobs/" + letter.Job + "/dead_letters lists those there are", Job: letter.By}
	case errors.Is(err, queue.ErrNotFound):
		return &Problem{Status: http.StatusNotFound, Title: "there is no such thing", Hint: "the record of a job goes DRAY_JOB_RETENTION after its end; GET /api/v1/jobs lists those there are"}
	case errors.Is(err, queue.ErrInvalid):
		return &Problem{Status: http.StatusBadRequest, Title: "the request has a value that can not be"}
	case errors.Is(err, queue.ErrConflict):
		return &Problem{Status: http.StatusConflict, Title: "somebody else changed it at the same time", Hint: "ask again"}
	case errors.Is(err, queue.ErrFull):
		return &Problem{Status: http.StatusInsufficientStorage, Title: "NATS has no room for it", Hint: "raise DRAY_JOBS_MAX_BYTES, or let records of ended jobs go sooner by DRAY_JOB_RETENTION"}
	case errors.Is(err, queue.ErrTooLarge):
		return &Problem{Status: http.StatusRequestEntityTooLarge, Title: "it is larger than a message may be"}
	case errors.Is(err, queue.ErrUnavailable):
		return &Problem{Status: http.StatusServiceUnavailable, Title: "NATS is not available", Hint: "ask again later; GET /readyz says when"}
	case errors.Is(err, clickhouse.ErrUnavailable):
		return &Problem{Status: http.StatusServiceUnavailable, Title: "ClickHouse is not available", Hint: "ask again later; GET /readyz says when"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Problem{Status: http.StatusGatewayTimeout, Title: "it took too long", Hint: "ask again, or for less"}
	}
	return &Problem{Status: http.StatusInternalServerError, Title: "it could not be done", Hint: "the coordinator's log has the rest"}
}

// checkReason checks the reason of a choice of dead letters.
func checkReason(reason string) error {
	for _, r := range coordinator.Reasons() {
		if r == reason {
			return nil
		}
	}
	if reason != "" {
		return badInput("reason", "there is no reason %s; it is permanent, attempts, rejects or too_big", reason)
	}
	return nil
}
