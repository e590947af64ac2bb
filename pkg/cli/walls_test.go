package cli_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The walls between the packages: what each may import of the project.
// docs/architecture.md has the reasons.
var walls = map[string][]string{
	"pkg/job":                          {},
	"pkg/allow":                        {"pkg/job"},
	"pkg/version":                      {},
	"pkg/telemetry":                    {},
	"pkg/telemetry/trace":              {"pkg/job"},
	"pkg/telemetry/metrics":            {"pkg/job"},
	"pkg/pipeline":                     {"pkg/job"},
	"pkg/engine":                       {"pkg/job"},
	"pkg/clickhouse":                   {"pkg/job", "pkg/native"},
	"pkg/native":                       {},
	"pkg/queue":                        {"pkg/job"},
	"pkg/natsauth":                     {"pkg/queue"},
	"pkg/source":                       {"pkg/allow", "pkg/job"},
	"pkg/source/files":                 {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/borders":         {"pkg/job", "pkg/source"},
	"pkg/source/files/rowgroups":       {"pkg/job", "pkg/source"},
	"pkg/source/files/store":           {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/stores":          {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/store/web":       {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/store/azure":     {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/store/gcs":       {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/store/s3":        {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/files/store/storetest": {"pkg/job", "pkg/source"},
	"pkg/source/jetstream":             {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/kafka":                 {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/keyed":                 {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/keyed/keyedtest":       {"pkg/engine", "pkg/job", "pkg/source", "pkg/testkit"},
	"pkg/source/messages":              {"pkg/job", "pkg/source"},
	"pkg/source/messages/messagestest": {"pkg/job", "pkg/source"},
	"pkg/source/mysql":                 {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/postgres":              {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/relation":              {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/replay":                {"pkg/job", "pkg/source", "pkg/stage"},
	"pkg/source/sourcetest":            {"pkg/engine", "pkg/job", "pkg/source", "pkg/transform"},
	"pkg/source/rest":                  {"pkg/allow", "pkg/job", "pkg/source"},
	"pkg/source/clickhouse":            {"pkg/allow", "pkg/clickhouse", "pkg/job", "pkg/source"},
	"pkg/source/kinds":                 {"pkg/allow", "pkg/job", "pkg/pipeline", "pkg/source"},
	"pkg/stage":                        {"pkg/job"},
	"pkg/stage/chain":                  {"pkg/pipeline", "pkg/stage"},
	"pkg/stage/stagetest":              {"pkg/job", "pkg/stage"},
	"pkg/transform":                    {"pkg/allow", "pkg/job", "pkg/engine", "pkg/pipeline"},
	"pkg/quarantine":                   {"pkg/job", "pkg/engine", "pkg/pipeline", "pkg/source", "pkg/transform"},
	"pkg/fault":                        {},
	"pkg/chaos":                        {"pkg/clickhouse", "pkg/job", "pkg/queue"},
	"pkg/testkit":                      {"pkg/engine"},
	"pkg/testkit/fleet":                {"coordinator", "pkg/job", "pkg/local", "pkg/testkit"},
	"pkg/testkit/mysqltest":            {"pkg/testkit/server"},
	"pkg/testkit/nativefront":          {"pkg/engine", "pkg/native"},
	"pkg/testkit/pgtest":               {"pkg/testkit/server"},
	"pkg/testkit/server":               {},
	"pkg/testkit/azuretest":            {},
	"pkg/testkit/gcstest":              {},
	"pkg/testkit/s3test":               {},
	"coordinator":                      {"pkg"},
	"coordinator/api":                  {"coordinator", "pkg"},
	"coordinator/api/guard":            {},
	"coordinator/web":                  {"coordinator", "pkg"},
	"worker":                           {"pkg"},
	"pkg/local":                        {"coordinator", "worker", "pkg"},
	"pkg/cli":                          {"coordinator", "worker", "pkg"},
	"":                                 {"pkg/cli"},
	"pipelines/stages":                 {"pkg/job", "pkg/stage"},
	"pipelines/fixedwidth":             {"pkg/job", "pkg/source"},
	"pipelines/dray":                   {"pipelines", "pkg/cli", "pkg/source"},
	"scripts/bench":                    {},
	"scripts/chaos":                    {"pkg/chaos"},
	"scripts/kubernetes":               {},
}

// Modules that few packages may import. The chaos suite runs the servers of a
// cluster; the source reads a stream of the user's, and nothing of the fleet's.
var owners = map[string][]string{
	"github.com/nats-io/nats.go":          {"pkg/queue", "pkg/source/jetstream"},
	"github.com/nats-io/nats-server":      {"pkg/queue", "pkg/chaos"},
	"github.com/nats-io/jwt":              {"pkg/natsauth"},
	"github.com/ClickHouse/clickhouse-go": {"pkg/clickhouse"},
	"github.com/ebitengine/purego":        {"pkg/engine"},
	"github.com/go-sql-driver/mysql":      {"pkg/source/mysql", "pkg/testkit/mysqltest"},
	"github.com/jackc/pgx":                {"pkg/source/postgres", "pkg/testkit/pgtest"},
	"github.com/aws/aws-sdk-go-v2":        {"pkg/source/files/store/s3"},
	"github.com/Azure/azure-sdk-for-go":   {"pkg/source/files/store/azure", "pkg/testkit/azuretest"},
	"cloud.google.com/go/auth":            {"pkg/source/files/store/gcs"},
	"github.com/johannesboyne/gofakes3":   {"pkg/testkit/s3test"},
	"github.com/twmb/franz-go":            {"pkg/source/kafka"},
	"github.com/prometheus/client_golang": {"pkg/telemetry/metrics"},
	"go.opentelemetry.io/otel/sdk":        {"pkg/telemetry/trace"},
	"go.opentelemetry.io/otel/exporters":  {"pkg/telemetry/trace"},
	"go.opentelemetry.io/proto":           {"pkg/telemetry/trace"},
}

func TestWalls(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "drayage/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "drayage"), "/")
		allowed, known := walls[room]
		if !known {
			t.Errorf("package %s has no entry in the list of walls", room)
			continue
		}
		seen[room] = true
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, "drayage/"); ok {
				within := func(wall string) bool { return ours == wall || strings.HasPrefix(ours, wall+"/") }
				if !slices.ContainsFunc(allowed, within) && !strings.HasPrefix(ours, room+"/") {
					t.Errorf("%s imports %s", room, ours)
				}
			}
			for module, rooms := range owners {
				if strings.HasPrefix(imported, module) && !slices.Contains(rooms, room) {
					t.Errorf("%s imports %s, which is for %s", room, imported, rooms)
				}
			}
		}
	}
	for room := range walls {
		if !seen[room] {
			t.Errorf("there is no package %q", room)
		}
	}
	for _, room := range []string{"coordinator", "coordinator/api", "worker"} {
		for _, sibling := range []string{"coordinator", "coordinator/api", "worker", "pkg/local", "pkg/cli"} {
			if room == "coordinator/api" && sibling == "coordinator" {
				continue
			}
			if imports(t, room, "drayage/"+sibling) {
				t.Errorf("%s imports %s", room, sibling)
			}
		}
	}
}

func imports(t *testing.T, room, path string) bool {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", "{{join .Imports \"\\n\"}}", "drayage/"+room).Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Split(strings.TrimSpace(string(out)), "\n"), path)
}
