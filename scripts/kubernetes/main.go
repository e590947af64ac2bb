// Command kubernetes makes what is made of deploy/kubernetes: the overlays as
// plain manifests, with kustomize or kubectl, and the schemas that a test checks
// them against, from the published sources of Kubernetes and of two operators.
//
//	go run ./scripts/kubernetes            # the manifests, after every change
//	go run ./scripts/kubernetes -schemas   # the schemas too, for another release
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

const root = "deploy/kubernetes"

// The sources of the schemas, all under the Apache License 2.0.
const (
	kubernetes = "k8s.io/kubernetes@v1.35.0"
	keda       = "github.com/kedacore/keda/v2@v2.20.2"
	prometheus = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
)

func main() {
	schemas := flag.Bool("schemas", false, "make the schemas anew too; needs the Go module proxy")
	flag.Parse()
	err := render()
	if err == nil && *schemas {
		err = collect()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

// render writes each overlay, and the base, as one file of manifests that says
// which sources it was made of.
func render() error {
	hash, err := sources()
	if err != nil {
		return err
	}
	build := []string{"kubectl", "kustomize"}
	if _, err := exec.LookPath("kustomize"); err == nil {
		build = []string{"kustomize", "build"}
	}
	overlays, err := filepath.Glob(filepath.Join(root, "overlays", "*"))
	if err != nil {
		return err
	}
	for _, dir := range append(overlays, filepath.Join(root, "base")) {
		cmd := exec.Command(build[0], append(build[1:], dir)...) //nolint:gosec // one of the two above
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("building %s: %w", dir, err)
		}
		name := filepath.Join(root, "rendered", filepath.Base(dir)+".yaml")
		text := fmt.Sprintf("# Made by go run ./scripts/kubernetes of sources with the SHA-256\n# %s\n%s", hash, out)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // for everybody to read
			return err
		}
	}
	return nil
}

// sources is the hash of all files that the manifests are made of.
func sources() (string, error) {
	h := sha256.New()
	for _, dir := range []string{"base", "components", "overlays"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			fmt.Fprintf(h, "%s\n%s\n", filepath.ToSlash(path), text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type schema = map[string]any

// collector gathers the schemas of some kinds, and all that they refer to.
type collector struct {
	kinds schema // by "apiVersion/kind"
	defs  schema
}

func collect() error {
	c := &collector{kinds: schema{}, defs: schema{}}
	dir, err := module(kubernetes)
	if err != nil {
		return err
	}
	for _, k := range []struct{ file, version, kind, name string }{
		{"api__v1", "v1", "ConfigMap", "io.k8s.api.core.v1.ConfigMap"},
		{"api__v1", "v1", "Namespace", "io.k8s.api.core.v1.Namespace"},
		{"api__v1", "v1", "Secret", "io.k8s.api.core.v1.Secret"},
		{"api__v1", "v1", "Service", "io.k8s.api.core.v1.Service"},
		{"api__v1", "v1", "ServiceAccount", "io.k8s.api.core.v1.ServiceAccount"},
		{"apis__apps__v1", "apps/v1", "Deployment", "io.k8s.api.apps.v1.Deployment"},
		{"apis__policy__v1", "policy/v1", "PodDisruptionBudget", "io.k8s.api.policy.v1.PodDisruptionBudget"},
		{"apis__networking.k8s.io__v1", "networking.k8s.io/v1", "NetworkPolicy", "io.k8s.api.networking.v1.NetworkPolicy"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, "api/openapi-spec/v3", k.file+"_openapi.json"))
		if err != nil {
			return err
		}
		var doc struct {
			Components struct {
				Schemas map[string]schema `json:"schemas"`
			} `json:"components"`
		}
		if err := json.Unmarshal(text, &doc); err != nil {
			return fmt.Errorf("%s: %w", k.file, err)
		}
		if err := c.define(doc.Components.Schemas, k.name); err != nil {
			return err
		}
		c.kinds[k.version+"/"+k.kind] = schema{"$ref": "#/$defs/" + k.name}
	}
	for mod, file := range map[string]string{
		keda:       "config/crd/bases/keda.sh_scaledobjects.yaml",
		prometheus: "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
	} {
		dir, err := module(mod)
		if err != nil {
			return err
		}
		if err := c.custom(filepath.Join(dir, file)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	out, err := json.MarshalIndent(schema{
		"$schema":  "https://json-schema.org/draft/2020-12/schema",
		"$comment": fmt.Sprintf("Made by go run ./scripts/kubernetes -schemas of %s, %s and %s, Apache License 2.0.", kubernetes, keda, prometheus),
		"kinds":    c.kinds, "$defs": c.defs,
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "schemas.json"), append(out, '\n'), 0o644) //nolint:gosec // for everybody to read
}

// module is the folder of a module's source.
func module(path string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", path) //nolint:gosec // one of the constants
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if e := json.Unmarshal(out, &m); e != nil || m.Error != "" {
		return "", errors.Join(err, e, errors.New(m.Error))
	}
	return m.Dir, err
}

// define adds a schema of an OpenAPI document, and those it refers to.
func (c *collector) define(all map[string]schema, name string) error {
	if c.defs[name] != nil {
		return nil
	}
	s, ok := all[name]
	if !ok {
		return fmt.Errorf("there is no schema %s", name)
	}
	var refs []string
	c.defs[name] = tidy(s, &refs)
	for _, ref := range refs {
		if err := c.define(all, ref); err != nil {
			return err
		}
	}
	return nil
}

// custom adds the kind of a CustomResourceDefinition, of its first version.
func (c *collector) custom(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd struct {
		Spec struct {
			Group string `yaml:"group"`
			Names struct {
				Kind string `yaml:"kind"`
			} `yaml:"names"`
			Versions []struct {
				Name   string `yaml:"name"`
				Schema struct {
					OpenAPI schema `yaml:"openAPIV3Schema"`
				} `yaml:"schema"`
			} `yaml:"versions"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	v := crd.Spec.Versions[0]
	s, _ := tidy(v.Schema.OpenAPI, nil).(schema)
	// The server itself sees to the metadata of every object.
	if p, ok := s["properties"].(schema); ok {
		p["metadata"] = schema{"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
	}
	c.kinds[crd.Spec.Group+"/"+v.Name+"/"+crd.Spec.Names.Kind] = s
	return nil
}

// tidy makes a JSON schema of one of Kubernetes: without prose, closed to
// fields that it does not name, and with its references in refs.
func tidy(v any, refs *[]string) any {
	list, isList := v.([]any)
	if isList {
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = tidy(e, refs)
		}
		return out
	}
	s, isObject := v.(schema)
	if !isObject {
		return v
	}
	if s["x-kubernetes-int-or-string"] == true || s["format"] == "int-or-string" {
		return schema{"type": []any{"integer", "string"}}
	}
	out := schema{}
	for _, key := range slices.Sorted(maps.Keys(s)) {
		switch {
		case key == "description" || key == "default" || key == "format" || strings.HasPrefix(key, "x-kubernetes-"):
		case key == "$ref":
			name := strings.TrimPrefix(s[key].(string), "#/components/schemas/")
			*refs = append(*refs, name)
			out[key] = "#/$defs/" + name
		case key == "properties":
			fields := schema{}
			for name, field := range s[key].(schema) {
				fields[name] = tidy(field, refs)
			}
			out[key] = fields
		default:
			out[key] = tidy(s[key], refs)
		}
	}
	_, fields := out["properties"]
	if _, open := out["additionalProperties"]; fields && !open && s["x-kubernetes-preserve-unknown-fields"] != true {
		out["additionalProperties"] = false
	}
	return out
}
