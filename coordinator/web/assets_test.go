package web

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// The libraries are those that package-lock.json pins, unchanged.
func TestLibrary(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("assets/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Integrity string }
	}
	if err := json.Unmarshal(text, &lock); err != nil {
		t.Fatal(err)
	}
	manifest, err := assetFiles.Open("assets/library/MANIFEST")
	if err != nil {
		t.Fatal(err)
	}
	defer manifest.Close()
	listed := map[string]bool{"MANIFEST": true}
	for lines := bufio.NewScanner(manifest); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		f := strings.Fields(lines.Text())
		if len(f) != 4 {
			t.Fatalf("a line of the manifest is %q", lines.Text())
		}
		name, integrity, file, sum := f[0], f[1], f[2], f[3]
		listed[file] = true
		if pinned := lock.Packages["node_modules/"+name].Integrity; pinned != integrity {
			t.Errorf("%s is of another %s than package-lock.json pins: run coordinator/web/assets/install.sh", file, name)
		}
		data, err := fs.ReadFile(assetFiles, "assets/library/"+file)
		if err != nil {
			t.Error(err)
		} else if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s is not as %s has it: run coordinator/web/assets/install.sh", file, name)
		}
	}
	for name := range lock.Packages {
		short := strings.TrimPrefix(name, "node_modules/")
		if short != "" && !strings.Contains(manifestText(t), "\n"+short+" ") {
			t.Errorf("nothing of %s is kept", short)
		}
	}
	files, err := fs.ReadDir(assetFiles, "assets/library")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !listed[f.Name()] {
			t.Errorf("%s is not in the manifest", f.Name())
		}
	}
}

func manifestText(t *testing.T) string {
	t.Helper()
	text, err := fs.ReadFile(assetFiles, "assets/library/MANIFEST")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
