package job

import "time"

// InputBytes is what the whole input holds, as well as that is known by now; 0
// when it is not.
func (j Job) InputBytes() int64 {
	if j.Plan.Complete {
		return j.Plan.Bytes
	}
	return max(j.Plan.EstimatedBytes, j.Plan.Bytes)
}

// Elapsed is how long the job has run at the time now, or ran; 0 before its
// start.
func (j Job) Elapsed(now time.Time) time.Duration {
	switch {
	case j.StartedAt.IsZero():
		return 0
	case j.FinishedAt.IsZero():
		return max(0, now.Sub(j.StartedAt))
	}
	return j.FinishedAt.Sub(j.StartedAt)
}

// RowsPerSecond is the rate at which rows were loaded since the job started.
func (j Job) RowsPerSecond(now time.Time) float64 { return j.perSecond(j.Totals.RowsLoaded, now) }

// BytesPerSecond is the rate at which input was read since the job started.
func (j Job) BytesPerSecond(now time.Time) float64 {
	return j.perSecond(uint64(max(j.Totals.BytesRead, 0)), now)
}

func (j Job) perSecond(n uint64, now time.Time) float64 {
	if s := j.Elapsed(now).Seconds(); s > 0 {
		return float64(n) / s
	}
	return 0
}

// Remaining is the time that the rest of the input takes at the rate so far, by
// bytes or, where the size of the input is not known, by the chunks of a complete
// plan. It is false when that can not be told: nothing is done yet, or the job has
// ended.
func (j Job) Remaining(now time.Time) (time.Duration, bool) {
	whole, done := float64(j.InputBytes()), float64(j.Totals.BytesRead)
	if whole <= 0 && j.Plan.Complete {
		whole, done = float64(j.Plan.Total()), float64(j.Totals.Outcomes())
	}
	switch {
	case j.State.Terminal() || done <= 0 || whole <= 0:
		return 0, false
	case done >= whole:
		return 0, true
	}
	return time.Duration(float64(j.Elapsed(now)) * (whole - done) / done), true
}
