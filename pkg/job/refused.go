package job

// RefusedError is what the operator of the service does not allow a pipeline to
// reach. Its class is Permanent, whatever marks are around it.
type RefusedError struct {
	What     string // "the path /etc/passwd"
	Variable string // that would allow it; "": none does
	Why      string // "": nothing allows it
}

func (e *RefusedError) Error() string {
	text := e.What + " may not be used by pipelines"
	if e.Why != "" {
		text += ": " + e.Why
	}
	if e.Variable != "" {
		text += "; " + e.Hint()
	}
	return text
}

// Hint says who can allow it, and by what.
func (e *RefusedError) Hint() string {
	if e.Variable == "" {
		return ""
	}
	return "what may be is in " + e.Variable + " of the coordinators and workers"
}
