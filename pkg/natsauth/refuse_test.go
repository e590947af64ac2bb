package natsauth_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"drayage/pkg/job"
	"drayage/pkg/natsauth"
	"drayage/pkg/queue"
)

// raw is a connection with a role's secret and nothing of package queue, as one
// who stole the secret would have it.
func (f *fort) raw(role queue.Role) *nats.Conn {
	f.t.Helper()
	cfg := f.config(role)
	opts := []nats.Option{nats.RootCAs(cfg.CA), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
	var id string
	switch {
	case cfg.NKey != "":
		o, err := nats.NkeyOptionFromSeed(cfg.NKey)
		must(f.t, err)
		opts = append(opts, o)
		id = f.files.ID(role)
	case cfg.Creds != "":
		opts = append(opts, nats.UserCredentials(cfg.Creds))
		id = f.files.ID(role)
	}
	nc, err := nats.Connect(cfg.URL, append(opts, nats.CustomInboxPrefix(queue.InboxPrefix(id)))...)
	must(f.t, err)
	f.t.Cleanup(nc.Close)
	return nc
}

// The requests that only a coordinator may make.
var administration = []string{
	"$JS.API.STREAM.CREATE.MINE", "$JS.API.STREAM.CREATE.DRAY_WORK", "$JS.API.STREAM.UPDATE.DRAY_WORK", "$JS.API.STREAM.DELETE.DRAY_WORK",
	"$JS.API.STREAM.PURGE.DRAY_WORK", "$JS.API.STREAM.PURGE.DRAY_RESULTS", "$JS.API.STREAM.PURGE.KV_dray_jobs", "$JS.API.STREAM.MSG.DELETE.DRAY_RESULTS",
	"$JS.API.STREAM.DELETE.KV_dray_jobs", "$JS.API.STREAM.SNAPSHOT.DRAY_RESULTS", "$JS.API.STREAM.RESTORE.MINE", "$JS.API.STREAM.PEER.REMOVE.DRAY_WORK",
	"$JS.API.STREAM.LEADER.STEPDOWN.DRAY_WORK", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
	"$JS.API.CONSUMER.CREATE.DRAY_WORK", "$JS.API.CONSUMER.CREATE.DRAY_WORK.mine", "$JS.API.CONSUMER.CREATE.KV_dray_jobs.mine.$KV.dray_jobs.>",
	"$JS.API.CONSUMER.CREATE.DRAY_RESULTS.mine.dray.results.>", "$JS.API.CONSUMER.DURABLE.CREATE.DRAY_WORK.mine",
	"$JS.API.CONSUMER.DELETE.DRAY_WORK.job-j", "$JS.API.CONSUMER.PAUSE.DRAY_WORK.job-j", "$JS.API.CONSUMER.NAMES.DRAY_WORK", "$JS.API.CONSUMER.LIST.DRAY_WORK",
	"$JS.API.CONSUMER.MSG.NEXT.DRAY_JOBS.intake", "$JS.API.STREAM.MSG.GET.DRAY_JOBS", "$JS.API.DIRECT.GET.DRAY_JOBS", "$JS.API.ACCOUNT.PURGE.DRAY",
	"$JS.ACK.DRAY_JOBS.intake.1.1.1.1.0", "$JS.FC.DRAY_WORK.x.1", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.DRAY.JSZ", "$SRV.PING",
	"dray.work.j.9", "dray.jobs.other", "$KV.dray_leases.coordinator", "_INBOX.somebody.1",
}

var refused = map[queue.Role]struct{ publish, subscribe []string }{
	queue.RoleWorker: {
		publish: append([]string{
			"dray.jobs.submit", "$KV.dray_jobs.j", "$KV.dray_jobs.other", "$KV.dray_state.watermark.p", "$KV.dray_state.schedule.s",
			"$JS.API.DIRECT.GET.DRAY_WORK", "$JS.API.DIRECT.GET.KV_dray_state", "$JS.API.STREAM.PURGE.DRAY_DEAD",
		}, administration...),
		subscribe: []string{"dray.results.>", "dray.events.>", "$KV.dray_state.>"},
	},
	queue.RoleOperator: {
		publish: append([]string{
			"dray.results.j.0.0", "dray.dead.j.0.0", "dray.events.j.attempt", "$KV.dray_workers.w", "$KV.dray_seats.db.0", "$KV.dray_excused.j.0.0",
			"$JS.API.CONSUMER.MSG.NEXT.DRAY_WORK.job-j", "$JS.ACK.DRAY_WORK.job-j.1.1.1.1.0",
		}, administration...),
	},
	queue.RoleReader: {
		publish: append([]string{
			"dray.jobs.submit", "$KV.dray_jobs.j", "$KV.dray_state.watermark.p", "$JS.API.STREAM.PURGE.DRAY_DEAD",
			"dray.results.j.0.0", "dray.dead.j.0.0", "dray.events.j.attempt", "$KV.dray_workers.w", "$KV.dray_seats.db.0", "$KV.dray_excused.j.0.0",
			"$JS.API.CONSUMER.MSG.NEXT.DRAY_WORK.job-j", "$JS.ACK.DRAY_WORK.job-j.1.1.1.1.0",
		}, administration...),
	},
}

// Whoever has the secret of a role can do with it what the role may, whatever the
// client: no administration, no writing of what is others', no reading of inboxes,
// and no way around that through the subject of an answer.
func TestWhatARoleMayNot(t *testing.T) {
	t.Parallel()
	for _, login := range []natsauth.Login{natsauth.NKey, natsauth.JWT} {
		t.Run(string(login), func(t *testing.T) {
			t.Parallel()
			f := build(t, natsauth.Config{Login: login})
			c := f.connect(queue.RoleCoordinator)
			must(t, c.Ensure(ctx(t)))
			populate(t, c)
			before := f.inventory()
			for role, no := range refused {
				nc := f.raw(role)
				for _, subject := range no.publish {
					must(t, nc.PublishRequest(subject, nc.NewInbox(), nil))
					must(t, nc.Flush())
					if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) || !strings.HasSuffix(err.Error(), `"`+subject+`"`) {
						t.Errorf("%s may publish to %s: %v", role, subject, err)
					}
				}
				others := []string{">", "_INBOX.>", "_INBOX.*.*", "dray.jobs.>", "dray.work.>", "$JS.>", "$SYS.>", "$KV.dray_leases.>"}
				for _, other := range queue.Roles() {
					if other != role {
						others = append(others, queue.InboxPrefix(f.files.ID(other))+".>")
					}
				}
				for _, subject := range append(others, no.subscribe...) {
					sub, err := nc.SubscribeSync(subject)
					must(t, err)
					must(t, nc.Flush())
					if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) || !strings.HasSuffix(err.Error(), `"`+subject+`"`) {
						t.Errorf("%s may subscribe to %s: %v", role, subject, err)
					}
					must(t, sub.Unsubscribe())
				}
				// What may be asked is asked, for the answer to do harm elsewhere.
				for _, elsewhere := range slices.Concat(no.publish, []string{"dray.work.j.7"}) {
					for _, may := range []string{"$JS.API.DIRECT.GET.KV_dray_jobs.$KV.dray_jobs.j", "$JS.API.STREAM.INFO.DRAY_WORK", "$JS.API.INFO"} {
						if strings.HasPrefix(elsewhere, "$JS.ACK.") {
							continue // the server takes no such reply
						}
						must(t, nc.PublishRequest(may, elsewhere, nil))
					}
				}
				must(t, nc.Flush())
				// An answer that does come shows that the others were given too.
				if _, err := nc.Request("$JS.API.DIRECT.GET.KV_dray_jobs.$KV.dray_jobs.j", nil, 5*time.Second); err != nil {
					t.Errorf("%s reads a job record: %v", role, err)
				}
			}
			after := f.inventory()
			for i, line := range before {
				if i >= len(after) || after[i] != line {
					t.Errorf("it was\n%s\nand is\n%s", line, after[min(i, len(after)-1)])
				}
			}
			if len(after) != len(before) {
				t.Errorf("there were %d streams and consumers, and are %d", len(before), len(after))
			}
			d := get(get(f.connect(queue.RoleWorker).Puller(ctx(t), "j"))(t).Next(ctx(t), 10*time.Second))(t)
			must(t, d.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone}))
		})
	}
}

