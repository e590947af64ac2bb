package engine

import "sync"

// queryIDs are the ids of the running requests. As on a server, an id can run
// once at a time: a twin of a running INSERT is refused, not queued.
type queryIDs struct {
	mu      sync.Mutex
	running map[string]bool
}

// enter takes id until leave is called. It fails with code 216 when the id runs.
func (q *queryIDs) enter(id string) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running[id] {
		return nil, &Exception{codeSameID, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = " + id + " is already running."}
	}
	if q.running == nil {
		q.running = map[string]bool{}
	}
	q.running[id] = true
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		delete(q.running, id)
	}, nil
}
