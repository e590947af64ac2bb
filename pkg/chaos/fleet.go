package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"drayage/pkg/clickhouse"
	"drayage/pkg/queue"
)

// Roles of the members of a fleet.
const (
	worker      = "worker"
	coordinator = "coordinator"
)

// member is a coordinator or a worker, with its own way to everything else.
type member struct {
	*process
	role string
	nats []*wire // to each NATS server
	gate *gate   // to ClickHouse
	http *wire   // to the gate

	other []string // command line of the other version; nil: there is one
}

// change lets the member be the other version when it starts next, where there is
// one. It must be held down.
func (m *member) change() bool {
	if m.other == nil {
		return false
	}
	m.other = m.become(m.other)
	return true
}

// node is a NATS server.
type node struct {
	*process
	nodeConfig
}

// shard is a ClickHouse of sharded targets. All members reach it through one gate
// and one wire, for its address is its name.
type shard struct {
	*process
	port int
	sql  *clickhouse.Client // the suite's own connection
	gate *gate
	wire *wire
}

// fleet is all processes and what lies between them.
type fleet struct {
	cfg        Config
	launcher   *launcher
	nodes      []*node
	routes     map[[2]int]*wire // from server, to server
	clickhouse *process
	port       int // ClickHouse's
	shards     []*shard
	members    []*member
	tokens     *tokens

	// The suite's own connections, which no fault touches.
	queue *queue.Queue
	sql   *clickhouse.Client
}

// startTimeout bounds each wait for a part of the fleet to be there.
const startTimeout = 3 * time.Minute

