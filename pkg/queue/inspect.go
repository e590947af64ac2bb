package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"drayage/pkg/job"
)

// MinServer is the oldest nats-server that has all we use.
const MinServer = "2.14"

// Inspection is what a NATS says of itself, whether or not Drayage can use it.
type Inspection struct {
	Version    string // of the server that answered
	NewEnough  bool   // at least MinServer
	JetStream  bool   // this account has it; what follows is not known without
	MaxPayload int64  // bytes of a message
	// MaxStore are the bytes that the account's streams may have on disk, -1
	// without a bound, Stored those they have, and Reserved those that NATS keeps
	// free for them.
	MaxStore, Stored, Reserved int64
	// Lacking are the bytes that Ensure has NATS reserve, on each server with a
	// replica, beside what is reserved.
	Lacking int64
	Streams []InspectedStream // those of the fleet that there are
	// Skew is how much the server's clock is ahead of ours, to about the time of an
	// answer; it is known only when there is a stream.
	Skew      time.Duration
	SkewKnown bool
}

// InspectedStream is a stream of the fleet.
type InspectedStream struct {
	Name     string
	Replicas int
	Behind   int // replicas that are offline or have not caught up
}

// minPayload is the least that max_payload may be: what the largest record of a
// job takes.
const minPayload = 1 << 20

// PayloadEnough reports whether every record of ours fits into a message.
func (i Inspection) PayloadEnough() bool { return i.MaxPayload >= minPayload }

// Fits reports whether the account may reserve what is lacking, for so many
// replicas.
func (i Inspection) Fits(replicas int) bool {
	return i.MaxStore < 0 || i.Lacking == 0 || (i.Reserved+i.Lacking)*int64(replicas) <= i.MaxStore
}

// Inspect asks the NATS of cfg what it is, also one that Connect refuses. The
// errors are those of Connect for one that is not there or refuses the user.
func Inspect(ctx context.Context, cfg Config) (Inspection, error) {
	var found Inspection
	opts, inboxes, err := cfg.login()
	if err != nil {
		return found, err
	}
	if inboxes != "" {
		opts = append(opts, nats.CustomInboxPrefix(inboxes))
	}
	what := "connect to NATS " + redact(cfg.URL)
	nc, err := dial(ctx, cfg.URL, append(opts, nats.Name(cfg.Name), nats.Timeout(cfg.ConnectTimeout)))
	if err != nil {
		m := meaningOf(err)
		if m.is == nil {
			m = meaning{ErrUnavailable, job.Retry, true}
		}
		return found, job.WithClass(fmt.Errorf("%s: %w: %w", what, m.is, err), m.class)
	}
	defer nc.Close()
	found.Version, found.MaxPayload = nc.ConnectedServerVersion(), nc.MaxPayload()
	found.NewEnough = newEnough(found.Version)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(tryTimeout))
	if err != nil {
		return found, explain(what, err)
	}
	account, err := js.AccountInfo(ctx)
	switch code := codeOf(err); {
	case code == jetstream.JSErrCodeJetStreamNotEnabled, code == jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return found, nil
	case err != nil:
		return found, explain("JetStream", err)
	}
	found.JetStream, found.MaxStore = true, account.Limits.MaxStore
	found.Stored, found.Reserved = int64(account.Store), int64(account.ReservedStore) //nolint:gosec // below 2^63
	for _, want := range cfg.topology() {
		asked := time.Now()
		s, err := js.Stream(ctx, want.Name)
		if codeOf(err) == jetstream.JSErrCodeStreamNotFound {
			found.Lacking += max(0, want.MaxBytes)
			continue
		}
		if err != nil {
			return found, explain("look at stream "+want.Name, err)
		}
		info := s.CachedInfo()
		found.Lacking += max(0, want.MaxBytes-max(0, info.Config.MaxBytes))
		stream := InspectedStream{Name: want.Name, Replicas: info.Config.Replicas}
		if info.Cluster != nil {
			for _, r := range info.Cluster.Replicas {
				if r.Offline || !r.Current {
					stream.Behind++
				}
			}
		}
		found.Streams = append(found.Streams, stream)
		if !info.TimeStamp.IsZero() {
			found.Skew, found.SkewKnown = info.TimeStamp.Sub(asked.Add(time.Since(asked)/2)), true
		}
	}
	return found, nil
}
