package queue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// The errors callers decide by, with errors.Is. Each also has a class
// (job.ClassOf): what it means for the chunk that met it.
var (
	// ErrUnavailable: NATS is not there, does not answer, is too old or has no
	// JetStream. The class is job.Retry, but permanent for the latter two.
	ErrUnavailable = errors.New("NATS is not available")
	// ErrNotFound: no such job, result, stream or consumer.
	ErrNotFound = errors.New("not found")
	// ErrExists: somebody wrote this register or key first. What is there
	// stays; read it to learn what it says.
	ErrExists = errors.New("exists already")
	// ErrConflict: the record changed since the revision that was given. Read
	// it again and decide again.
	ErrConflict = errors.New("changed by somebody else meanwhile")
	// ErrFull: a stream, bucket or server limit refuses more. The planner's
	// backpressure: wait until workers have emptied the queue, then repeat.
	ErrFull = errors.New("full")
	// ErrEmpty: nothing to deliver within the time given.
	ErrEmpty = errors.New("nothing to deliver")
	// ErrTooLarge: the record does not fit in a message. Permanent.
	ErrTooLarge = errors.New("too large")
	// ErrInvalid: the argument can never be right (a bad identifier, broken
	// JSON). Permanent.
	ErrInvalid = errors.New("invalid")
	// ErrTopology: a stream or bucket is not as Drayage needs it. Permanent
	// until a person changes something.
	ErrTopology = errors.New("streams are not as needed")
	// ErrDenied: NATS refuses the credentials, or these may not do this; the
	// error then names the subject. Permanent.
	ErrDenied = errors.New("refused by NATS")
	// ErrUntrusted: the connection can not be made safe with the certificates of
	// both sides, or one side wants TLS and the other has none. Permanent.
	ErrUntrusted = errors.New("no safe connection to NATS")
	// ErrSettled: the delivery had its acknowledgement already.
	ErrSettled = errors.New("delivery is settled already")
	// ErrLeadLost: another leads, or NATS could not be told in time that we do.
	// The cancellation cause of Leadership.Context.
	ErrLeadLost = errors.New("lead lost")
	// ErrStop, returned by the function given to Results, Attempts or
	// FollowDead, ends the reading; the call then returns nil.
	ErrStop = errors.New("stop following")
)

// JetStream's error codes as nats-server's errors.json names them, as far as
// nats.go has no constant for them. Never by text: texts change.
const (
	codeAccountResources   jetstream.ErrorCode = 10002 // JSAccountResourcesExceededErr
	codeNotAssigned        jetstream.ErrorCode = 10007 // JSClusterNotAssignedErr
	codeNotAvailable       jetstream.ErrorCode = 10008 // JSClusterNotAvailErr
	codeNotLeader          jetstream.ErrorCode = 10009 // JSClusterNotLeaderErr
	codeInsufficient       jetstream.ErrorCode = 10023 // JSInsufficientResourcesErr
	codeMemoryExceeded     jetstream.ErrorCode = 10028 // JSMemoryResourcesExceededErr
	codeStorageExceeded    jetstream.ErrorCode = 10047 // JSStorageResourcesExceededErr
	codeStreamConfig       jetstream.ErrorCode = 10052 // JSStreamInvalidConfigF
	codeStreamLimits       jetstream.ErrorCode = 10053 // JSStreamLimitsErrF
	codeSubjectOverlap     jetstream.ErrorCode = 10065 // JSStreamSubjectOverlapErr
	codeReplicas           jetstream.ErrorCode = 10074 // JSStreamReplicasNotSupportedErr
	codeStoreFailed        jetstream.ErrorCode = 10077 // JSStreamStoreFailedF
	codeNotUnique          jetstream.ErrorCode = 10100 // JSConsumerWQConsumerNotUniqueErr
	codeLastSeqNotReady    jetstream.ErrorCode = 10163 // JSStreamExpectedLastSeqPerSubjectNotReady
	codeWrongLastSeq                           = jetstream.JSErrCodeStreamWrongLastSequence
	codeWrongLastSeqAtomic                     = jetstream.JSErrCodeStreamWrongLastSequenceConstant
)

type meaning struct {
	is    error
	class job.Class
	// again: the same call may well succeed in a moment.
	again bool
}

