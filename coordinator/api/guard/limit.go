package guard

import (
	"hash/maphash"

	"golang.org/x/time/rate"
)

// limits bound the requests of each client. Clients share a fixed number of
// limiters, by a hash that nobody outside can compute, so memory is bounded
// whoever asks; two that share one share its rate.
type limits struct {
	seed maphash.Seed
	each [limiters]*rate.Limiter
}

const (
	limiters = 4096
	burst    = 4 // seconds' worth of requests at once
)

func newLimits(perSecond float64) *limits {
	l := &limits{seed: maphash.MakeSeed()}
	for i := range l.each {
		l.each[i] = rate.NewLimiter(rate.Limit(perSecond), int(perSecond*burst))
	}
	return l
}

func (l *limits) allow(client string) bool {
	return l.each[maphash.String(l.seed, client)%limiters].Allow()
}
