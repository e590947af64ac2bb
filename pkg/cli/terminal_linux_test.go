package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"drayage/pkg/cli"
)

// openTerminal opens a terminal: what is written to the first end is typed at
// the second.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal("the questions are asked on a terminal, and there are none here:", err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// A verb that takes data away asks at a terminal, and takes only yes for a yes.
func TestAsks(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("DRAY_DATA_DIR", filepath.Join(dir, "data"))
	t.Setenv("NO_COLOR", "1")
	bad, _ := letters(t, dir, "asked")
	env := []string{}
	expect(t, env, []string{"run", bad, "-q"}, 4)
	for _, tt := range []struct {
		answer string
		code   int
		says   string
	}{
		{"\n", 1, "nothing was changed"},
		{"no\n", 1, "nothing was changed"},
		{"YES\n", 0, "3 dead letters dropped"},
	} {
		person, program := openTerminal(t)
		if _, err := person.WriteString(tt.answer); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		code := cli.Main(context.Background(), []string{"dead", "drop", "last", "--all-chunks"}, cli.IO{In: program, Out: &out, Err: &out}, cli.Extensions{})
		if code != tt.code || !strings.Contains(out.String(), tt.says) || !strings.Contains(out.String(), "Drop 3 dead letters of job asked-") {
			t.Errorf("to the answer %q it says %s, exit %d", tt.answer, out.String(), code)
		}
	}
	expect(t, env, []string{"dead", "list"}, 0, "no such dead letters")
}
