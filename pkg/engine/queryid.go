package engine

import "sync"

// queryIDs are the ids of the running requests. As on a server, an id can run
// once at a time: a twin of a running INSERT is refused, not queued.
type queryIDs struct {
	mu      sync.Mutex
	running map[string]func() // cancels
}

// enter takes id until leave is called. It fails with code 216 when the id runs.
func (q *queryIDs) enter(id string, cancel func()) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, taken := q.running[id]; taken {
		return nil, &Exception{216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = " + id + " is already running."}
	}
	if q.running == nil {
		q.running = map[string]func(){}
	}
	q.running[id] = cancel
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.running, id)
	}, nil
}
