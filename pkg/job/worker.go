package job

import "time"

// Worker is what a worker says about itself with each heartbeat. A worker
// whose heartbeats stop disappears; nothing it held is lost by that.
type Worker struct {
	ID      string `json:"worker"` // unique in the fleet and new with each process
	Host    string `json:"host"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Protocol is the highest that it speaks, see the constant; 0: one from
	// before there was a number.
	Protocol int `json:"protocol,omitempty"`
	Slots    int `json:"slots"` // chunks it works on at once
	Busy     int `json:"busy"`  // slots in use
	// Current lists the chunks being worked on, as "job/ordinal/generation".
	Current        []string  `json:"current,omitempty"`
	EngineRestarts int       `json:"engine_restarts"`
	Stages         []string  `json:"stages,omitempty"`  // Go stages that it was built with
	Sources        []string  `json:"sources,omitempty"` // custom kinds of source likewise
	StartedAt      time.Time `json:"started_at"`
	At             time.Time `json:"at"` // of this heartbeat
}