// populate makes something to do harm to.
func populate(t *testing.T, c *queue.Queue) {
	t.Helper()
	cx := ctx(t)
	get(c.CreateJob(cx, job.Job{ID: "j", State: job.Running}))(t)
	must(t, c.OpenJob(cx, "j", queue.JobQueue{}))
	must(t, c.PublishChunk(cx, job.Chunk{Job: "j"}))
	get(c.Submissions(cx))(t)
	must(t, c.Submit(cx, job.Submission{Job: "waits", Pipeline: "pipeline: p"}))
	get(c.PutSchedule(cx, job.Schedule{Name: "s"}, 0))(t)
}

// inventory is what the server says of its streams and consumers.
func (f *fort) inventory() []string {
	f.t.Helper()
	all, err := f.srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Consumer: true, Config: true})
	must(f.t, err)
	var lines []string
	note := func(v ...any) {
		text, err := json.Marshal(v)
		must(f.t, err)
		lines = append(lines, string(text))
	}
	for _, account := range all.AccountDetails {
		for _, s := range account.Streams {
			st := s.State
			note(account.Name, s.Name, s.Config, st.Msgs, st.FirstSeq, st.LastSeq, st.NumDeleted)
			for _, consumer := range s.Consumer {
				note(s.Name, consumer.Config, consumer.NumAckPending)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// What a role may not is said at once, with the subject, and for good: nobody
// waits for an answer that never comes.
func TestARefusalIsAnError(t *testing.T) {
	t.Parallel()
	f := build(t, natsauth.Config{})
	c := f.connect(queue.RoleCoordinator)
	must(t, c.Ensure(ctx(t)))
	populate(t, c)
	w, o, r := f.connect(queue.RoleWorker), f.connect(queue.RoleOperator), f.connect(queue.RoleReader)
	delivery := get(get(w.Puller(ctx(t), "j"))(t).Next(ctx(t), 10*time.Second))(t)
	defer func() { must(t, delivery.Settle(ctx(t), job.Verdict{Kind: job.VerdictDone})) }()
	cx := ctx(t)
	for name, row := range map[string]struct {
		err     func() error
		subject string
	}{
		"worker submits":          {func() error { return w.Submit(cx, job.Submission{}) }, "dray.jobs.submit"},
		"worker writes a job":     {func() error { _, err := w.CreateJob(cx, job.Job{ID: "k"}); return err }, "$KV.dray_jobs.k"},
		"worker deletes a job":    {func() error { return w.DeleteJob(cx, "j") }, "$KV.dray_jobs.j"},
		"worker queues a chunk":   {func() error { return w.PublishChunk(cx, job.Chunk{Job: "j", Ordinal: 9}) }, "dray.work.j.9"},
		"worker opens a job":      {func() error { return w.OpenJob(cx, "j", queue.JobQueue{}) }, "$JS.API.CONSUMER.CREATE.DRAY_WORK.job-j.dray.work.j.>"},
		"worker closes a job":     {func() error { return w.CloseJob(cx, "j") }, "$JS.API.CONSUMER.DELETE.DRAY_WORK.job-j"},
		"worker pauses a job":     {func() error { return w.PauseJob(cx, "j") }, "$JS.API.CONSUMER.PAUSE.DRAY_WORK.job-j"},
		"worker purges results":   {func() error { return w.PurgeResults(cx, "j") }, "$JS.API.STREAM.PURGE.DRAY_RESULTS"},
		"worker leads":            {func() error { _, err := w.Lead(cx, queue.LeadConfig{Name: "x", TTL: time.Second}); return err }, "$JS.API.DIRECT.GET.KV_dray_leases.$KV.dray_leases.x"},
		"worker takes a job in":   {func() error { _, err := w.Submissions(cx); return err }, "$JS.API.CONSUMER.INFO.DRAY_JOBS.intake"},
		"worker reads watermarks": {func() error { _, _, err := w.Watermark(cx, "p"); return err }, "$JS.API.DIRECT.GET.KV_dray_state.$KV.dray_state.watermark.p"},
		"worker follows results":  {func() error { return w.Results(cx, "j", func(job.Result) error { return nil }) }, "dray.results.j.>"},
		"worker makes streams": {func() error {
			cfg := f.config(queue.RoleWorker)
			cfg.WorkMaxMsgs = 7
			q := get(queue.Connect(cx, cfg))(t)
			defer q.Close()
			return q.Ensure(cx)
		}, "$JS.API.STREAM.UPDATE.DRAY_WORK"},
		"operator records":     {func() error { return o.RecordResult(cx, job.Result{Job: "j"}) }, "dray.results.j.0.0"},
		"operator takes work":  {func() error { _, err := get(o.Puller(cx, "j"))(t).Next(cx, time.Second); return err }, "$JS.API.CONSUMER.MSG.NEXT.DRAY_WORK.job-j"},
		"reader submits":       {func() error { return r.Submit(cx, job.Submission{}) }, "dray.jobs.submit"},
		"reader writes a job":  {func() error { _, err := r.EditJob(cx, "j", func(*job.Job) error { return nil }); return err }, "$KV.dray_jobs.j"},
		"reader drops letters": {func() error { return r.DropDead(cx, "j", 0, 0) }, "$JS.API.STREAM.PURGE.DRAY_DEAD"},
		"reader beats":         {func() error { return r.Heartbeat(cx, job.Worker{ID: "w"}) }, "$KV.dray_workers.w"},
		"reader schedules":     {func() error { _, err := r.PutSchedule(cx, job.Schedule{Name: "t"}, 0); return err }, "$KV.dray_state.schedule.t"},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.err()
			if !errors.Is(err, queue.ErrDenied) || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), row.subject) {
				t.Errorf("%v (class %v), wanted a refusal of %s", err, job.ClassOf(err), row.subject)
			}
		})
	}
}

