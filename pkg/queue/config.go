package queue

import (
	"errors"
	"fmt"
	"time"

	"github.com/kelseyhightower/envconfig"
	"github.com/rs/zerolog"
)

// Config says where NATS is and what the streams may hold. Load fills it from
// the environment; the zero value is not usable, DefaultConfig is.
//
// The limits below are those Ensure asks for, so they matter in coordinators;
// workers and tools take the streams as they find them.
type Config struct {
	// URL of one or several servers, separated by commas. DRAY_NATS_URL, else
	// NATS_URL. Credentials in it are never printed.
	URL string `envconfig:"NATS_URL" default:"nats://127.0.0.1:4222"`
	// Creds is a .creds file (JWT and seed); NKey a file with an NKey seed; User
	// a name, with the password in the file PasswordFile. At most one of the
	// three. The files of Creds and PasswordFile are read again at each
	// connection.
	Creds        string `envconfig:"NATS_CREDS"`
	NKey         string `envconfig:"NATS_NKEY"`
	User         string `envconfig:"NATS_USER"`
	PasswordFile string `envconfig:"NATS_PASSWORD_FILE"`
	// CA is a PEM file to verify the server with, Cert and Key the client's
	// own; Cert and Key come together. With any of them a server without TLS is
	// refused.
	CA   string `envconfig:"NATS_CA"`
	Cert string `envconfig:"NATS_CERT"`
	Key  string `envconfig:"NATS_KEY"`
	// Name is shown by NATS for this connection.
	Name string `envconfig:"NATS_NAME" default:"dray"`
	// InboxPrefix of the reply subjects, without wildcards. The default is that
	// of the function InboxPrefix for the user of Creds, NKey or User, so that a
	// server can keep users out of each other's inboxes, and else _INBOX.
	InboxPrefix string `envconfig:"NATS_INBOX_PREFIX"`
	// Replicas of every stream and bucket, 1 to 5, odd. 3 survives a server.
	Replicas int `envconfig:"NATS_REPLICAS" default:"1"`
	// ConnectTimeout bounds one dial and handshake with one server.
	ConnectTimeout time.Duration `envconfig:"NATS_CONNECT_TIMEOUT" default:"5s"`
	// Timeout bounds one read or administrative call, retries included.
	Timeout time.Duration `envconfig:"NATS_TIMEOUT" default:"10s"`

	// Lease is how long a delivered chunk is its worker's without a sign of
	// progress (the consumers' AckWait), 1s to 1h. Long enough for the longest
	// silence of a healthy attempt, short enough to wait for after a crash.
	Lease time.Duration `default:"30s"`
	// WorkerTTL is how long a worker is listed after its last heartbeat, at
	// least 1s, counted by NATS in whole seconds. Beat at a third of it.
	WorkerTTL time.Duration `split_words:"true" default:"30s"`
	// JobRetention is how long the record of a finished job is kept. The
	// record of an unfinished one is kept for ever.
	JobRetention time.Duration `split_words:"true" default:"720h"`

	// WorkMaxMsgs and WorkMaxBytes bound the queued chunks of all jobs
	// together. At the bound PublishChunk says ErrFull.
	WorkMaxMsgs  int64 `split_words:"true" default:"1000000"`
	WorkMaxBytes int64 `split_words:"true" default:"536870912"`
	// ResultsMaxAge must outlast any job, or it can not be counted complete.
	// ResultsMaxBytes bounds the results of all jobs; at the bound workers
	// wait (ErrFull), nothing is dropped.
	ResultsMaxAge   time.Duration `split_words:"true" default:"720h"`
	ResultsMaxBytes int64         `split_words:"true" default:"1073741824"`
	// DeadMaxAge and DeadMaxBytes bound the dead letters. At MaxBytes new ones
	// are refused (ErrFull) rather than old ones dropped.
	DeadMaxAge   time.Duration `split_words:"true" default:"2160h"`
	DeadMaxBytes int64         `split_words:"true" default:"268435456"`
	// EventsMaxAge and EventsMaxBytes bound the failed attempts kept for
	// watching; the oldest give way.
	EventsMaxAge   time.Duration `split_words:"true" default:"168h"`
	EventsMaxBytes int64         `split_words:"true" default:"67108864"`
	// JobsMaxBytes bounds the records of all jobs, SubmissionsMaxBytes the
	// submissions that no coordinator has taken yet.
	JobsMaxBytes        int64 `split_words:"true" default:"268435456"`
	SubmissionsMaxBytes int64 `split_words:"true" default:"67108864"`

	// Log gets what happens to the connection. The zero Logger is silent.
	Log zerolog.Logger `ignored:"true"`
}

