package queue

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// All names and policies of the fleet are in this file, and nowhere else.

// The streams. A bucket is a stream too, named KV_<bucket> (NATS ADR-8).
const (
	streamJobs    = "DRAY_JOBS"    // submissions, a work queue
	streamWork    = "DRAY_WORK"    // chunks, a work queue and a register
	streamResults = "DRAY_RESULTS" // a register a chunk and generation
	streamDead    = "DRAY_DEAD"    // likewise
	streamEvents  = "DRAY_EVENTS"  // lossy

	bucketPrefix = "KV_"

	bucketJobs    = "dray_jobs"    // job records
	bucketLeases  = "dray_leases"  // who leads what, see Lead
	bucketState   = "dray_state"   // watermarks, schedules
	bucketWorkers = "dray_workers" // heartbeats
	bucketSeats   = "dray_seats"   // who has which seat, see Seats
	bucketExcused = "dray_excused" // attempts that do not count
)

// What a worker writes is in buckets of its own: whoever may write a key of a
// bucket may, by a header, remove all the others (NATS ADR-8, rollup).

// The durable consumers.
const (
	consumerIntake = "intake" // the coordinators' one, on streamJobs
	consumerJob    = "job-"   // + job id, one a job, on streamWork
)

const (
	subjectSubmit = "dray.jobs.submit"
	subjectJobs   = "dray.jobs.>"
	subjectWork   = "dray.work.>"
	subjectResult = "dray.results.>"
	subjectDead   = "dray.dead.>"
	subjectEvents = "dray.events.>"

	// JetStream's API, + stream, + consumer where there is one ("JetStream wire
	// API", NATS ADR-13 and ADR-31).
	apiInfo           = "$JS.API.INFO"
	apiStream         = "$JS.API.STREAM.*." // all that is done to one
	apiStreamInfo     = "$JS.API.STREAM.INFO."
	apiStreamCreate   = "$JS.API.STREAM.CREATE."
	apiStreamUpdate   = "$JS.API.STREAM.UPDATE."
	apiStreamPurge    = "$JS.API.STREAM.PURGE."
	apiMsgGet         = "$JS.API.STREAM.MSG.GET."
	apiDirectGet      = "$JS.API.DIRECT.GET."
	apiConsumer       = "$JS.API.CONSUMER.*." // all that is done to one
	apiConsumerInfo   = "$JS.API.CONSUMER.INFO."
	apiConsumerCreate = "$JS.API.CONSUMER.CREATE."
	apiConsumerDelete = "$JS.API.CONSUMER.DELETE."
	apiConsumerPause  = "$JS.API.CONSUMER.PAUSE."
	apiPull           = "$JS.API.CONSUMER.MSG.NEXT."
	subjectAck        = "$JS.ACK." // what a delivery is answered on
)

// Bounds that are nobody's configuration.
const (
	// A pull that waits takes one of MaxWaiting, one a free slot of the fleet.
	// It can not be raised on a consumer that exists, and beyond it pulls are
	// refused, so it is well above any fleet (the default is 512).
	maxWaiting = 8192
	// Submissions being looked at by all coordinators together.
	maxIntake = 64
	// In flight a job when the caller does not say.
	defaultInFlight = 64
	// The stored size of a message with headers: room around the payload.
	headerRoom = 1024
	// A dead letter's error text is cut to this many bytes, an event's too.
	maxErrorText = 8 << 10
	// Markers of deleted and expired keys stay this long, so that a watcher
	// that was away learns of the deletion, and then go: a bucket does not
	// grow by what was deleted.
	markerTTL = time.Hour
	// NATS deduplicates by message id for this long. We only use it to cover
	// network retries of submissions; what must hold longer is a register.
	duplicateWindow = 2 * time.Minute
	// How long a paused consumer stays paused if nobody resumes it. NATS has
	// no "for ever".
	pauseFor = 10 * 365 * 24 * time.Hour
)

func workSubject(jobID string, ordinal uint64) string {
	return "dray.work." + jobID + "." + strconv.FormatUint(ordinal, 10)
}

// hedgeSuffix makes the subject of a chunk's hedge from that of the chunk.
const hedgeSuffix = ".hedge"

func hedgeSubject(jobID string, ordinal uint64) string {
	return workSubject(jobID, ordinal) + hedgeSuffix
}

func registerSubject(kind, jobID string, ordinal uint64, generation uint32) string {
	return "dray." + kind + "." + jobID + "." + strconv.FormatUint(ordinal, 10) + "." + strconv.FormatUint(uint64(generation), 10)
}

func jobSubjects(kind, jobID string) string { return "dray." + kind + "." + jobID + ".>" }

