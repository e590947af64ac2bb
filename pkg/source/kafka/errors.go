package kafka

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// The errors of this package, what they are for a chunk, and why. Each names
// the topic, and none a password.
//
//	what happened                                        class      errors.Is
//	---------------------------------------------------  ---------  -----------
//	the user is not known or may not read                Permanent  kerr's
//	the certificate of a broker is not trusted           Permanent
//	there is no such topic, when planned                 Permanent  ErrGone
//	the topic was deleted, or made anew (its ID)         Permanent  ErrGone, ErrChanged
//	offsets of the range fell behind the begin of the    Permanent  ErrGone
//	 log: retention or an administrator removed them
//	the log is shorter than it was planned               Permanent  ErrChanged
//	a cursor, a state or a chunk does not parse          Permanent
//	too many partitions for a cursor                     Permanent
//	a throttled or overloaded broker (quota)             SlowDown   kerr's
//	no leader, a leader that moved, a broker that        Retry      kerr's
//	 starts, is not reachable or cuts the connection
//	anything else                                        Retry

// final are the codes that another attempt meets as well.
var final = []error{
	kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState,
	kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.GroupAuthorizationFailed,
	kerr.InvalidTopicException, kerr.UnsupportedVersion,
}

// classify marks an error of the client, and says what was being done.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", doing, err)
	switch {
	case source.Untrusted(err), slices.ContainsFunc(final, func(code error) bool { return errors.Is(err, code) }):
		return job.WithClass(wrapped, job.Permanent)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return job.Permanentf("%s: %w: %w", doing, source.ErrGone, err)
	case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID):
		return job.Permanentf("%s: %w: the topic was made anew: start a new job with --full: %w", doing, source.ErrChanged, err)
	case errors.Is(err, kerr.ThrottlingQuotaExceeded):
		return job.WithClass(wrapped, job.SlowDown)
	}
	return job.WithClass(wrapped, job.Retry)
}

// lost is the error of offsets that are not in the log any more.
func (s *Source) lost(partition int32, from, to int64) error {
	return job.Permanentf("topic %s, partition %d: %w: the offsets %d to %d are not in the log any more: retention or an administrator removed them; start again from what is there with --full, and let the topic keep messages longer than the time between two jobs",
		s.cfg.Topic, partition, source.ErrGone, from, to-1)
}

// shorter is the error of a log that ends before the offsets that it had.
func (s *Source) shorter(partition int32, end, want int64) error {
	return job.Permanentf("topic %s, partition %d: %w: it ends at the offset %d, and had messages up to %d: the broker lost them; start again with --full",
		s.cfg.Topic, partition, source.ErrChanged, end, want)
}
