package queue

import "slices"

// Role is what somebody who connects to NATS is to the fleet.
type Role string

// The roles. RoleCoordinator is the only one that makes, changes and empties
// streams and consumers.
const (
	RoleCoordinator Role = "coordinator"
	RoleWorker      Role = "worker"   // takes chunks, says what became of them
	RoleOperator    Role = "operator" // submits and manages jobs: the command line, scripts
	RoleReader      Role = "reader"   // looks only
)

// Roles are all roles.
func Roles() []Role { return []Role{RoleCoordinator, RoleWorker, RoleOperator, RoleReader} }

// ParseRole reads the name of a role.
func ParseRole(name string) (Role, error) {
	if r := Role(name); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", invalid("there is no role %.140q: coordinator, worker, operator or reader", name)
}

// Access is all that a role needs of NATS, beside its own inboxes. The subjects
// may have wildcards.
type Access struct {
	// Requests are the subjects that it publishes to, and that streams or
	// JetStream answer.
	Requests []string
	// Watches are the subjects that it subscribes to.
	Watches []string
}

// Access says what a role needs, and no more. To be safe it takes more than
// permissions of users: in one account, whoever may make a request can name any
// subject for the answer, JetStream's own included, and the server publishes
// there what was asked for without asking whether the requester might. So each
// role but the coordinator's must have an account of its own, which imports its
// Requests as services and its Watches as streams from the account of the
// streams; package natsauth writes such configurations.
func (r Role) Access() Access {
	switch r {
	case RoleCoordinator:
		return coordinatorAccess()
	case RoleWorker:
		return workerAccess()
	case RoleOperator:
		return operatorAccess()
	case RoleReader:
		return readerAccess()
	}
	return Access{}
}

func keySubjects(bucket string) string { return "$KV." + bucket + ".>" }

// streamNames are those of all streams, buckets included.
func streamNames() []string {
	var names []string
	for _, s := range DefaultConfig().topology() {
		names = append(names, s.Name)
	}
	return names
}

// reads are the requests with which streams are read.
func reads(streams ...string) []string {
	var all []string
	for _, s := range streams {
		all = append(all, apiMsgGet+s, apiDirectGet+s, apiDirectGet+s+".>")
	}
	return all
}

// greets is what every connection does: it looks whether the streams are as they
// must be.
func greets() []string {
	all := []string{apiInfo}
	for _, s := range streamNames() {
		all = append(all, apiStreamInfo+s)
	}
	return all
}

func coordinatorAccess() Access {
	a := Access{
		Requests: greets(),
		Watches: []string{
			subjectResult, subjectDead, subjectEvents,
			keySubjects(bucketJobs), keySubjects(bucketState), keySubjects(bucketWorkers),
		},
	}
	for _, s := range streamNames() {
		a.Requests = append(a.Requests, apiStreamCreate+s, apiStreamUpdate+s, apiStreamPurge+s)
		a.Requests = append(a.Requests, reads(s)...)
	}
	for _, s := range []string{streamJobs, streamWork} {
		a.Requests = append(a.Requests, apiConsumerInfo+s+".*", apiConsumerCreate+s+".>")
	}
	a.Requests = append(a.Requests,
		apiConsumerDelete+streamWork+".*", apiConsumerPause+streamWork+".*",
		apiPull+streamJobs+"."+consumerIntake, subjectAck+streamJobs+".>",
		subjectSubmit, subjectWork,
		keySubjects(bucketJobs), keySubjects(bucketLeases), keySubjects(bucketState), keySubjects(bucketSeats),
	)
	return a
}

func workerAccess() Access {
	a := Access{Requests: greets(), Watches: []string{keySubjects(bucketJobs), keySubjects(bucketWorkers)}}
	a.Requests = append(a.Requests, reads(
		streamResults, streamDead,
		bucketPrefix+bucketJobs, bucketPrefix+bucketWorkers, bucketPrefix+bucketSeats, bucketPrefix+bucketExcused,
	)...)
	a.Requests = append(a.Requests,
		apiConsumerInfo+streamWork+".*", apiPull+streamWork+".*", subjectAck+streamWork+".>",
		subjectResult, subjectDead, subjectEvents,
		keySubjects(bucketWorkers), keySubjects(bucketSeats), keySubjects(bucketExcused),
	)
	return a
}

func readerAccess() Access {
	a := Access{
		Requests: greets(),
		Watches: []string{
			subjectResult, subjectDead, subjectEvents,
			keySubjects(bucketJobs), keySubjects(bucketState), keySubjects(bucketWorkers),
		},
	}
	a.Requests = append(a.Requests, reads(
		streamResults, streamDead, streamEvents,
		bucketPrefix+bucketJobs, bucketPrefix+bucketState, bucketPrefix+bucketWorkers, bucketPrefix+bucketSeats,
	)...)
	a.Requests = append(a.Requests, apiConsumerInfo+streamWork+".*") // how much waits
	return a
}

func operatorAccess() Access {
	a := readerAccess()
	a.Requests = append(a.Requests,
		subjectSubmit,
		keySubjects(bucketJobs), keySubjects(bucketState), // orders, schedules, watermarks
		apiStreamPurge+streamDead, // dead letters that are dropped
	)
	return a
}

// Reduce leaves out the subjects that another one covers, and sorts.
func Reduce(subjects []string) []string {
	sorted := slices.Sorted(slices.Values(subjects))
	sorted = slices.Compact(sorted)
	return slices.DeleteFunc(slices.Clone(sorted), func(s string) bool {
		return slices.ContainsFunc(sorted, func(p string) bool { return p != s && matches(p, s) })
	})
}

// Does says in a few words what the role is for.
func (r Role) Does() string {
	switch r {
	case RoleCoordinator:
		return "makes the streams, plans, accounts"
	case RoleWorker:
		return "takes chunks, records results"
	case RoleOperator:
		return "submits and manages jobs"
	case RoleReader:
		return "looks only"
	}
	return ""
}