// Who can not log in, or does not trust the server, learns why and what to do.
func TestWhoMayNotConnect(t *testing.T) {
	t.Parallel()
	f := build(t, natsauth.Config{Hosts: []string{"127.0.0.1"}})
	other := build(t, natsauth.Config{})
	creds := build(t, natsauth.Config{Login: natsauth.JWT})
	mine := f.config(queue.RoleWorker)
	for name, row := range map[string]struct {
		change func(*queue.Config)
		is     error
		say    string
	}{
		"no credentials":        {func(c *queue.Config) { c.NKey = "" }, queue.ErrDenied, "DRAY_NATS_NKEY"},
		"another's key":         {func(c *queue.Config) { c.NKey = other.config(queue.RoleWorker).NKey }, queue.ErrDenied, "DRAY_NATS_NKEY"},
		"another's credentials": {func(c *queue.Config) { c.NKey, c.Creds = "", creds.config(queue.RoleWorker).Creds }, queue.ErrDenied, "DRAY_NATS_NKEY"},
		"a wrong password": {func(c *queue.Config) {
			c.NKey, c.User, c.PasswordFile = "", "worker", other.files.Secret(queue.RoleWorker)
		}, queue.ErrDenied, "DRAY_NATS_PASSWORD_FILE"},
		"no CA":           {func(c *queue.Config) { c.CA = "" }, queue.ErrUntrusted, "DRAY_NATS_CA"},
		"the wrong CA":    {func(c *queue.Config) { c.CA = other.config(queue.RoleWorker).CA }, queue.ErrUntrusted, "DRAY_NATS_CA"},
		"another name":    {func(c *queue.Config) { c.URL = strings.Replace(c.URL, "127.0.0.1", "localhost", 1) }, queue.ErrUntrusted, "by a name that the server's certificate has"},
		"others' inboxes": {func(c *queue.Config) { c.InboxPrefix = "_INBOX" }, queue.ErrDenied, "DRAY_NATS_INBOX_PREFIX"},
		"no file":         {func(c *queue.Config) { c.NKey = "/nowhere.nk" }, os.ErrNotExist, "DRAY_NATS_NKEY"},
		"no seed in it":   {func(c *queue.Config) { c.NKey = c.CA }, nil, "holds no seed of a user"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := mine
			row.change(&cfg)
			begin := time.Now()
			q, err := queue.Connect(ctx(t), cfg)
			if err == nil {
				q.Close()
				t.Fatal("connected")
			}
			if row.is != nil && !errors.Is(err, row.is) || job.ClassOf(err) != job.Permanent || !strings.Contains(err.Error(), row.say) {
				t.Errorf("%v (class %v)", err, job.ClassOf(err))
			}
			if took := time.Since(begin); took > 20*time.Second {
				t.Errorf("said after %v", took)
			}
		})
	}
}

func TestACertificateThatHasExpired(t *testing.T) {
	t.Parallel()
	f := build(t, natsauth.Config{})
	f.expire()
	f.reload()
	_, err := queue.Connect(ctx(t), f.config(queue.RoleReader))
	if !errors.Is(err, queue.ErrUntrusted) || !strings.Contains(err.Error(), "new certificate") {
		t.Errorf("%v", err)
	}
	// A new one is made, and clients need nothing new.
	get(natsauth.Renew(filepath.Dir(f.files.CA()), nil, 0))(t)
	f.reload()
	f.connect(queue.RoleReader)
}

// expire puts a certificate into the place of the server's that the same
// authority made, and that is over.
func (f *fort) expire() {
	f.t.Helper()
	dir := filepath.Dir(f.files.CA())
	ca, err := tls.LoadX509KeyPair(f.files.CA(), filepath.Join(dir, "authority/ca.key"))
	must(f.t, err)
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	must(f.t, err)
	old := *own.Leaf
	old.NotBefore, old.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	writeCertificate(f.t, filepath.Join(dir, "server.pem"), &old, ca, own.Leaf.PublicKey)
}
