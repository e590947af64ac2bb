package queue

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"drayage/pkg/job"
)

// NATS answers a request that it refuses with nothing: the violation comes by
// itself, with the subject in its text, and who waits for the answer waits in
// vain. So whoever asks says on what subject, and is told.

// denials tells those who wait that NATS has refused what they asked. The zero
// value is ready.
type denials struct {
	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

type waiter struct {
	pattern string
	refused chan error
}

// watch registers one who asks on a subject, which may have wildcards, and gives
// the channel on which a refusal comes.
func (d *denials) watch(pattern string) (refused <-chan error, forget func()) {
	w := &waiter{pattern, make(chan error, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[*waiter]struct{}{}
	}
	d.waiting[w] = struct{}{}
	return w.refused, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.waiting, w)
	}
}

// tell passes a violation on. Those who can get no answer, because the inbox is
// refused, are all told.
func (d *denials) tell(err error, inboxes string) {
	subject := deniedSubject(err)
	all := strings.HasPrefix(subject, inboxes+".")
	why := denial(err, subject, all)
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.waiting {
		if all || matches(w.pattern, subject) {
			select {
			case w.refused <- why:
			default:
			}
		}
	}
}

func denial(err error, subject string, inbox bool) error {
	hint := "these credentials are of a role that may not do this"
	if inbox {
		hint = "set DRAY_NATS_INBOX_PREFIX to the prefix that these credentials may subscribe to"
	}
	return job.WithClass(fmt.Errorf("%w: no permission for the subject %s (%s): %w", ErrDenied, subject, hint, err), job.Permanent)
}

// deniedSubject is what stands in quotes in a violation: there is no other place
// that has it.
func deniedSubject(err error) string {
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

// denied reports whether NATS refuses, as opposed to not being there.
func denied(err error) bool {
	return err != nil && (errors.Is(err, ErrDenied) || errors.Is(meaningOf(err).is, ErrDenied))
}

// violated is the violation that the connection met last, if it was on subject:
// for what is sent without an answer, once the server has answered for the
// connection as a whole.
func (q *Queue) violated(subject string) error {
	err := q.nc.LastError()
	if err == nil || !errors.Is(err, nats.ErrPermissionViolation) || deniedSubject(err) != subject {
		return nil
	}
	return denial(err, subject, false)
}

// matches reports whether a subject is one of a pattern's, with the wildcards of
// NATS: * for a token, > for the rest. If the subject has wildcards too, all that
// they stand for must be.
func matches(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		if token == ">" {
			return len(s) > i
		}
		if i >= len(s) || s[i] == ">" || token != "*" && token != s[i] {
			return false
		}
	}
	return len(p) == len(s)
}