func checkJobID(id string) error {
	if !job.ValidID(id) {
		return invalid("job id %.140q: 1 to %d characters of [a-z0-9_-]", id, job.MaxID)
	}
	return nil
}

// topology is every stream as Ensure wants it.
func (c Config) topology() []jetstream.StreamConfig {
	base := func(name, subject, why string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Description: why,
			Storage: jetstream.FileStorage, Replicas: c.Replicas,
			MaxConsumers: -1, MaxMsgs: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxBytes: -1,
			Duplicates: duplicateWindow,
			// Reads are answered by any replica. They may be stale; whatever
			// must not be is decided by a write.
			AllowDirect: true,
		}
	}

	// Taken once, by one coordinator, and gone. Full: refuse, never drop.
	jobs := base(streamJobs, subjectJobs, "Drayage: submissions waiting for a coordinator")
	jobs.Retention = jetstream.WorkQueuePolicy
	jobs.Discard = jetstream.DiscardNew
	jobs.MaxBytes = c.SubmissionsMaxBytes

	// One message a subject and refusal of the second make each chunk's
	// subject a register: a planner that starts again can not queue a chunk
	// twice. An acknowledged chunk leaves the stream and frees its subject.
	// Full: refuse, which is the planner's backpressure.
	work := base(streamWork, subjectWork, "Drayage: chunks to do")
	work.Retention = jetstream.WorkQueuePolicy
	work.Discard = jetstream.DiscardNew
	work.DiscardNewPerSubject = true
	work.MaxMsgsPerSubject = 1
	work.MaxMsgs = c.WorkMaxMsgs
	work.MaxBytes = c.WorkMaxBytes
	work.MaxMsgSize = job.MaxDescriptor + headerRoom

	// First write wins, and it stays until the job is purged or far outlived:
	// limits retention never deletes on an acknowledgement.
	results := base(streamResults, subjectResult, "Drayage: how chunks ended, first write wins")
	results.Retention = jetstream.LimitsPolicy
	results.Discard = jetstream.DiscardNew
	results.DiscardNewPerSubject = true
	results.MaxMsgsPerSubject = 1
	results.MaxAge = c.ResultsMaxAge
	results.MaxBytes = c.ResultsMaxBytes

	dead := base(streamDead, subjectDead, "Drayage: chunks given up, first write wins")
	dead.Retention = jetstream.LimitsPolicy
	dead.Discard = jetstream.DiscardNew
	dead.DiscardNewPerSubject = true
	dead.MaxMsgsPerSubject = 1
	dead.MaxAge = c.DeadMaxAge
	dead.MaxBytes = c.DeadMaxBytes

	// For watching only: the oldest give way, nobody waits for the ack.
	events := base(streamEvents, subjectEvents, "Drayage: failed attempts, for watching")
	events.Retention = jetstream.LimitsPolicy
	events.Discard = jetstream.DiscardOld
	events.MaxAge = c.EventsMaxAge
	events.MaxBytes = c.EventsMaxBytes
	events.MaxMsgSize = maxErrorText + 4*headerRoom

	// NATS ADR-8: a bucket is a stream with one message a subject, rollup for
	// purges, no deletes of single messages, and (ADR-48) markers for limits.
	bucket := func(name, why string, maxBytes int64) jetstream.StreamConfig {
		s := base(bucketPrefix+name, "$KV."+name+".>", why)
		s.Retention = jetstream.LimitsPolicy
		s.Discard = jetstream.DiscardNew
		s.MaxMsgsPerSubject = 1
		s.MaxBytes = maxBytes
		s.AllowRollup = true
		s.DenyDelete = true
		s.AllowMsgTTL = true
		s.SubjectDeleteMarkerTTL = markerTTL
		return s
	}
	return []jetstream.StreamConfig{
		jobs, work, results, dead, events,
		bucket(bucketJobs, "Drayage: job records", c.JobsMaxBytes),
		bucket(bucketLeases, "Drayage: who leads", 16<<20),
		bucket(bucketState, "Drayage: watermarks, schedules", 64<<20),
		bucket(bucketWorkers, "Drayage: workers, by heartbeat", 16<<20),
		bucket(bucketSeats, "Drayage: who has a seat", 16<<20),
		bucket(bucketExcused, "Drayage: attempts that do not count", 16<<20),
	}
}

// A field of a stream that is compared after creation. A vital one carries the
// guarantees: a worker refuses a stream that differs there, but takes limits
// as the coordinator set them.
type streamField struct {
	name  string
	vital bool
	value func(jetstream.StreamConfig) any
}

