package job

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Protocol numbers what the programs of a fleet say to each other: submissions,
// schedules, job records, chunks and results. It is raised by one with a change
// that an older program would misunderstand, and not with one that it may
// ignore. A program understands every number up to its own.
//
// Whatever needs a newer program says so in its field Protocol, and an older
// program leaves it to the newer ones: it does not guess. That is what lets two
// versions work side by side while a fleet is upgraded.
const Protocol = 1

// NewerError says that something was written for a newer program than this one.
// Nothing is wrong with it: its class is Retry, for a newer one may come to it.
type NewerError struct {
	What     string // such as "job flights-1"
	Protocol int    // what it needs; 0 when it is told by Field
	Field    string // what this program does not know, as the decoder says it
}

func (e *NewerError) Error() string {
	if e.Protocol > Protocol {
		return fmt.Sprintf("%s needs a dray of protocol %d, this one speaks %d: it is left to newer ones", e.What, e.Protocol, Protocol)
	}
	return fmt.Sprintf("%s was made by a newer dray (%s): it is left to newer ones", e.What, e.Field)
}

func understood(what string, protocol int) error {
	if protocol <= Protocol {
		return nil
	}
	return &NewerError{What: what, Protocol: protocol}
}

// Understood is nil or a *NewerError.
func (s Submission) Understood() error {
	return understood("the submission of job "+s.Job, s.Protocol)
}

// Understood is nil or a *NewerError.
func (s Schedule) Understood() error {
	return understood("schedule "+s.Name, s.Submission.Protocol)
}

// Understood is nil or a *NewerError. What a job has frozen decides which rows
// are loaded where, so a field in it that this program does not know makes the
// job a newer one's, whatever its number.
func (j Job) Understood() error {
	what := "job " + j.ID
	if j.Frozen != nil && j.Frozen.unknown != "" && j.Protocol <= Protocol {
		return &NewerError{What: what, Field: j.Frozen.unknown}
	}
	return understood(what, j.Protocol)
}

// Understood is nil or a *NewerError.
func (c Chunk) Understood() error {
	return understood(fmt.Sprintf("chunk %d of job %s", c.Ordinal, c.Job), c.Protocol)
}

// Understood is nil or a *NewerError.
func (r Result) Understood() error {
	return understood(fmt.Sprintf("the result of chunk %d of job %s", r.Chunk, r.Job), r.Protocol)
}

// UnmarshalJSON reads what this program knows, and remembers that there was
// more, see Job.Understood.
func (f *Frozen) UnmarshalJSON(data []byte) error {
	type plain Frozen
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	err := strict.Decode((*plain)(f))
	if err == nil {
		return nil
	}
	*f = Frozen{}
	if json.Unmarshal(data, (*plain)(f)) != nil {
		return err
	}
	f.unknown = err.Error()
	return nil
}
