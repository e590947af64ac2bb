// Package api is how a fleet is looked at and steered over HTTP: views of jobs,
// chunks, rejects, dead letters, workers and schedules, the actions on them, and
// the JSON API in front of both. The page of package web is another front of the
// same Service.
//
// # Where what is
//
//	service.go     what the views and actions work with
//	board.go       the jobs' records as they change, followed once for everybody
//	job.go         a job in a list, a job by itself
//	jobs.go        the list: filters, pages
//	wait.go        why a job does not go faster
//	chunks.go      the map of a job's chunks, and one chunk
//	history.go     throughput over time, the slowest chunks, errors by kind
//	rejects.go     rows in quarantine
//	deadletter.go  dead letters and what is done to them
//	worker.go      workers and what they are at
//	schedule.go    schedules and what is done to them
//	submit.go      a job from a pipeline's text, once for each key
//	act.go         pause, resume, cancel, retry
//	problem.go     errors as RFC 9457 has them, with what to do
//
// # What may be relied on
//
// Any coordinator answers: what a view shows is in NATS and ClickHouse. What a
// Service keeps in memory is a row for each job that NATS has a record of, which
// the retention and size of the jobs' bucket bound; every list has a limit.
package api
