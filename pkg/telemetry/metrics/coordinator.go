package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"drayage/pkg/job"
)

// Coordinator are the metrics of a coordinator. Its counters are of what this
// process did: their sum over all coordinators is that of the fleet. What is
// known of the fleet as a whole, such as jobs by state, only the coordinator that
// leads exposes: a standby does not have those series at all, so a sum over all
// coordinators counts nothing twice.
type Coordinator struct {
	steps
	fleet         *fleet
	leaderships   prometheus.Counter
	submissions   *prometheus.CounterVec
	ended         *prometheus.CounterVec
	duration      prometheus.Histogram
	retries       prometheus.Counter
	planned       prometheus.Counter
	hedged        prometheus.Counter
	replaced      *prometheus.CounterVec
	verifications prometheus.Counter
	differences   prometheus.Counter
	repairs       prometheus.Counter
	runs          *prometheus.CounterVec
}

// NewCoordinator makes metrics that nobody sees until Registry.Coordinator made
// them.
func NewCoordinator() *Coordinator {
	return &Coordinator{
		steps:         newSteps(coordinatorSteps(), Seat, Lead),
		fleet:         newFleet(),
		leaderships:   counter("dray_coordinator_leaderships_total", "Times that this coordinator began to lead."),
		submissions:   counters("dray_submissions_total", "Submissions that this coordinator took, from NATS and over HTTP.", "result", texts(Accepted, Refused)),
		ended:         counters("dray_jobs_ended_total", "Jobs that this coordinator ended, by the state they ended in.", "state", endStates()),
		duration:      histogram("dray_job_duration_seconds", "Time of a job from its start to its end.", jobDurations()),
		retries:       counter("dray_job_retries_total", "Times that a job could not go on and was tried again."),
		planned:       counter("dray_chunks_planned_total", "Chunks that were planned and queued."),
		hedged:        counter("dray_chunks_hedged_total", "Slow chunks that were given to a second worker too."),
		replaced:      counters("dray_chunks_replaced_total", "Chunks that were retired and replaced by others.", "reason", []string{job.ReplacedTooBig, job.ReplacedRepair}),
		verifications: counter("dray_verifications_total", "Times that ClickHouse was asked for the proof of a job."),
		differences:   counter("dray_verification_differences_total", "Chunks whose rows in ClickHouse were not those recorded, at most 100 of a target and verification."),
		repairs:       counter("dray_repairs_total", "Repairs of jobs that verification began."),
		runs:          counters("dray_schedule_runs_total", "Runs of schedules, by what became of them.", "result", texts(Begun, Skipped, Missed)),
	}
}

// Coordinator returns the metrics of the coordinator of this process, the same at
// each call: what takes submissions from NATS and what takes them over HTTP count
// together.
func (r *Registry) Coordinator() *Coordinator { return r.coordinator() }

func (r *Registry) newCoordinator() *Coordinator {
	c := NewCoordinator()
	c.steps = r.join(c.steps)
	r.all.MustRegister(c.fleet, c.leaderships, c.submissions, c.ended, c.duration, c.retries, c.planned, c.hedged,
		c.replaced, c.verifications, c.differences, c.repairs, c.runs)
	return c
}

// Leads says that this coordinator leads until the function is called: what is
// told of the fleet is exposed meanwhile, and forgotten then.
func (c *Coordinator) Leads() (over func()) {
	c.leaderships.Inc()
	return c.fleet.lead()
}

// Job tells the record of a job, as it is now. It is known from then on until
// Gone, or until this coordinator leads no more; while it does not lead nothing is.
func (c *Coordinator) Job(j job.Job) { c.fleet.tell(j, time.Now()) }

// Gone says that the record of a job was deleted.
func (c *Coordinator) Gone(id string) { c.fleet.forget(id) }

// Backlog tells the chunks of a job that wait, and those at workers.
func (c *Coordinator) Backlog(id string, queued, inFlight uint64) {
	c.fleet.backlog(id, queued, inFlight)
}

// Submitted counts a submission.
func (c *Coordinator) Submitted(as Intake) { c.submissions.WithLabelValues(string(as)).Inc() }

// Ended counts a job that this coordinator moved into a state that ends it.
func (c *Coordinator) Ended(j job.Job) {
	c.ended.WithLabelValues(string(j.State)).Inc()
	if !j.StartedAt.IsZero() {
		c.duration.Observe(j.FinishedAt.Sub(j.StartedAt).Seconds())
	}
}

// Retried counts a job that could not go on and is tried again.
func (c *Coordinator) Retried() { c.retries.Inc() }

// Planned counts a chunk that was planned and queued.
func (c *Coordinator) Planned() { c.planned.Inc() }

// Hedged counts a chunk that was given to a second worker.
func (c *Coordinator) Hedged() { c.hedged.Inc() }

// Replaced counts chunks that were retired, by the reason, one of job.Replaced's.
func (c *Coordinator) Replaced(reason string, n int) {
	c.replaced.WithLabelValues(reason).Add(float64(n))
}

// Verified counts a verification and the differences that it found.
func (c *Coordinator) Verified(differences int) {
	c.verifications.Inc()
	c.differences.Add(float64(differences))
}

// Repaired counts a repair.
func (c *Coordinator) Repaired() { c.repairs.Inc() }

// Runs counts runs of a schedule.
func (c *Coordinator) Runs(as Run, n uint64) { c.runs.WithLabelValues(string(as)).Add(float64(n)) }
