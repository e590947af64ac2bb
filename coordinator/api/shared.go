package api

import (
	"context"
	"sync"
	"time"
)

// shared is an answer that is asked for often and read at most once in sharedFor,
// by one caller while the others wait.
type shared[T any] struct {
	read func(context.Context) (T, error)

	mu   sync.Mutex
	last T
	at   time.Time
}

// get returns the answer, at most sharedFor old. It is not to be changed.
func (s *shared[T]) get(ctx context.Context) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < sharedFor {
		return s.last, nil
	}
	v, err := s.read(ctx)
	if err == nil {
		s.last, s.at = v, time.Now()
	}
	return v, err
}
