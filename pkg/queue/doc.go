// Package queue is what the fleet shares beside ClickHouse: NATS JetStream.
// It is the only importer of nats.go and of the embedded nats-server, and it
// hides both behind the nouns of package job.
//
// # Where what is
//
//	topology.go     every stream, bucket, subject and limit, with its reason
//	errors.go       NATS error codes to sentinels and classes, one table
//	config.go       what can be configured
//	queue.go        the connection; Ensure and Check are in ensure.go
//	embedded.go     a NATS server in this process
//	jobs.go         job records: compare-and-set, list, watch
//	submissions.go  requests for jobs, a work queue
//	work.go         chunks and the consumer of each job
//	hedge.go        a second message of a chunk that takes long
//	stranded.go     chunks of jobs that have ended
//	puller.go       one message for one free slot
//	delivery.go     from a verdict to the one acknowledgement
//	lease.go        how long a delivery is ours
//	excused.go      deliveries that do not count as attempts
//	results.go      results, a first-write-wins register a chunk
//	dead.go         dead letters, likewise
//	events.go       failed attempts, lossy, for watching
//	workers.go      heartbeats that expire
//	write.go        the one way to write when the outcome may stay unknown
//	follow.go       the one way to read a subject from its start and on
//	bucket.go       keys and values on streams
//	lead.go         one coordinator of several does the work
//
// # What may be relied on
//
// Delivery is at least once, recording is first write wins, and records of
// jobs are compare-and-set. Nothing here is exactly once; that is the work of
// the deduplication token and of the verification against ClickHouse.
//
// Every call honours its context. Reads and administration give up after
// Config.Timeout at the latest. Writes whose repetition is harmless (all of
// those here) are repeated until their context ends, because "the outcome is
// unknown" is an answer no caller could use: give them a deadline.
//
// # What a worker needs to be allowed
//
// A coordinator administers the account's JetStream. A worker gets along with:
// publish to $JS.API.INFO, $JS.API.STREAM.INFO.DRAY_* and .KV_dray_*,
// $JS.API.CONSUMER.INFO.DRAY_WORK.job-*, $JS.API.CONSUMER.MSG.NEXT.DRAY_WORK.job-*,
// $JS.API.DIRECT.GET.> (Result, Job), $JS.ACK.DRAY_WORK.>, dray.results.>,
// dray.dead.>, dray.events.>, $KV.dray_workers.<its own id> and
// $KV.dray_state.excused.>; and, to watch
// jobs, $JS.API.CONSUMER.CREATE.KV_dray_jobs.> with MSG.NEXT and DELETE of the
// same. It subscribes to its own inbox only (Config.InboxPrefix).
package queue
