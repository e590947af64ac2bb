package job

import "time"

// Schedule is the durable record of a schedule: a submission that is repeated.
// It is named after its pipeline, which has one at most.
type Schedule struct {
	Name string `json:"schedule"`
	// Submission is what every run submits, without the name of a job.
	Submission Submission `json:"submission"`
	Timing     Timing     `json:"timing"`
	Paused     bool       `json:"paused"`
	// Next is the planned time of the oldest run that nothing was decided about
	// yet; zero when none is to come.
	Next time.Time `json:"next,omitzero"`
	Last *Run      `json:"last,omitempty"` // nil before the first run
	// Skipped counts runs that were left out because the one before had not
	// ended; SkippedAt is when that was last.
	Skipped   uint64    `json:"skipped"`
	SkippedAt time.Time `json:"skipped_at,omitzero"`
	// Missed counts runs that were left out because nobody led at their time,
	// or that a later one was done in place of.
	Missed    uint64    `json:"missed"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"` // when a person last changed it
}

// Timing says when a schedule runs. Package pipeline reads it.
type Timing struct {
	Cron    string `json:"cron"`
	Zone    string `json:"zone"`
	Missed  string `json:"missed"`
	Overlap string `json:"overlap"`
}

// Run is a job of a schedule.
type Run struct {
	Job     string    `json:"job"`
	Planned time.Time `json:"planned"` // the time it is for; ${job_time} is it
	At      time.Time `json:"at"`      // when it was decided on
	// Pending is true until the job is known to be there. Whoever sees it makes
	// the job; the name is the same for all, so it is made once.
	Pending bool `json:"pending,omitempty"`
}
