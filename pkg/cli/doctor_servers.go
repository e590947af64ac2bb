package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"drayage/pkg/clickhouse"
	"drayage/pkg/local"
	"drayage/pkg/queue"
)

// Bounds of what doctor asks and of what it lets pass.
const (
	askWait     = 3 * time.Second
	maxSkew     = 2 * time.Second // between clocks: job times and leases are told by them
	maxAnswer   = 1 << 20         // bytes of a monitoring answer
	monitorPort = "8222"          // that NATS servers mostly have
)

// checkNATS looks at the NATS that is configured, or at the embedded one.
func (a *app) checkNATS(ctx context.Context) []finding {
	if !a.cfg.Remote() {
		_, end, err := local.OpenQueue(ctx, a.cfg, a.log)
		if err != nil {
			return []finding{broken("NATS", "see that nobody else works in the data folder, and that its disk has room", "%v", err)}
		}
		end()
		return []finding{fine("NATS", "embedded, works, every write is synced")}
	}
	seen, err := queue.Inspect(ctx, a.cfg.Queue)
	switch {
	case errors.Is(err, queue.ErrDenied):
		return []finding{broken("NATS", "correct the credentials: DRAY_NATS_CREDS, DRAY_NATS_NKEY, or those in DRAY_NATS_URL", "%v", err)}
	case err != nil:
		return []finding{broken("NATS", "start NATS "+queue.MinServer+" or newer with JetStream there, or correct DRAY_NATS_URL", "%v", err)}
	}
	all := []finding{fine("NATS", "nats-server %s", seen.Version)}
	if !seen.NewEnough {
		all[0] = broken("NATS", "upgrade it: pauses, per-key times to live and registers of replicas need it", "nats-server %s, and %s or newer is needed", seen.Version, queue.MinServer)
	}
	if !seen.PayloadEnough() {
		all = append(all, broken("NATS max_payload", "set max_payload: 1MB, which is its default", "messages may have %s; records of jobs need 1 MiB", humanize.IBytes(uint64(seen.MaxPayload))))
	}
	if !seen.JetStream {
		return append(all, broken("NATS JetStream", "nats-server -js, or jetstream {store_dir: …} in its configuration, and for the account", "JetStream is off"))
	}
	room := "no bound but the disk's"
	if seen.MaxStore >= 0 {
		room = humanize.IBytes(uint64(seen.MaxStore)) + " at most"
	}
	on := fine("NATS JetStream", "on, %s stored, %s reserved, %s", humanize.IBytes(uint64(seen.Stored)), humanize.IBytes(uint64(seen.Reserved)), room)
	if !seen.Fits(a.cfg.Queue.Replicas) {
		on = broken("NATS JetStream", "raise the account's max_file, or lower the DRAY_…_MAX_BYTES of the streams",
			"%s; the streams reserve %s more on each of %d servers", room, humanize.IBytes(uint64(seen.Lacking)), a.cfg.Queue.Replicas)
	}
	all = append(all, on, a.checkStreams(ctx, seen))
	all = append(all, a.checkMonitor(ctx, seen)...)
	if seen.SkewKnown {
		all = append(all, clockOf("NATS", seen.Skew))
	}
	return all
}

// checkStreams looks at the streams of the fleet and their replicas.
func (a *app) checkStreams(ctx context.Context, seen queue.Inspection) finding {
	const name = "NATS streams"
	if len(seen.Streams) == 0 {
		return warn(name, "start dray coordinator: it sets them up", "there are none yet")
	}
	behind, other := 0, 0
	for _, s := range seen.Streams {
		behind += s.Behind
		if s.Replicas != a.cfg.Queue.Replicas {
			other = s.Replicas
		}
	}
	q, end, err := local.OpenQueue(ctx, a.cfg, a.log)
	if err == nil {
		err = q.Check(ctx)
		end()
	}
	switch {
	case err != nil:
		return broken(name, "start dray coordinator, which sets them up, or do what the message says", "%v", err)
	case behind > 0:
		return warn(name, "see that every server of the cluster runs and reaches the others", "%d replicas are offline or behind", behind)
	case other > 0:
		return warn(name, "set DRAY_NATS_REPLICAS alike everywhere; the coordinators set the streams up by it", "some have %d replicas, and DRAY_NATS_REPLICAS is %d", other, a.cfg.Queue.Replicas)
	}
	return fine(name, "%d, with %d replicas", len(seen.Streams), a.cfg.Queue.Replicas)
}

