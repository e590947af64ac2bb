package cli_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// scripts/publish-job.sh publishes jobs by curl and by dray, from any shell: once
// for each key, with the exit codes of dray submit.
func TestPublishJobScript(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	write := func(name, text string) string { return writeFile(t, filepath.Join(f.dir, name), text) }
	operate := write("operate", "operate-0123456789abcdef\n")
	read := write("read", "read-0123456789abcdef\n")
	tokens := write("tokens", "operate:scripts:operate-0123456789abcdef\nread:lookers:read-0123456789abcdef\n")
	c := start(t, append(f.env, "DRAY_HTTP_ADDR=127.0.0.1:0", "DRAY_HTTP_TOKENS_FILE="+tokens), "coordinator")
	start(t, f.env, "worker")
	address := ""
	eventually(t, "the coordinator listens", func() bool {
		m := regexp.MustCompile(`"addr":"([^"]+)","time":[^\n]*HTTP ready`).FindStringSubmatch(c.log.String())
		if m != nil {
			address = "http://" + m[1]
		}
		return m != nil
	})
	rejecting, _, _ := misfits(t, f.dir, "misfits")
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			// What JSON and the shell might stumble over.
			const note = "a \"b\" 'c' \\ $HOME `d`\tü;\n{e}, \\n"
			made := write(shell+".yaml", `pipeline: made_by_`+shell+` # "quoted" \ $x
params: {note: {type: String}, state: {type: String, default: ""}}
source: {generate: {rows: 1000, select: number AS id}}
transform: "SELECT id, {note:String} AS note FROM chunk"
load: {table: made_by_`+shell+`, order_by: id}
`)
			mistaken := write(shell+"-mistaken.yaml", "pipeline: mistaken\nsource: {generate: {rows: 1}}\nload: {table: mistaken, order_by: id}\nnonsense: 1\n")
			id := "made_by_" + shell + "-day-1"
			http := []string{"DRAY_HTTP_URL=" + address + "/", "DRAY_HTTP_TOKEN_FILE=" + operate}
			away := []string{"DRAY_HTTP_URL=http://127.0.0.1:1", "DRAY_HTTP_TOKEN_FILE=" + operate}
			nats := append([]string{"DRAY=" + os.Args[0]}, f.env...)
			for _, tt := range []struct {
				name     string
				env      []string
				args     []string
				code     int
				out, err string // a part; of out, all but the end of the line
			}{
				{"made", http, []string{made, "--key", "Day 1", "--set", "note=" + note, "--set=state=DONE"}, 0, id, ""},
				{"the same key", http, []string{"--key=Day 1", made, "--set", "note=" + note, "--set", "state=DONE", "--wait"}, 0, "", "submitted " + id},
				{"by dray", nats, []string{made, "--key", "Day 1", "--set", "note=" + note, "--set", "state=DONE"}, 0, id, ""},
				{"another submission", http, []string{made, "--key", "Day 1", "--set", "note="}, 2, "", "submitted with another pipeline"},
				{"a mistake", http, []string{mistaken, "--key", "1"}, 2, "", "nonsense"},
				{"rejects", http, []string{rejecting, "--key", "http", "--wait"}, 4, "", "with rejects"},
				{"rejects, by dray", nats, []string{rejecting, "--key", "http", "--wait"}, 4, "", ""},
				{"not its token's to do", append(http, "DRAY_HTTP_TOKEN_FILE="+read), []string{made, "--set", "note="}, 3, "", "a token that may operate"},
				{"no token", []string{"DRAY_HTTP_URL=" + address}, []string{made, "--set", "note="}, 3, "", "a token that may operate"},
				{"token in the environment", []string{"DRAY_HTTP_URL=" + address, "DRAY_HTTP_TOKEN=operate-0123456789abcdef"}, []string{made, "--key", "Day 1", "--set", "note=" + note, "--set", "state=DONE"}, 0, id, ""},
				{"nobody there", away, []string{made, "--set", "note="}, 3, "", "does not answer"},
				{"no NATS named", nats[:1], []string{made, "--via", "dray"}, 3, "", "DRAY_NATS_URL"},
				{"no file", http, []string{made + "x"}, 2, "", "no such file"},
				{"no text", http, []string{write(shell+".bin", "pipeline: \x01\n")}, 2, "", "control characters"},
				{"no way", http, []string{made, "--via", "pigeon"}, 2, "", "--via pigeon"},
				{"help", nil, []string{"--help"}, 0, "", ""},
			} {
				out, stderr, code := publish(t, shell, tt.env, tt.args...)
				if code != tt.code || tt.out != "" && out != tt.out+"\n" || !strings.Contains(stderr, tt.err) {
					t.Errorf("%s: exit %d, want %d, with %q and %q\n%s%s", tt.name, code, tt.code, tt.out, tt.err, out, stderr)
				}
				if strings.Contains(out+stderr, "0123456789abcdef") {
					t.Errorf("%s: a token is shown:\n%s%s", tt.name, out, stderr)
				}
			}
			f.answers(t, "SELECT count(), uniqExact(_job), any(hex(note)) FROM made_by_"+shell+" FORMAT TSV", fmt.Sprintf("1000\t1\t%s", strings.ToUpper(hex.EncodeToString([]byte(note)))))
		})
	}
}

// A coordinator that is away for a moment is asked again, when a key says that
// asking twice is one job, and a wait goes on.
func TestPublishJobScriptAsksAgain(t *testing.T) {
	t.Parallel()
	file := writeFile(t, filepath.Join(t.TempDir(), "p.yaml"), "pipeline: p\n")
	var posts, gets atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && posts.Add(1) == 1, r.Method == http.MethodGet && gets.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"detail":"NATS is away"}`)
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, `{"job":"p-1","state":"RUNNING"}`)
		default:
			fmt.Fprint(w, `{"job":"p-1","state":"FAILED","error":"line 2: \"x\"\nis wrong","text":"\"state\":\"DONE\""}`)
		}
	}))
	defer server.Close()
	env := []string{"DRAY_HTTP_URL=" + server.URL}
	if _, stderr, code := publish(t, "sh", env, file, "--key", "1", "--wait"); code != 1 || !strings.Contains(stderr, "line 2: \"x\"\nis wrong") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	posts.Store(0)
	if _, stderr, code := publish(t, "sh", env, file); code != 3 || !strings.Contains(stderr, "NATS is away") || posts.Load() != 1 {
		t.Errorf("without a key: exit %d after %d requests: %s", code, posts.Load(), stderr)
	}
}

// publish runs the script in a shell.
func publish(t *testing.T, shell string, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), shell, append([]string{filepath.Join("..", "..", "scripts", "publish-job.sh")}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil && cmd.ProcessState == nil {
		t.Fatal(e)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}