var streamFields = []streamField{
	{"subjects", true, func(s jetstream.StreamConfig) any {
		subjects := slices.Sorted(slices.Values(s.Subjects))
		return fmt.Sprint(subjects)
	}},
	{"retention", true, func(s jetstream.StreamConfig) any { return s.Retention.String() }},
	{"storage", true, func(s jetstream.StreamConfig) any { return s.Storage.String() }},
	{"discard", true, func(s jetstream.StreamConfig) any { return s.Discard.String() }},
	{"discard_new_per_subject", true, func(s jetstream.StreamConfig) any { return s.DiscardNewPerSubject }},
	{"max_msgs_per_subject", true, func(s jetstream.StreamConfig) any { return s.MaxMsgsPerSubject }},
	{"no_ack", true, func(s jetstream.StreamConfig) any { return s.NoAck }},
	{"sealed", true, func(s jetstream.StreamConfig) any { return s.Sealed }},
	{"mirror", true, func(s jetstream.StreamConfig) any { return s.Mirror != nil }},
	{"sources", true, func(s jetstream.StreamConfig) any { return len(s.Sources) }},
	{"subject_transform", true, func(s jetstream.StreamConfig) any { return s.SubjectTransform != nil }},
	{"persist_mode", true, func(s jetstream.StreamConfig) any { return s.PersistMode }},
	{"allow_rollup_hdrs", true, func(s jetstream.StreamConfig) any { return s.AllowRollup }},
	{"allow_msg_ttl", true, func(s jetstream.StreamConfig) any { return s.AllowMsgTTL }},
	{"deny_purge", true, func(s jetstream.StreamConfig) any { return s.DenyPurge }},
	{"deny_delete", false, func(s jetstream.StreamConfig) any { return s.DenyDelete }},
	{"subject_delete_marker_ttl", false, func(s jetstream.StreamConfig) any { return s.SubjectDeleteMarkerTTL }},
	{"num_replicas", false, func(s jetstream.StreamConfig) any { return s.Replicas }},
	{"max_consumers", false, func(s jetstream.StreamConfig) any { return s.MaxConsumers }},
	{"max_msgs", false, func(s jetstream.StreamConfig) any { return s.MaxMsgs }},
	{"max_bytes", false, func(s jetstream.StreamConfig) any { return s.MaxBytes }},
	{"max_age", false, func(s jetstream.StreamConfig) any { return s.MaxAge }},
	{"max_msg_size", false, func(s jetstream.StreamConfig) any { return s.MaxMsgSize }},
	{"duplicate_window", false, func(s jetstream.StreamConfig) any { return s.Duplicates }},
	{"allow_direct", false, func(s jetstream.StreamConfig) any { return s.AllowDirect }},
}

// Mismatch is one field of a stream or consumer that is not as asked for.
type Mismatch struct {
	Stream string // "DRAY_WORK", or "DRAY_WORK/job-x" for a consumer
	Field  string // in the words of the NATS API, e.g. "retention"
	Wanted string
	Found  string
}

func (m Mismatch) String() string {
	return fmt.Sprintf("%s: %s is %s, wanted %s", m.Stream, m.Field, m.Found, m.Wanted)
}

func differences(want, got jetstream.StreamConfig, vitalOnly bool) []Mismatch {
	var diff []Mismatch
	for _, f := range streamFields {
		if vitalOnly && !f.vital {
			continue
		}
		if w, g := f.value(want), f.value(got); w != g {
			diff = append(diff, Mismatch{want.Name, f.name, fmt.Sprint(w), fmt.Sprint(g)})
		}
	}
	return diff
}

// jobConsumer is the consumer of a job as OpenJob wants it.
func jobConsumer(id string, jq JobQueue) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: consumerJob + id, Durable: consumerJob + id,
		Description:   "Drayage: chunks of job " + id,
		FilterSubject: jobSubjects("work", id), // disjoint for any two jobs, as a work queue demands
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       jq.Lease,
		// Past MaxDeliver a message would stay for ever, invisible. The worker
		// counts deliveries and writes the dead letter itself.
		MaxDeliver: -1,
		// No BackOff: it overrides AckWait and distorts delayed Naks.
		MaxAckPending: jq.MaxInFlight,
		MaxWaiting:    maxWaiting,
		// One message a pull is all we ever ask for; so nobody else can take
		// more and sit on it.
		MaxRequestBatch: 1,
	}
}

// intakeConsumer is the coordinators' consumer of submissions.
func (c Config) intakeConsumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Name: consumerIntake, Durable: consumerIntake,
		Description:     "Drayage: submissions, for the coordinators",
		FilterSubject:   subjectSubmit,
		DeliverPolicy:   jetstream.DeliverAllPolicy,
		AckPolicy:       jetstream.AckExplicitPolicy,
		AckWait:         c.Lease,
		MaxDeliver:      -1,
		MaxAckPending:   maxIntake,
		MaxWaiting:      512,
		MaxRequestBatch: 1,
	}
}