// The one table from NATS to us. 10077 is not in it: it says "the store
// refused", for a register that is taken, for a full stream and for a broken
// disk alike; write.go looks at the stream to tell them apart.
var byCode = map[jetstream.ErrorCode]meaning{
	jetstream.JSErrCodeConsumerNotFound:              {ErrNotFound, job.Retry, false},
	jetstream.JSErrCodeConsumerDoesNotExist:          {ErrNotFound, job.Retry, false},
	jetstream.JSErrCodeMessageNotFound:               {ErrNotFound, job.Retry, false},
	jetstream.JSErrCodeStreamNotFound:                {ErrNotFound, job.Retry, false},
	jetstream.JSErrCodeConsumerExists:                {ErrExists, job.Retry, false},
	jetstream.JSErrCodeConsumerAlreadyExists:         {ErrExists, job.Retry, false},
	codeWrongLastSeq:                                 {ErrConflict, job.Retry, false}, // R1
	codeWrongLastSeqAtomic:                           {ErrConflict, job.Retry, false}, // R3
	jetstream.JSErrCodeMaximumConsumersLimit:         {ErrFull, job.Retry, false},
	codeAccountResources:                             {ErrFull, job.Retry, false},
	codeMemoryExceeded:                               {ErrFull, job.Retry, false},
	codeStorageExceeded:                              {ErrFull, job.Retry, false},
	codeInsufficient:                                 {ErrFull, job.Retry, false},
	jetstream.JSErrCodeStreamMessageExceedsMaximum:   {ErrTooLarge, job.Permanent, false},
	jetstream.JSErrCodeStreamNameInUse:               {ErrTopology, job.Permanent, false},
	codeSubjectOverlap:                               {ErrTopology, job.Permanent, false},
	codeStreamConfig:                                 {ErrTopology, job.Permanent, false},
	codeStreamLimits:                                 {ErrTopology, job.Permanent, false},
	codeReplicas:                                     {ErrTopology, job.Permanent, false},
	codeNotUnique:                                    {ErrTopology, job.Permanent, false},
	jetstream.JSErrCodeConsumerCreate:                {ErrTopology, job.Permanent, false},
	jetstream.JSErrCodeBadRequest:                    {ErrInvalid, job.Permanent, false},
	jetstream.JSErrCodeJetStreamNotEnabled:           {ErrUnavailable, job.Permanent, false},
	jetstream.JSErrCodeJetStreamNotEnabledForAccount: {ErrUnavailable, job.Permanent, false},
	codeNotAssigned:                                  {ErrUnavailable, job.Retry, true},
	codeNotAvailable:                                 {ErrUnavailable, job.Retry, true},
	codeNotLeader:                                    {ErrUnavailable, job.Retry, true},
	codeLastSeqNotReady:                              {ErrUnavailable, job.Retry, true},
}

// Errors of the client that have no code.
var bySentinel = []struct {
	err error
	meaning
}{
	{jetstream.ErrMsgNotFound, meaning{ErrNotFound, job.Retry, false}},
	{jetstream.ErrNoStreamResponse, meaning{ErrUnavailable, job.Retry, true}},
	{jetstream.ErrInvalidJSAck, meaning{ErrUnavailable, job.Retry, true}},
	{jetstream.ErrInvalidJetStreamResponse, meaning{ErrUnavailable, job.Retry, true}},
	{errReconnected, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrNoResponders, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrTimeout, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrNoServers, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrDisconnected, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrConnectionReconnecting, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrReconnectBufExceeded, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrStaleConnection, meaning{ErrUnavailable, job.Retry, true}},
	{nats.ErrConnectionDraining, meaning{ErrUnavailable, job.Retry, false}},
	{nats.ErrConnectionClosed, meaning{ErrUnavailable, job.Retry, false}},
	{nats.ErrMaxPayload, meaning{ErrTooLarge, job.Permanent, false}},
	{nats.ErrBadSubject, meaning{ErrInvalid, job.Permanent, false}},
	{nats.ErrAuthorization, meaning{ErrDenied, job.Permanent, false}},
	{nats.ErrAuthExpired, meaning{ErrDenied, job.Permanent, false}},
	{nats.ErrAuthRevoked, meaning{ErrDenied, job.Permanent, false}},
	{nats.ErrPermissionViolation, meaning{ErrDenied, job.Permanent, false}},
	{nats.ErrSecureConnRequired, meaning{ErrUntrusted, job.Permanent, false}},
	{nats.ErrSecureConnWanted, meaning{ErrUntrusted, job.Permanent, false}},
}