// checkMonitor asks the server's monitoring whether each write is on the disk
// before it is acknowledged, and whether the streams have room there.
func (a *app) checkMonitor(ctx context.Context, seen queue.Inspection) []finding {
	const name, store = "NATS sync", "NATS max_file_store"
	if a.cfg.Up != nil {
		return []finding{fine(name, "every write, as dray up has it")}
	}
	monitor := os.Getenv("DRAY_NATS_MONITOR")
	if monitor == "" {
		first, _, _ := strings.Cut(a.cfg.Queue.URL, ",")
		if !strings.Contains(first, "://") {
			first = "nats://" + first
		}
		u, err := url.Parse(strings.TrimSpace(first))
		if err != nil || u.Hostname() == "" {
			return []finding{warn(name, "set DRAY_NATS_MONITOR to its monitoring address", "whether every write is synced can not be asked")}
		}
		monitor = "http://" + net.JoinHostPort(u.Hostname(), monitorPort)
	}
	var answer struct {
		Config struct {
			SyncAlways bool          `json:"sync_always"`
			Interval   time.Duration `json:"sync_interval"`
			MaxStore   int64         `json:"max_storage"`
		} `json:"config"`
		Reserved int64 `json:"reserved_storage"`
	}
	if err := askJSON(ctx, strings.TrimSuffix(monitor, "/")+"/jsz", &answer); err != nil {
		return []finding{warn(name, "set DRAY_NATS_MONITOR, such as http://nats:8222, or see that its configuration has jetstream {sync_interval: always}",
			"whether every write is synced can not be asked: %v", err)}
	}
	synced := fine(name, "every write")
	if !answer.Config.SyncAlways {
		synced = warn(name, "set jetstream {sync_interval: always}, or have 3 replicas on machines that do not lose power together",
			"writes are synced every %s: what was acknowledged meanwhile is lost at a power cut", answer.Config.Interval)
	}
	most, left := humanize.IBytes(uint64(answer.Config.MaxStore)), answer.Config.MaxStore-answer.Reserved
	if seen.Lacking > left {
		return []finding{synced, broken(store, "raise jetstream {max_file_store: …}, which without it is three quarters of the free disk, or lower the DRAY_…_MAX_BYTES of the streams",
			"%s, of which %s are not reserved; the streams reserve %s more", most, humanize.IBytes(uint64(max(0, left))), humanize.IBytes(uint64(seen.Lacking)))}
	}
	return []finding{synced, fine(store, "%s, of which %s are not reserved", most, humanize.IBytes(uint64(max(0, left))))}
}

func askJSON(ctx context.Context, address string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return errors.New("the monitoring address is not a URL")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) { // whose text repeats the address, which may hold a password
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}

// clockOf judges how far a server's clock is from ours.
func clockOf(server string, skew time.Duration) finding {
	name := "clock of " + server
	if skew.Abs() > maxSkew {
		return warn(name, "let NTP or chrony set the clocks of both machines", "it is %s off from here: times of jobs and leases are told wrong", skew.Round(time.Millisecond))
	}
	return fine(name, "as here, to %s", max(skew.Abs().Round(time.Millisecond), time.Millisecond))
}

// checkClickHouse looks at the destination and at each of its shards.
func (a *app) checkClickHouse(ctx context.Context) []finding {
	ch, end, err := local.OpenClickHouse(ctx, a.cfg, a.log)
	if err != nil {
		return []finding{broken("ClickHouse", doAbout(err), "%v", err)}
	}
	defer end()
	where := "embedded"
	if a.cfg.ClickHouse.URL != "" {
		where = ch.URLForPeople()
	}
	all := a.checkServer(ctx, "ClickHouse", where, ch)
	for _, name := range ch.Shards() {
		shard, err := ch.Shard(ctx, name)
		if err != nil {
			all = append(all, broken("ClickHouse "+name, "start it, or correct DRAY_CLICKHOUSE_SHARDS", "%v", err))
			continue
		}
		all = append(all, a.checkServer(ctx, "ClickHouse "+name, shard.URLForPeople(), shard)...)
	}
	return all
}