// newFleet starts everything and returns when jobs can be submitted.
func newFleet(ctx context.Context, cfg Config) (_ *fleet, err error) {
	f := &fleet{cfg: cfg, launcher: newLauncher(), routes: map[[2]int]*wire{}, tokens: newTokens()}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	// The input before the engines start: they can read what was there then.
	for _, dir := range []string{"logs", "data", "work", "input"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if err := f.startNATS(); err != nil {
		return nil, fmt.Errorf("starting NATS: %w", err)
	}
	if f.clickhouse, f.port, err = f.startClickHouse("clickhouse"); err != nil {
		return nil, fmt.Errorf("starting ClickHouse: %w", err)
	}
	for i := range cfg.Shards {
		if err := f.startShard(fmt.Sprint("shard-", i)); err != nil {
			return nil, fmt.Errorf("starting a shard: %w", err)
		}
	}
	for _, part := range []struct {
		what string
		ok   func(context.Context) error
	}{
		{"NATS forms a cluster", f.natsHealthy},
		{"ClickHouse answers", func(ctx context.Context) (err error) {
			if f.sql, err = connect(ctx, f.port); err != nil {
				return err
			}
			for _, s := range f.shards {
				if s.sql != nil {
					continue
				}
				if s.sql, err = connect(ctx, s.port); err != nil {
					return err
				}
			}
			return nil
		}},
		{"NATS answers", func(ctx context.Context) (err error) {
			f.queue, err = queue.Connect(ctx, f.queueConfig())
			return err
		}},
	} {
		if err := eventually(ctx, startTimeout, part.what, part.ok); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Coordinators {
		if err := f.startMember(coordinator, i); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Workers {
		if err := f.startMember(worker, i); err != nil {
			return nil, err
		}
	}
	return f, eventually(ctx, startTimeout, "a coordinator has made the streams", f.queue.Check)
}

func (f *fleet) logs() string { return filepath.Join(f.cfg.Dir, "logs") }

// startNATS starts three servers whose routes go through wires.
func (f *fleet) startNATS() error {
	const servers = 3
	var configs []nodeConfig
	for i := range servers {
		ports, err := freePorts(3)
		if err != nil {
			return err
		}
		name := fmt.Sprint("nats-", i)
		configs = append(configs, nodeConfig{
			Name: name, Store: filepath.Join(f.cfg.Dir, "data", name),
			Client: ports[0], Route: ports[1], HTTP: ports[2],
		})
	}
	for i := range configs {
		for j := range configs {
			if i == j {
				continue
			}
			w, err := newWire(local(configs[j].Route))
			if err != nil {
				return err
			}
			f.routes[[2]int{i, j}] = w
			configs[i].Routes = append(configs[i].Routes, "nats://"+w.address())
		}
	}
	for _, c := range configs {
		argv, err := nodeCommand(f.cfg.NATS, c)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, &node{newProcess(f.launcher, f.logs(), c.Name, argv, environment()), c})
	}
	return nil
}

func (f *fleet) startClickHouse(name string) (*process, int, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, 0, err
	}
	port := ports[0]
	argv := append(append([]string{}, f.cfg.Dray...), "engine", "--listen", local(port), "--path", filepath.Join(f.cfg.Dir, "data", name))
	env := environment("DRAY_ENGINE_MAX_MEMORY="+strconv.Itoa(4<<30), "DRAY_LOG_FORMAT=json", "DRAY_LOG_LEVEL=info")
	return newProcess(f.launcher, f.logs(), name, argv, env), port, nil
}

func (f *fleet) startShard(name string) (err error) {
	s := &shard{}
	f.shards = append(f.shards, s) // so that close finds what was made
	if s.process, s.port, err = f.startClickHouse(name); err != nil {
		return err
	}
	if s.gate, err = newGate(local(s.port), f.tokens); err != nil {
		return err
	}
	s.wire, err = newWire(s.gate.address())
	return err
}

// connect opens a connection of the suite's own.
func connect(ctx context.Context, port int) (*clickhouse.Client, error) {
	return clickhouse.Open(ctx, clickhouse.Config{URL: "http://" + local(port), ReadTimeout: time.Minute})
}

// shardURLs is DRAY_CLICKHOUSE_SHARDS of everybody.
func (f *fleet) shardURLs() string {
	var urls []string
	for _, s := range f.shards {
		urls = append(urls, "http://"+s.wire.address()+"/"+database)
	}
	return strings.Join(urls, ",")
}

// holders are the servers that hold the rows of a job, in the order of its shards.
func (f *fleet) holders(s spec) []*clickhouse.Client {
	if s.shards == 0 {
		return []*clickhouse.Client{f.sql}
	}
	var all []*clickhouse.Client
	for _, shard := range f.shards {
		all = append(all, shard.sql)
	}
	return all
}

func (f *fleet) startMember(role string, n int) error {
	m := &member{role: role}
	f.members = append(f.members, m) // so that close finds what was made
	var urls []string
	for _, node := range f.nodes {
		w, err := newWire(local(node.Client))
		if err != nil {
			return err
		}
		m.nats = append(m.nats, w)
		urls = append(urls, "nats://"+w.address())
	}
	// Members start at different servers.
	urls = append(urls[n%len(urls):], urls[:n%len(urls)]...)
	var err error
	if m.gate, err = newGate(local(f.port), f.tokens); err != nil {
		return err
	}
	if m.http, err = newWire(m.gate.address()); err != nil {
		return err
	}
	name := fmt.Sprint(role, "-", n)
	env := environment(
		"DRAY_NATS_URL="+strings.Join(urls, ","), "DRAY_NATS_REPLICAS=3", "DRAY_NATS_NAME="+name,
		"DRAY_CLICKHOUSE_URL=http://"+m.http.address()+"/"+database, "DRAY_CLICKHOUSE_SHARDS="+f.shardURLs(),
		// An answer that was lost on the way must be given up some day.
		"DRAY_CLICKHOUSE_READ_TIMEOUT=20s", "DRAY_CLICKHOUSE_DIAL_TIMEOUT=2s", "DRAY_NATS_CONNECT_TIMEOUT=2s",
		"DRAY_LEASE="+f.cfg.Lease.String(), "DRAY_WORKER_TTL=10s", "DRAY_GRACE=10s", "DRAY_LEAD_TTL=3s",
		"DRAY_HEDGE_AFTER="+(f.cfg.Lease*3/2).String(), "DRAY_CHUNK_TIMEOUT=15s",
		"DRAY_SLOTS="+strconv.Itoa(f.cfg.Slots), "DRAY_ENGINE_THREADS=1", "DRAY_ENGINE_MEMORY="+strconv.Itoa(1<<30),
		"DRAY_ACCOUNT_EVERY=200ms", "DRAY_PLAN_WINDOW=1000", "DRAY_WORK_MAX_MSGS="+strconv.Itoa(workMessages),
		"DRAY_WORK_MAX_BYTES="+strconv.Itoa(64<<20), "DRAY_RESULTS_MAX_BYTES="+strconv.Itoa(256<<20),
		"DRAY_DEAD_MAX_BYTES="+strconv.Itoa(64<<20),
		"DRAY_HTTP_ADDR=none", "DRAY_LOG_FORMAT=json", "DRAY_LOG_LEVEL=debug",
		"DRAY_DATA_DIR="+filepath.Join(f.cfg.Dir, "data", name), "DRAY_WORK_DIR="+filepath.Join(f.cfg.Dir, "work"),
		"DRAY_ALLOW_PATHS="+filepath.Join(f.cfg.Dir, "input"),
	)
	switch {
	case f.cfg.Break:
		env = append(env, "DRAY_FAULT=worker.token=skip;worker.found=skip;coordinator.verify=skip")
	case f.cfg.AllLead && role == coordinator:
		env = append(env, "DRAY_FAULT=coordinator.lead=skip")
	}
	argv := append(append([]string{}, f.cfg.Dray...), role)
	if len(f.cfg.Older) > 0 {
		m.other = append(append([]string{}, f.cfg.Older...), role)
		if n > 0 || role == worker { // a newer coordinator makes the newer streams
			argv, m.other = m.other, argv
		}
	}
	m.process = newProcess(f.launcher, f.logs(), name, argv, append(env, f.cfg.Env...))
	return nil
}

// workMessages is DRAY_WORK_MAX_MSGS: a few jobs' chunks fit, and no more.
const workMessages = 150

// environment is the suite's, without what is meant for another dray.
func environment(add ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		ours := strings.HasPrefix(name, "DRAY_") && name != "DRAY_LIBCHDB" || strings.HasPrefix(name, "CLICKHOUSE_") || name == "NATS_URL"
		if !ours {
			env = append(env, kv)
		}
	}
	return append(env, add...)
}

