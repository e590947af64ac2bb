package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/kelseyhightower/envconfig"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"drayage/pkg/local"
	"drayage/pkg/telemetry"
)

func TestMain(m *testing.M) {
	if err := os.Chdir(filepath.Join("..", "..")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The manifests are those of the sources, and as the schemas of Kubernetes, KEDA
// and the Prometheus operator have it.
func TestManifestsFitTheSchemas(t *testing.T) {
	hash, err := sources()
	if err != nil {
		t.Fatal(err)
	}
	v := newValidator(t)
	for name, text := range rendered(t) {
		if !strings.Contains(text, "# "+hash+"\n") {
			t.Errorf("%s is not made of the sources as they are: go run ./scripts/kubernetes", name)
		}
		for _, text := range strings.Split(text, "\n---\n") {
			if err := v.fits(t, text); err != nil {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}

// Nothing else shows that what fits the schemas means anything.
func TestSchemasRefuse(t *testing.T) {
	const good = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {}\n  template: {spec: {containers: [{name: a, image: b}]}}\n"
	const scaled = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec: {scaleTargetRef: {name: a}, triggers: [{type: x, metadata: {}}]}\n"
	v := newValidator(t)
	for _, text := range []string{good, scaled} {
		if err := v.fits(t, text); err != nil {
			t.Errorf("a good one is refused: %v", err)
		}
	}
	for what, text := range map[string]string{
		"a field that there is not": strings.Replace(good, "image: b", "image: b, imaeg: c", 1),
		"a number for a text":       strings.Replace(good, "image: b", "image: 7", 1),
		"no selector":               strings.Replace(good, "  selector: {}\n", "", 1),
		"a kind that is not known":  strings.Replace(good, "Deployment", "Deploymint", 1),
		"a trigger without a type":  strings.Replace(scaled, "type: x, ", "", 1),
		"a number of replicas":      strings.Replace(scaled, "triggers", "minReplicaCount: many, triggers", 1),
	} {
		if v.fits(t, text) == nil {
			t.Errorf("%s fits", what)
		}
	}
}

func rendered(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "rendered", "*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatalf("the manifests are %q (%v)", files, err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = string(text)
	}
	return all
}

// validator has the schemas of the kinds, each compiled when it is first used.
type validator struct {
	kinds    map[string]any
	compiler *jsonschema.Compiler
}

func newValidator(t *testing.T) *validator {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "schemas.json"))
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	v := &validator{schemas.(map[string]any)["kinds"].(map[string]any), jsonschema.NewCompiler()}
	if err := v.compiler.AddResource("schemas.json", schemas); err != nil {
		t.Fatal(err)
	}
	return v
}

// fits validates a manifest by the schema of its kind.
func (v *validator) fits(t *testing.T, text string) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return err
	}
	o, ok := doc.(map[string]any)
	if !ok {
		return fmt.Errorf("it is %T", doc)
	}
	kind := fmt.Sprintf("%v/%v", o["apiVersion"], o["kind"])
	if v.kinds[kind] == nil {
		return fmt.Errorf("there is no schema of %s", kind)
	}
	s, err := v.compiler.Compile("schemas.json#/kinds/" + strings.ReplaceAll(kind, "/", "~1"))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

// A manifest, as far as it is looked at here.
type manifest struct {
	Kind     string `yaml:"kind"`
	Metadata struct {
		Name, Namespace string
	} `yaml:"metadata"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Selector            yaml.MapSlice           `yaml:"selector"`
		PodSelector         struct{ selector }      `yaml:"podSelector"`
		Ports               []struct{ Port int }    `yaml:"ports"`
		ScaleTargetRef      struct{ Name string }   `yaml:"scaleTargetRef"`
		Triggers            []trigger               `yaml:"triggers"`
		PodMetricsEndpoints []struct{ Path string } `yaml:"podMetricsEndpoints"`
		Replicas            *int                    `yaml:"replicas"`
		Template            struct {
			Metadata struct {
				Labels map[string]string `yaml:"labels"`
			} `yaml:"metadata"`
			Spec pod `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type trigger struct {
	Type     string            `yaml:"type"`
	Metadata map[string]string `yaml:"metadata"`
}

type pod struct {
	Automount       *bool          `yaml:"automountServiceAccountToken"`
	Grace           int            `yaml:"terminationGracePeriodSeconds"`
	SecurityContext map[string]any `yaml:"securityContext"`
	Containers      []container    `yaml:"containers"`
}

type container struct {
	Args    []string `yaml:"args"`
	EnvFrom []struct {
		ConfigMapRef struct{ Name string } `yaml:"configMapRef"`
	} `yaml:"envFrom"`
	Env []struct {
		Name, Value string
	} `yaml:"env"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
	} `yaml:"ports"`
	StartupProbe    probe `yaml:"startupProbe"`
	LivenessProbe   probe `yaml:"livenessProbe"`
	ReadinessProbe  probe `yaml:"readinessProbe"`
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct {
			Drop []string `yaml:"drop"`
		} `yaml:"capabilities"`
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Resources struct {
		Limits map[string]string `yaml:"limits"`
	} `yaml:"resources"`
}

type probe struct {
	HTTPGet struct {
		Path, Port string
	} `yaml:"httpGet"`
}

func manifests(t *testing.T, text string) (all []manifest) {
	t.Helper()
	for _, text := range strings.Split(text, "\n---\n") {
		var m manifest
		if err := yaml.Unmarshal([]byte(text), &m); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		all = append(all, m)
	}
	return all
}

// What the manifests say of dray is so: ports and paths that it answers, variables
// that it reads, files that are mounted, the user of the image, a grace period
// that its own fits into.
func TestManifestsFitTheProgram(t *testing.T) {
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`(?m)^USER (\d+):(\d+)$`).FindSubmatch(dockerfile)
	if user == nil {
		t.Fatal("the Dockerfile has no numeric USER")
	}
	known := variables(t)
	for name, text := range rendered(t) {
		all := manifests(t, text)
		config, deployments := map[string]map[string]string{}, 0
		for _, m := range all {
			if m.Kind == "ConfigMap" {
				config[m.Metadata.Name] = m.Data
			}
			if m.Kind == "Secret" {
				t.Errorf("%s: a secret is in the tree", name)
			}
		}
		for _, m := range all {
			if m.Kind != "Deployment" {
				continue
			}
			deployments++
			p := m.Spec.Template.Spec
			if len(p.Containers) != 1 {
				t.Fatalf("%s: %s has %d containers", name, m.Metadata.Name, len(p.Containers))
			}
			c := p.Containers[0]
			at := name + ": " + m.Metadata.Name
			env := map[string]string{}
			for _, from := range c.EnvFrom {
				for k, v := range config[from.ConfigMapRef.Name] {
					env[k] = v
				}
			}
			for _, e := range c.Env {
				env[e.Name] = e.Value
			}
			checkEnv(t, at, env, known, c)
			checkSafety(t, at, p, c, string(user[1]), string(user[2]))
			checkProbes(t, at, env, c)
			if grace := env["DRAY_GRACE"]; c.Args[0] == "worker" {
				d, err := time.ParseDuration(grace)
				if margin := time.Duration(p.Grace)*time.Second - d; err != nil || margin < 15*time.Second {
					t.Errorf("%s is killed %s after DRAY_GRACE=%s (%v)", at, margin, grace, err)
				}
			}
			if m.Spec.Replicas != nil == strings.Contains(text, "kind: ScaledObject") && c.Args[0] == "worker" {
				t.Errorf("%s: either KEDA or the manifest says how many there are", at)
			}
		}
		if deployments != 2 {
			t.Errorf("%s has %d deployments", name, deployments)
		}
		checkReferences(t, name, all)
	}
}

func checkEnv(t *testing.T, at string, env map[string]string, known map[string]bool, c container) {
	t.Helper()
	for k, v := range env {
		if !known[k] {
			t.Errorf("%s sets %s, which dray does not read", at, k)
		}
		mounted := func(path string) bool {
			for _, m := range c.VolumeMounts {
				if filepath.Dir(path) == m.MountPath {
					return true
				}
			}
			return false
		}
		if strings.HasPrefix(v, "/") && !mounted(v) {
			t.Errorf("%s: %s is %s, and nothing is mounted there", at, k, v)
		}
	}
	memory := func(name string) int64 {
		n, err := strconv.ParseInt(env[name], 10, 64)
		if err != nil {
			t.Errorf("%s: %s: %v", at, name, err)
		}
		return n
	}
	limit := bytesOf(t, c.Resources.Limits["memory"])
	need := memory("DRAY_ENGINE_MEMORY") + 512<<20 // the process itself, and the engine's library
	if c.Args[0] == "worker" {
		need += memory("DRAY_SLOTS") * memory("DRAY_MAX_BLOCK_BYTES")
	}
	if need > limit {
		t.Errorf("%s may need %d MiB and is ended at %d MiB", at, need>>20, limit>>20)
	}
}

func bytesOf(t *testing.T, quantity string) int64 {
	t.Helper()
	for suffix, shift := range map[string]int{"Gi": 30, "Mi": 20} {
		if n, ok := strings.CutSuffix(quantity, suffix); ok {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v << shift
		}
	}
	t.Fatalf("%q is no size that is known here", quantity)
	return 0
}

func checkSafety(t *testing.T, at string, p pod, c container, uid, gid string) {
	t.Helper()
	s := c.SecurityContext
	seccomp, _ := p.SecurityContext["seccompProfile"].(map[string]any)
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) ||
		p.SecurityContext["runAsNonRoot"] != true || seccomp["type"] != "RuntimeDefault" || p.Automount == nil || *p.Automount {
		t.Errorf("%s may do more than it needs: %+v %+v", at, s, p.SecurityContext)
	}
	if fmt.Sprint(p.SecurityContext["runAsUser"]) != uid || fmt.Sprint(p.SecurityContext["runAsGroup"]) != gid || fmt.Sprint(p.SecurityContext["fsGroup"]) != gid {
		t.Errorf("%s runs as %v, the image as %s:%s", at, p.SecurityContext, uid, gid)
	}
}

// serves reports whether a service of dray answers under the path.
func serves(path string) bool {
	w := httptest.NewRecorder()
	metrics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	telemetry.Endpoints{Metrics: metrics}.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code == http.StatusOK
}

func checkProbes(t *testing.T, at string, env map[string]string, c container) {
	t.Helper()
	_, port, err := net.SplitHostPort(env["DRAY_HTTP_ADDR"])
	if err != nil || len(c.Ports) != 1 || strconv.Itoa(c.Ports[0].ContainerPort) != port {
		t.Errorf("%s listens on %q and has the ports %v", at, env["DRAY_HTTP_ADDR"], c.Ports)
	}
	for want, p := range map[string][]probe{"/healthz": {c.StartupProbe, c.LivenessProbe}, "/readyz": {c.ReadinessProbe}} {
		for _, p := range p {
			if p.HTTPGet.Path != want || !serves(want) || p.HTTPGet.Port != c.Ports[0].Name {
				t.Errorf("%s is asked for %+v, want %s", at, p.HTTPGet, want)
			}
		}
	}
	if serves("/health") {
		t.Error("everything is served")
	}
}

// checkReferences looks whether what manifests name is there.
func checkReferences(t *testing.T, name string, all []manifest) {
	t.Helper()
	pods := func(labels map[string]string) bool {
		return slices.ContainsFunc(all, func(m manifest) bool {
			if m.Kind != "Deployment" {
				return false
			}
			for k, v := range labels {
				if m.Spec.Template.Metadata.Labels[k] != v {
					return false
				}
			}
			return true
		})
	}
	for _, m := range all {
		var of selector
		switch m.Kind {
		case "Service":
			text, err := yaml.Marshal(m.Spec.Selector)
			if err != nil || yaml.Unmarshal(text, &of.MatchLabels) != nil {
				t.Fatal(err)
			}
		case "Deployment", "PodDisruptionBudget", "PodMonitor":
			text, err := yaml.Marshal(m.Spec.Selector)
			if err != nil || yaml.Unmarshal(text, &of) != nil {
				t.Fatal(err)
			}
		case "NetworkPolicy":
			of = m.Spec.PodSelector.selector
			if !pods(of.MatchLabels) {
				t.Errorf("%s: %s %s is for no pod: %v", name, m.Kind, m.Metadata.Name, of)
			}
			continue
		case "ScaledObject":
			if !slices.ContainsFunc(all, func(d manifest) bool {
				return d.Kind == "Deployment" && d.Metadata.Name == m.Spec.ScaleTargetRef.Name
			}) {
				t.Errorf("%s: there is no deployment %s to scale", name, m.Spec.ScaleTargetRef.Name)
			}
			for _, trigger := range m.Spec.Triggers {
				checkTrigger(t, name, trigger, all)
			}
			continue
		default:
			continue
		}
		if len(of.MatchLabels) == 0 || !pods(of.MatchLabels) {
			t.Errorf("%s: %s %s is for no pod: %v", name, m.Kind, m.Metadata.Name, of)
		}
		for _, e := range m.Spec.PodMetricsEndpoints {
			if !serves(e.Path) {
				t.Errorf("%s: metrics are at %s", name, e.Path)
			}
		}
	}
}

// checkTrigger looks whether a coordinator has what workers are scaled by.
func checkTrigger(t *testing.T, name string, trigger trigger, all []manifest) {
	t.Helper()
	at, err := url.Parse(trigger.Metadata["url"])
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(all, func(m manifest) bool {
		return m.Kind == "Service" && at.Hostname() == m.Metadata.Name+"."+m.Metadata.Namespace && strconv.Itoa(m.Spec.Ports[0].Port) == at.Port()
	})
	if !found || !serves(at.Path) {
		t.Errorf("%s: nobody answers %s", name, at)
	}
	metric := false
	eachSource(t, func(text []byte) {
		metric = metric || bytes.Contains(text, []byte(`"`+trigger.Metadata["valueLocation"]+`"`))
	})
	if !metric {
		t.Errorf("%s: there is no metric %s", name, trigger.Metadata["valueLocation"])
	}
}

// eachSource reads the program, without its tests.
func eachSource(t *testing.T, see func(text []byte)) {
	t.Helper()
	for _, dir := range []string{"coordinator", "worker", "pkg"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			see(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// variables are those that dray reads.
func variables(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	var c local.Config
	for prefix, part := range map[string]any{"DRAY": &c.Queue, "": &c.Process} {
		var keys bytes.Buffer
		if err := envconfig.Usagef(prefix, part, &keys, "{{range .}}{{usage_key .}}\n{{end}}"); err != nil {
			t.Fatal(err)
		}
		for _, k := range strings.Fields(keys.String()) {
			all[k] = true
		}
	}
	named := regexp.MustCompile(`"(DRAY_[A-Z0-9_]+)"`)
	eachSource(t, func(text []byte) {
		for _, m := range named.FindAllSubmatch(text, -1) {
			all[string(m[1])] = true
		}
	})
	if !all["DRAY_NATS_CREDS"] || !all["DRAY_GRACE"] || all["DRAY_NATS_CREDENTIALS"] {
		t.Fatalf("the variables are %v", all)
	}
	return all
}

// What docker-compose.yml sets is read, too, and a worker there has time to drain.
func TestComposeFitsTheProgram(t *testing.T) {
	text, err := os.ReadFile("docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment any    `json:"environment"`
			Grace       string `json:"stop_grace_period"`
		} `json:"services"`
	}
	if err := json.Unmarshal(asJSON, &compose); err != nil {
		t.Fatal(err)
	}
	known, seen := variables(t), 0
	init, err := os.ReadFile("scripts/compose/init.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\$\{(DRAY_[A-Z_]+)`).FindAllSubmatch(init, -1) {
		known[string(m[1])] = true
	}
	for service, s := range compose.Services {
		env, ok := s.Environment.(map[string]any)
		if !ok && s.Environment != nil {
			t.Errorf("the environment of %s is %T", service, s.Environment)
		}
		for k := range env {
			if strings.HasPrefix(k, "DRAY_") {
				seen++
				if !known[k] {
					t.Errorf("%s sets %s, which dray does not read", service, k)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d variables were seen", seen)
	}
}
