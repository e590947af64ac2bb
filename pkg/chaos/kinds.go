package chaos

// Kind is a kind of fault.
type Kind string

// The kinds of fault.
const (
	KillWorker      Kind = "kill-worker"
	KillCoordinator Kind = "kill-coordinator"
	KillNATS        Kind = "kill-nats"
	KillClickHouse  Kind = "kill-clickhouse"
	KillEngine      Kind = "kill-engine"  // the transform engine of a worker or a coordinator
	DrainWorker     Kind = "drain-worker" // SIGTERM

	StopWorker      Kind = "stop-worker" // SIGSTOP, then SIGCONT; half of them for longer than the lease
	StopCoordinator Kind = "stop-coordinator"
	StopNATS        Kind = "stop-nats"
	StopClickHouse  Kind = "stop-clickhouse"
	StopEngine      Kind = "stop-engine"

	CutWorkerNATS            Kind = "cut-worker-nats" // both ways, one way, flapping, or reset
	CutWorkerClickHouse      Kind = "cut-worker-clickhouse"
	CutCoordinatorNATS       Kind = "cut-coordinator-nats"
	CutCoordinatorClickHouse Kind = "cut-coordinator-clickhouse"
	CutNATS                  Kind = "cut-nats"  // a server from the other two
	CutShard                 Kind = "cut-shard" // a shard from everybody

	DropAnswer Kind = "drop-answer" // of an insert that ClickHouse has committed
	CutBody    Kind = "cut-body"    // of an insert, in its middle
	Refuse     Kind = "refuse"      // 503 in place of an insert
	Latency    Kind = "latency"     // between one member and everything else
	FillStream Kind = "fill-stream" // of chunks, up to its bound
	PauseJob   Kind = "pause-job"   // no fault, but what a person does in the middle of others
	RestartAll Kind = "restart-all" // every process at once, with SIGKILL
)

// weights are how often a kind is chosen, against the others.
func weights() map[Kind]int {
	return map[Kind]int{
		KillWorker: 10, KillCoordinator: 7, KillNATS: 5, KillClickHouse: 4, KillEngine: 6, DrainWorker: 4,
		StopWorker: 9, StopCoordinator: 6, StopNATS: 4, StopClickHouse: 3, StopEngine: 3,
		CutWorkerNATS: 8, CutWorkerClickHouse: 8, CutCoordinatorNATS: 5, CutCoordinatorClickHouse: 4, CutNATS: 4, CutShard: 5,
		DropAnswer: 8, CutBody: 7, Refuse: 4, Latency: 4, FillStream: 3, PauseJob: 4, RestartAll: 1,
	}
}

// Kinds are all kinds of fault.
func Kinds() []Kind {
	return []Kind{
		KillWorker, KillCoordinator, KillNATS, KillClickHouse, KillEngine, DrainWorker,
		StopWorker, StopCoordinator, StopNATS, StopClickHouse, StopEngine,
		CutWorkerNATS, CutWorkerClickHouse, CutCoordinatorNATS, CutCoordinatorClickHouse, CutNATS, CutShard,
		DropAnswer, CutBody, Refuse, Latency, FillStream, PauseJob, RestartAll,
	}
}

// A cut is how a connection is broken.
type cut int

const (
	bothWays cut = iota
	toServer
	fromServer
	flapping
	severed
	cuts // how many there are
)

func (c cut) String() string {
	return [...]string{"both ways", "to the server", "from the server", "flapping", "reset"}[c]
}
