// Package allow is what pipelines may reach: paths, hosts and names of the
// environment that the operator of a dray allows.
//
// A pipeline that came over the network is a stranger's program with the rights
// of the workers. So a fleet reads for it what its operator has named and
// nothing else, and every read of a name that stands in a pipeline goes through
// Rules: coordinators ask when they freeze a job, workers when they open its
// chunks, whatever the job's record says. No Rules, nil, allow everything but
// the service's own settings: that is dray run on one's own machine.
package allow

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// Config is what the operator allows. Each list is empty by default, and an
// empty one allows nothing.
type Config struct {
	Paths []string `envconfig:"DRAY_ALLOW_PATHS" desc:"files and folders, with all below, that pipelines may read, absolute, with * and ? in place of letters of a name; *: all. Comma-separated"`
	Hosts []string `envconfig:"DRAY_ALLOW_HOSTS" desc:"hosts that pipelines may reach: name, *.domain, address or 10.0.0.0/8, each with :port where only that is meant; *: all but loopback and link-local addresses. Comma-separated"`
	Env   []string `envconfig:"DRAY_ALLOW_ENV" desc:"variables that pipelines may read as ${env:NAME}; a * at the end stands for any more letters. Never DRAY_…. Comma-separated"`
}

// The variables of Config.
const (
	paths = "DRAY_ALLOW_PATHS"
	hosts = "DRAY_ALLOW_HOSTS"
	env   = "DRAY_ALLOW_ENV"
)

// Given reports whether the environment has any of the variables, empty ones too.
func Given() bool {
	return slices.ContainsFunc([]string{paths, hosts, env}, func(name string) bool {
		_, set := os.LookupEnv(name)
		return set
	})
}

// Rules say what pipelines may reach. They do not change, and may be used
// concurrently. A nil *Rules allows everything but what Env and ReadFile name.
//
// What they refuse is a *RefusedError, of class job.Permanent.
type Rules struct {
	paths []pathRule
	hosts []hostRule
	env   []string
	own   []string // paths that the service's own settings name
}

// New makes rules; its error names the variable.
func New(cfg Config) (*Rules, error) {
	r := &Rules{own: ownPaths(os.Environ())}
	for _, text := range cfg.Paths {
		rule, err := newPathRule(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", paths, text, err)
		}
		r.paths = append(r.paths, rule)
	}
	for _, text := range cfg.Hosts {
		rule, err := newHostRule(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", hosts, text, err)
		}
		r.hosts = append(r.hosts, rule)
	}
	for _, text := range cfg.Env {
		name := strings.TrimSpace(text)
		if name == "" || strings.Contains(strings.TrimSuffix(name, wildcard), wildcard) {
			return nil, fmt.Errorf("%s: %q is no name of a variable; a * may stand at its end", env, text)
		}
		r.env = append(r.env, name)
	}
	return r, nil
}

// wildcard stands for anything in a rule.
const wildcard = "*"

// refused makes the error of what the variable does not allow.
func refused(what, variable, why string) error {
	return job.WithClass(&job.RefusedError{What: what, Variable: variable, Why: why}, job.Permanent)
}

// ownPrefixes begin the names of what the service itself is set up with.
var ownPrefixes = []string{"DRAY_", "NATS_", "CLICKHOUSE_"}

// isOwn reports whether a variable sets up the service. Those of the
// ecosystem's that it goes by are NATS_URL and CLICKHOUSE_….
func isOwn(name string) bool {
	return strings.HasPrefix(name, "DRAY_") || name == "NATS_URL" ||
		slices.Contains([]string{"CLICKHOUSE_URL", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "CLICKHOUSE_DATABASE"}, name)
}

// Env reports whether ${env:NAME} may be read. The service's own variables may
// not, whoever allows what: its credentials are among them.
func (r *Rules) Env(name string) error {
	switch {
	case isOwn(name):
		return job.WithClass(&job.RefusedError{What: "the variable " + name, Why: "it is one of the service's own; give what the pipeline needs another name"}, job.Permanent)
	case r == nil:
		return nil
	}
	for _, allowed := range r.env {
		prefix, wild := strings.CutSuffix(allowed, wildcard)
		if allowed == name || wild && strings.HasPrefix(name, prefix) {
			return nil
		}
	}
	return refused("the variable "+name, env, "")
}

// LookupEnv is os.LookupEnv of what may be read.
func (r *Rules) LookupEnv(name string) (value string, set bool, err error) {
	if err := r.Env(name); err != nil {
		return "", false, err
	}
	value, set = os.LookupEnv(name)
	return value, set, nil
}