// remoteError is the operation of a net.OpError that crypto/tls gives when the
// other side ends the handshake: it did not like our certificate, or our having
// none.
const remoteError = "remote error"

// advice is what to do about a connection that NATS or TLS refused.
func advice(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		op        *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		return "; DRAY_NATS_CA must name the certificate of the authority that signed the server's"
	case errors.As(err, &host):
		return "; connect by a name that the server's certificate has, or make one that has this name too"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "; give the server a new certificate (and look at the clocks of both machines)"
	case errors.As(err, &op) && op.Op == remoteError:
		return "; the server asks for a certificate of this client: DRAY_NATS_CERT and DRAY_NATS_KEY"
	case errors.Is(err, nats.ErrSecureConnWanted):
		return "; the server has no TLS, and DRAY_NATS_CA or a tls:// address asks for it"
	case errors.Is(err, nats.ErrAuthExpired):
		return "; these credentials have expired: put new ones into the file that DRAY_NATS_CREDS names"
	case errors.Is(err, nats.ErrAuthRevoked):
		return "; these credentials were withdrawn: others were made, or the account was removed"
	case errors.Is(err, nats.ErrAuthorization):
		return "; check DRAY_NATS_NKEY, DRAY_NATS_CREDS, or DRAY_NATS_USER and DRAY_NATS_PASSWORD_FILE: a key that was replaced is refused like an unknown one"
	}
	return ""
}

// errReconnected: the connection that was to bring the answer is gone.
var errReconnected = errors.New("reconnected before the answer came")

// notSent are the errors that prove the message never left: repeating it
// repeats nothing.
var notSent = []error{
	nats.ErrReconnectBufExceeded, nats.ErrDisconnected, nats.ErrConnectionClosed,
	nats.ErrConnectionDraining, nats.ErrMaxPayload, nats.ErrBadSubject,
	nats.ErrNoResponders, jetstream.ErrNoStreamResponse,
}

func codeOf(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	var js jetstream.JetStreamError
	if errors.As(err, &js) && js.APIError() != nil {
		return js.APIError().ErrorCode
	}
	return 0
}

func meaningOf(err error) meaning {
	if m, ok := byCode[codeOf(err)]; ok {
		return m
	}
	for _, row := range bySentinel {
		if errors.Is(err, row.err) {
			return row.meaning
		}
	}
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		op          *net.OpError
	)
	switch {
	case errors.As(err, &certificate), errors.As(err, &record), errors.As(err, &op) && op.Op == remoteError:
		return meaning{ErrUntrusted, job.Permanent, false}
	}
	// A deadline of one try, not of the caller: nobody answered.
	if errors.Is(err, context.DeadlineExceeded) {
		return meaning{ErrUnavailable, job.Retry, true}
	}
	return meaning{nil, job.Retry, false}
}

// explain wraps err with what was being done, our sentinel and its class. It
// leaves an error that has a sentinel of ours as it is, but for the prefix.
func explain(what string, err error) error {
	if err == nil {
		return nil
	}
	if ours(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	m := meaningOf(err)
	if m.is == nil {
		return job.WithClass(fmt.Errorf("%s: %w", what, err), m.class)
	}
	return job.WithClass(fmt.Errorf("%s: %w: %w", what, m.is, err), m.class)
}

func ours(err error) bool {
	for _, e := range []error{
		ErrUnavailable, ErrNotFound, ErrExists, ErrConflict, ErrFull, ErrEmpty, ErrTooLarge,
		ErrInvalid, ErrTopology, ErrDenied, ErrUntrusted, ErrSettled, ErrStop, ErrLeadLost,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func wasNotSent(err error) bool {
	for _, e := range notSent {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ended says that ctx (or else the connection) ended while what was being done,
// and what the last try said about it.
func (q *Queue) ended(ctx context.Context, what string, last error) error {
	cause := context.Cause(ctx)
	if cause == nil { // not ctx: the connection was closed for good
		return explain(what, q.closed())
	}
	if last == nil || errors.Is(last, context.Canceled) {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return fmt.Errorf("%s: %w: %w (%w)", what, ErrUnavailable, cause, last)
}

func invalid(format string, args ...any) error {
	return job.WithClass(fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...), job.Permanent)
}