// doAbout says what to do about an error of a connection to ClickHouse.
func doAbout(err error) string {
	switch {
	case errors.Is(err, clickhouse.ErrUnavailable):
		return "start it, or correct DRAY_CLICKHOUSE_URL"
	case errors.Is(err, clickhouse.ErrAuth):
		return "correct DRAY_CLICKHOUSE_USER and DRAY_CLICKHOUSE_PASSWORD, or those in DRAY_CLICKHOUSE_URL"
	case errors.Is(err, clickhouse.ErrVersion):
		return "upgrade it"
	case errors.Is(err, local.ErrInUse):
		return "wait for the other dray, or set DRAY_DATA_DIR to another folder"
	}
	return ""
}

func (a *app) checkServer(ctx context.Context, name, where string, ch *clickhouse.Client) []finding {
	all := []finding{fine(name, "%s, version %s", where, ch.Version())}
	var missing, failed []string
	for _, r := range ch.Rights(ctx) {
		switch {
		case r.Missing():
			missing = append(missing, fmt.Sprintf("%s is not granted, for %s", r.Name, r.For))
		case r.Err != nil:
			failed = append(failed, fmt.Sprintf("%s: %v", r.Name, r.Err))
		}
	}
	switch {
	case len(missing) > 0:
		all = append(all, broken(name+" rights", "GRANT them to the user of DRAY_CLICKHOUSE_URL", "%s", strings.Join(append(missing, failed...), "\n")))
		return all
	case len(failed) > 0:
		all = append(all, broken(name+" rights", "do what the message says; a user with readonly can not load", "%s", strings.Join(failed, "\n")))
		return all
	}
	all = append(all, fine(name+" rights", "everything that dray does was tried in database %s", ch.Database()))
	if err := ch.EnsureLedger(ctx); err != nil {
		all = append(all, broken(name+" ledger", "GRANT CREATE TABLE, INSERT, SELECT, ALTER ON drayage.*", "%v", err))
	} else if without, err := ch.Missing(ctx); err != nil {
		all = append(all, broken(name+" ledger", "GRANT SELECT ON drayage.*", "%v", err))
	} else if len(without) > 0 {
		all = append(all, warn(name+" ledger", "GRANT CREATE TABLE, CREATE VIEW, DROP VIEW ON drayage.*; loading works without them", "what people read of jobs is not all there: %v", without))
	} else {
		all = append(all, fine(name+" ledger", "can be written"))
	}
	switch once, err := ch.Deduplicates(ctx); {
	case err != nil:
		all = append(all, broken(name+" deduplication", "let the user set async_insert, insert_deduplicate and insert_deduplication_token", "%v", err))
	case !once:
		all = append(all, broken(name+" deduplication", "see that no profile or constraint turns insert_deduplicate off", "a block that is sent twice under one token is there twice"))
	default:
		all = append(all, fine(name+" deduplication", "a block that is sent twice is there once"))
	}
	if skew, err := ch.Skew(ctx); err == nil {
		all = append(all, clockOf(name, skew))
	}
	return all
}

// checkAddress sees whether a service could listen on DRAY_HTTP_ADDR.
func (a *app) checkAddress(ctx context.Context) finding {
	const name = "HTTP address"
	addr := a.cfg.HTTPAddr
	if addr == "" || addr == "none" {
		return fine(name, "none, as DRAY_HTTP_ADDR says")
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err == nil {
		l.Close()
		return fine(name, "%s is free", addr)
	}
	var ready struct {
		Ready bool `json:"ready"`
	}
	if askJSON(ctx, "http://"+addr+"/readyz", &ready) == nil && ready.Ready {
		return fine(name, "a dray that is ready answers on %s", addr)
	}
	return broken(name, "end what listens there, or set DRAY_HTTP_ADDR to another address, or to none", "%v", err)
}
