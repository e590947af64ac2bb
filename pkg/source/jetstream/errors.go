package jetstream

import (
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package, what they are for a chunk, and why. Each names
// the stream, and none a password.
//
//	what happened                                        class      errors.Is
//	---------------------------------------------------  ---------  -----------
//	the user is not known, or may not do what is needed  Permanent  nats.go's
//	the certificate of the server is not trusted         Permanent
//	a file of credentials or certificates is not there,  Permanent  fs.ErrNotExist
//	 or is none
//	the account has no JetStream                         Permanent  nats.go's
//	there is no such stream                              Permanent  ErrGone
//	the stream was deleted and made anew (its time)      Permanent  ErrChanged
//	the range begins before the stream: its limits or    Permanent  ErrGone
//	 an administrator removed messages
//	the stream ends before the range does                Permanent  ErrChanged
//	acknowledged messages leave the stream: not limits   Permanent
//	 but another retention
//	a cursor, a state or a chunk does not parse          Permanent
//	the stream has as many consumers as it may           SlowDown   nats.go's
//	no server, no leader, a cut connection, a timeout    Retry      nats.go's
//	anything else                                        Retry

// final are errors that another attempt meets as well.
var final = []error{
	nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	nats.ErrPermissionViolation, nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported,
	jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount, jetstream.ErrMaxBytesExceeded,
}

// classify marks an error of the client, and says what was being done.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	switch {
	case source.Untrusted(err), slices.ContainsFunc(final, func(f error) bool { return errors.Is(err, f) }):
		return job.WithClass(wrapped, job.Permanent)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return job.Permanentf("%s: %w: there is no such stream: check stream, url and the account: %w", doing, source.ErrGone, err)
	case errors.Is(err, jetstream.ErrMaximumConsumersLimit):
		return job.WithClass(wrapped, job.SlowDown)
	}
	return job.WithClass(wrapped, job.Retry)
}

// lost is the error of sequence numbers that are not in the stream any more.
func (s *Source) lost(from, to int64) error {
	return job.Permanentf("stream %s: %w: the messages %d to %d are not in the stream any more: its limits or an administrator removed them; start again from what is there with --full, and let the stream keep messages longer than the time between two jobs",
		s.cfg.Stream, source.ErrGone, from, to-1)
}

// shorter is the error of a stream that ends before the messages that it had.
func (s *Source) shorter(end, want int64) error {
	return job.Permanentf("stream %s: %w: its next message is %d, and it had messages up to %d: the server lost them; start again with --full",
		s.cfg.Stream, source.ErrChanged, end, want-1)
}