// LoadConfig reads Config from the environment, DRAY_… names, and validates it.
func LoadConfig() (Config, error) {
	var c Config
	if err := envconfig.Process("DRAY", &c); err != nil {
		return Config{}, fmt.Errorf("queue configuration: %w", err)
	}
	return c, c.Validate()
}

// DefaultConfig is the configuration of an empty environment.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		URL: "nats://127.0.0.1:4222", Name: "dray", Replicas: 1,
		ConnectTimeout: 5 * time.Second, Timeout: 10 * time.Second,
		Lease: 30 * time.Second, WorkerTTL: 30 * time.Second, JobRetention: 30 * day,
		WorkMaxMsgs: 1_000_000, WorkMaxBytes: 512 << 20,
		ResultsMaxAge: 30 * day, ResultsMaxBytes: 1 << 30,
		DeadMaxAge: 90 * day, DeadMaxBytes: 256 << 20,
		EventsMaxAge: 7 * day, EventsMaxBytes: 64 << 20,
		JobsMaxBytes: 256 << 20, SubmissionsMaxBytes: 64 << 20,
	}
}

// Validate says everything that is wrong with the configuration, at once.
func (c Config) Validate() error {
	var errs []error
	bad := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{name}, args...)...))
	}
	if c.Replicas < 1 || c.Replicas > 5 || c.Replicas%2 == 0 {
		bad("DRAY_NATS_REPLICAS", "is %d, must be 1, 3 or 5", c.Replicas)
	}
	logins := 0
	for _, login := range []string{c.Creds, c.NKey, c.User} {
		if login != "" {
			logins++
		}
	}
	if logins > 1 {
		bad("DRAY_NATS_CREDS", "DRAY_NATS_NKEY and DRAY_NATS_USER exclude each other")
	}
	if (c.User == "") != (c.PasswordFile == "") {
		bad("DRAY_NATS_USER", "and DRAY_NATS_PASSWORD_FILE are needed together")
	}
	if (c.Cert == "") != (c.Key == "") {
		bad("DRAY_NATS_CERT", "and DRAY_NATS_KEY are needed together")
	}
	for name, d := range map[string]time.Duration{
		"DRAY_NATS_CONNECT_TIMEOUT": c.ConnectTimeout, "DRAY_NATS_TIMEOUT": c.Timeout,
	} {
		if d < 10*time.Millisecond || d > 10*time.Minute {
			bad(name, "is %v, must be between 10ms and 10m", d)
		}
	}
	if c.Lease < time.Second || c.Lease > time.Hour {
		bad("DRAY_LEASE", "is %v, must be between 1s and 1h", c.Lease)
	}
	if c.WorkerTTL < time.Second || c.WorkerTTL > time.Hour {
		bad("DRAY_WORKER_TTL", "is %v, must be between 1s and 1h", c.WorkerTTL)
	}
	for name, d := range map[string]time.Duration{
		"DRAY_JOB_RETENTION": c.JobRetention, "DRAY_RESULTS_MAX_AGE": c.ResultsMaxAge,
		"DRAY_DEAD_MAX_AGE": c.DeadMaxAge, "DRAY_EVENTS_MAX_AGE": c.EventsMaxAge,
	} {
		if d < time.Minute {
			bad(name, "is %v, must be at least 1m", d)
		}
	}
	if c.ResultsMaxAge < 10*c.Lease {
		bad("DRAY_RESULTS_MAX_AGE", "is %v, which no job with a lease of %v could outlast", c.ResultsMaxAge, c.Lease)
	}
	for name, n := range map[string]int64{
		"DRAY_WORK_MAX_BYTES": c.WorkMaxBytes, "DRAY_RESULTS_MAX_BYTES": c.ResultsMaxBytes,
		"DRAY_DEAD_MAX_BYTES": c.DeadMaxBytes, "DRAY_EVENTS_MAX_BYTES": c.EventsMaxBytes,
		"DRAY_JOBS_MAX_BYTES": c.JobsMaxBytes, "DRAY_SUBMISSIONS_MAX_BYTES": c.SubmissionsMaxBytes,
	} {
		if n < 1<<20 {
			bad(name, "is %d, must be at least 1048576 bytes", n)
		}
	}
	if c.WorkMaxMsgs < 1 {
		bad("DRAY_WORK_MAX_MSGS", "is %d, must be at least 1", c.WorkMaxMsgs)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("queue configuration: %w", err)
	}
	return nil
}
