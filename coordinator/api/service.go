package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"drayage/pkg/allow"
	"drayage/pkg/clickhouse"
	"drayage/pkg/job"
	"drayage/pkg/queue"
	"drayage/pkg/source"
	"drayage/pkg/telemetry/metrics"
)

// Deps are what a Service works with. It closes none of them.
type Deps struct {
	Queue      *queue.Queue
	ClickHouse *clickhouse.Client
	Log        zerolog.Logger
	// Sources are the kinds of source that this dray was built with beside its
	// own: they say where the input of a chunk is.
	Sources source.Registry
	// Allow is what the sources of jobs may reach; nil: everything.
	Allow *allow.Rules
	// Metrics count the submissions; nil: nothing is counted.
	Metrics *metrics.Coordinator
	// Trier tries pipelines out; nil: validate and preview answer 501.
	Trier Trier
}

// Service answers what people and scripts ask about the fleet, and does what
// they want done. Make it with New; while Run runs, it is safe for concurrent
// use. Its errors are made ready for HTTP by ProblemOf.
type Service struct {
	Deps
	board   *board
	workers shared[[]job.Worker]
	seats   shared[[]queue.Seat]
	trying  chan struct{} // holds a value while a pipeline is tried out
}

// sharedFor is how long an answer that many ask for is given again.
const sharedFor = time.Second

// New makes a Service that knows no job yet.
func New(deps Deps) *Service {
	s := &Service{Deps: deps, board: newBoard(), trying: make(chan struct{}, 1)}
	s.workers = shared[[]job.Worker]{read: deps.Queue.Workers}
	s.seats = shared[[]queue.Seat]{read: deps.Queue.SeatsTaken}
	return s
}

// Run follows the jobs' records until ctx ends, when it returns nil. Views wait
// until it has seen all there are.
func (s *Service) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		updates, err := s.Queue.WatchJobs(ctx)
		switch {
		case err == nil:
		case errors.Is(err, queue.ErrNotFound): // a coordinator is about to make the streams
			pause(ctx, watchFirst)
			continue
		default:
			if ctx.Err() == nil {
				s.Log.Warn().Err(err).Msg("could not watch the jobs; it is tried again")
				pause(ctx, watchAgain)
			}
			continue
		}
		s.board.begin()
		for u := range updates {
			s.board.take(u)
		}
	}
	return nil
}

// Pauses before the jobs are watched again: while nobody has ever started a
// coordinator here, and when NATS is away.
const (
	watchFirst = 200 * time.Millisecond
	watchAgain = 2 * time.Second
)

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// record reads a job's record, which is newer than the board.
func (s *Service) record(ctx context.Context, id string) (job.Job, error) {
	j, _, err := s.Queue.Job(ctx, id)
	if err != nil {
		return j, fmt.Errorf("reading the job: %w", err)
	}
	return j, nil
}
