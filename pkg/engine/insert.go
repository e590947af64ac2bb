package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// streamInsert runs an INSERT whose data come from body. All of the body is
// inserted, or, when it ends early or can not be read, nothing of it.
func (s *session) streamInsert(ctx context.Context, st statement, parameters map[string]string, body io.Reader) (stats, error) {
	r, w, err := widePipe()
	if err != nil {
		return stats{}, err
	}
	var sql string
	switch st.kind {
	case kindInput:
		if st.inputStructure == "" {
			structure, err := s.structure(st.target)
			if err != nil {
				r.Close()
				w.Close()
				return stats{}, err
			}
			st.inputStructure = quote(structure)
		}
		sql = fmt.Sprintf("%sfile('/proc/self/fd/%d', %s, %s, 'lz4')%s",
			st.sql[:st.inputStart], r.Fd(), quote(st.format), st.inputStructure, st.sql[st.inputEnd:])
	default:
		sql = fmt.Sprintf("%s FROM INFILE '/proc/self/fd/%d' COMPRESSION 'lz4' %s FORMAT %s",
			st.sql[:st.infile], r.Fd(), st.sql[st.infile:], st.format)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	fed := make(chan error, 1)
	killed := make(chan struct{})
	go func() {
		_, err := feed(w, body)
		fed <- err
		if err != nil && !errors.Is(err, errEngineGone) {
			cancel()
			<-killed // the pipe stays open until the statement is over
		}
		w.Close()
	}()
	_, sta, err := s.run(ctx, sql, "Null", parameters)
	r.Close() // ends a feed that the engine does not read
	close(killed)
	feedErr := <-fed
	if feedErr != nil && !errors.Is(feedErr, errEngineGone) {
		return stats{}, unreadable(feedErr)
	}
	if err == nil && st.kind == kindInsert {
		sta.storageRows, sta.storageBytes = max(sta.storageRows, sta.rows), max(sta.storageBytes, sta.bytes)
	}
	return sta, err
}
