package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"drayage/pkg/job"
)

// ErrNoShard is a shard that Config.Shards does not name. Its class is
// job.Permanent.
var ErrNoShard = errors.New("no such shard")

// shards are the clients of the servers of Config.Shards, each opened when it
// is first asked for.
type shards struct {
	names []string // host:port
	cfg   map[string]Config
	mu    sync.Mutex
	open  map[string]*Client
}

// newShards reads the addresses, of which none may be there twice.
func newShards(cfg Config) (*shards, error) {
	s := &shards{cfg: map[string]Config{}, open: map[string]*Client{}}
	for i, url := range cfg.Shards {
		one := cfg
		one.URL, one.Shards = url, nil
		name := fmt.Sprintf("number %d of DRAY_CLICKHOUSE_SHARDS", i+1)
		end, err := one.endpointOf(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(s.names, end.host) {
			return nil, fmt.Errorf("%s is %s, which is there twice", name, end.host)
		}
		s.names = append(s.names, end.host)
		s.cfg[end.host] = one
	}
	return s, nil
}

// Shards are the names of the servers of Config.Shards, host:port, in their
// order.
func (c *Client) Shards() []string { return slices.Clone(c.shards.names) }

// Shard is the client of a server of Config.Shards by its name. It is closed
// with c. The errors are ErrNoShard and those of Open.
func (c *Client) Shard(ctx context.Context, name string) (*Client, error) {
	s := c.shards
	cfg, ok := s.cfg[name]
	if !ok {
		return nil, job.WithClass(fmt.Errorf("shard %s: %w: DRAY_CLICKHOUSE_SHARDS of this process does not have it, and the job was planned with it", name, ErrNoShard), job.Permanent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.open[name]; c != nil {
		return c, nil
	}
	shard, err := Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("shard %s: %w", name, err)
	}
	s.open[name] = shard
	return shard, nil
}

func (s *shards) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range s.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
