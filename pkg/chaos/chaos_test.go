package chaos

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"drayage/pkg/cli"
)

// The test binary is a NATS server and dray, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == NodeArgument {
		fmt.Fprintln(os.Stderr, Node(os.Args[2:]))
		os.Exit(1)
	}
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-test.") {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		os.Exit(cli.Main(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, cli.Extensions{}))
	}
	goleak.VerifyTestMain(m)
}

// run runs the suite with this binary as everything.
func run(t *testing.T, cfg Config) *Report {
	t.Helper()
	// Not t.TempDir: what failed is to be looked at.
	dir, err := os.MkdirTemp("", "dray-chaos-test-")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dray, cfg.NATS, cfg.Dir = []string{os.Args[0]}, []string{os.Args[0], NodeArgument}, dir
	report, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatalf("%v; data and logs are in %s", err, dir)
	}
	var text strings.Builder
	report.Print(&text)
	t.Log("\n" + text.String())
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "chaos.log"))
			t.Logf("data and logs are in %s\n%s", dir, log)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return report
}

// The short form of `make chaos`.
func TestChaos(t *testing.T) {
	report := run(t, Short())
	if !report.OK() {
		t.Errorf("invariants are broken: %q", report.Broken)
	}
	faults := 0
	for _, n := range report.Faults {
		faults += n
	}
	if faults < Short().Faults {
		t.Errorf("%d faults were injected, %d were asked for", faults, Short().Faults)
	}
	if report.Expected == 0 || report.Found == 0 || report.Redeliver+report.Attempts == 0 {
		t.Errorf("nothing shows that anything was loaded under faults: %+v", report)
	}
}

// Without token, look and verification the fleet doubles rows, and the checks
// must see it: nothing else shows that a run without complaints means anything.
func TestChecksWork(t *testing.T) {
	cfg := Short()
	cfg.Jobs, cfg.Live, cfg.Faults, cfg.Coordinators, cfg.Cancel = 2, 2, 3, 1, 0
	cfg.Break, cfg.Only = true, []Kind{DropAnswer}
	report := run(t, cfg)
	if report.Twice == 0 || len(report.Broken[Rows]) == 0 || len(report.Broken[OneResult]) == 0 {
		t.Errorf("the guarantees were off and no duplicates were found: %+v", report)
	}
	for _, i := range []Invariant{Ends, InFlight, NoneRemain} {
		if len(report.Broken[i]) > 0 {
			t.Errorf("%s: %q", i, report.Broken[i])
		}
	}
}
