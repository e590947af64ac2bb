package queue_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"drayage/pkg/queue"
)

// Not parallel: it sets the environment.
func TestConfigFromTheEnvironment(t *testing.T) {
	t.Setenv("DRAY_NATS_URL", "")
	c, err := queue.LoadConfig()
	if err != nil {
		t.Fatal(err)
	}
	want := queue.DefaultConfig()
	want.URL = c.URL // set to nothing above
	if !reflect.DeepEqual(c, want) {
		t.Errorf("defaults in the tags and in DefaultConfig differ:\n%+v\n%+v", c, want)
	}
}

func TestConfigNames(t *testing.T) {
	t.Setenv("NATS_URL", "nats://fallback:4222")
	t.Setenv("DRAY_LEASE", "45s")
	t.Setenv("DRAY_WORK_MAX_MSGS", "5")
	t.Setenv("DRAY_NATS_REPLICAS", "3")
	c, err := queue.LoadConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.URL != "nats://fallback:4222" || c.Lease != 45*time.Second || c.WorkMaxMsgs != 5 || c.Replicas != 3 {
		t.Errorf("%+v", c)
	}
	t.Setenv("DRAY_NATS_URL", "nats://ours:4222")
	if c, err = queue.LoadConfig(); err != nil || c.URL != "nats://ours:4222" {
		t.Errorf("%s %v", c.URL, err)
	}
}

func TestValidateNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	c := queue.DefaultConfig()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	c.Replicas, c.Lease, c.Creds, c.NKey, c.Cert, c.WorkMaxBytes, c.WorkerTTL = 2, time.Millisecond, "a", "b", "c", 5, 0
	err := c.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, name := range []string{"DRAY_NATS_REPLICAS", "DRAY_LEASE", "DRAY_NATS_CREDS", "DRAY_NATS_CERT", "DRAY_WORK_MAX_BYTES", "DRAY_WORKER_TTL"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
}