func (f *fleet) url() string { return "http://" + local(f.port) }

func (f *fleet) queueConfig() queue.Config {
	c := queue.DefaultConfig()
	c.URL, c.Name, c.Replicas, c.Lease = f.natsURLs(), "chaos", 3, f.cfg.Lease
	return c
}

func (f *fleet) natsURLs() string {
	var urls []string
	for _, n := range f.nodes {
		urls = append(urls, "nats://"+local(n.Client))
	}
	return strings.Join(urls, ",")
}

func (f *fleet) httpPorts() []int {
	var ports []int
	for _, n := range f.nodes {
		ports = append(ports, n.HTTP)
	}
	return ports
}

func (f *fleet) natsHealthy(ctx context.Context) error {
	for _, n := range f.nodes {
		if err := monitor(ctx, n.HTTP, "/healthz", nil); err != nil {
			return err
		}
	}
	return nil
}

// of are the members of a role.
func (f *fleet) of(role string) []*member {
	var out []*member
	for _, m := range f.members {
		if m.role == role {
			out = append(out, m)
		}
	}
	return out
}

func (f *fleet) processes() []*process {
	var all []*process
	for _, n := range f.nodes {
		all = append(all, n.process)
	}
	if f.clickhouse != nil {
		all = append(all, f.clickhouse)
	}
	for _, s := range f.shards {
		if s.process != nil {
			all = append(all, s.process)
		}
	}
	for _, m := range f.members {
		if m.process != nil {
			all = append(all, m.process)
		}
	}
	return all
}

// heal ends whatever is still broken.
func (f *fleet) heal() {
	for _, w := range f.routes {
		w.heal()
	}
	for _, s := range f.shards {
		s.wire.heal()
	}
	for _, m := range f.members {
		for _, w := range m.nats {
			w.heal()
		}
		m.http.heal()
		m.gate.play(honest, 0)
	}
	for _, p := range f.processes() {
		for _, child := range children(p.pid()) {
			_ = syscall.Kill(child, syscall.SIGCONT)
		}
		p.signal(syscall.SIGCONT)
		p.up()
	}
}

// close ends every process and everything between them.
func (f *fleet) close() {
	if f.queue != nil {
		f.queue.Close()
	}
	if f.sql != nil {
		f.sql.Close()
	}
	for _, s := range f.shards {
		if s.sql != nil {
			s.sql.Close()
		}
	}
	for _, p := range f.processes() {
		p.close()
	}
	for _, w := range f.routes {
		w.close()
	}
	for _, s := range f.shards {
		if s.wire != nil {
			s.wire.close()
		}
		if s.gate != nil {
			s.gate.close()
		}
	}
	for _, m := range f.members {
		for _, w := range m.nats {
			w.close()
		}
		if m.http != nil {
			m.http.close()
		}
		if m.gate != nil {
			m.gate.close()
		}
	}
	f.launcher.close()
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// freePorts finds ports outside of the range from which the system takes those
// of outgoing connections: a server that was killed must find its own again.
func freePorts(n int) ([]int, error) {
	var ports []int
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range 1000 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", local(port))
		if err != nil {
			continue
		}
		held, ports = append(held, l), append(ports, port)
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("no port is free")
}

// eventually tries until there is no error.
func eventually(ctx context.Context, patience time.Duration, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
