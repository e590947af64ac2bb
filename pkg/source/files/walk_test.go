package files

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWalk(t *testing.T) {
	tree := map[string]string{}
	for _, p := range []string{"a.csv", "b.csv", "b.txt", "d/a.csv", "d/b.csv", "d/e/a.csv", "d.csv/x.csv", "d-x/a.csv", "z/y/x/w.csv", ".hidden.csv"} {
		tree[p] = "1\n"
	}
	dir := write(t, tree)
	for from, to := range map[string]string{"link": "d", "d/up": "..", "a-link.csv": "a.csv", "broken.csv": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		patterns []string
		want     []string
	}{
		{[]string{"a.csv"}, []string{"a.csv"}},
		{[]string{"./a.csv", "d/../b.csv"}, []string{"a.csv", "b.csv"}},
		{[]string{"?.csv"}, []string{"a.csv", "b.csv"}},
		{[]string{"[ab].csv"}, []string{"a.csv", "b.csv"}},
		{[]string{"{b,a}.{csv,txt}"}, []string{"a.csv", "b.csv", "b.txt"}},
		{[]string{"*/?.csv"}, []string{"d/a.csv", "d/b.csv", "d-x/a.csv", "d.csv/x.csv", "link/a.csv", "link/b.csv"}},
		{[]string{"d/**/*.csv"}, []string{"d/a.csv", "d/b.csv", "d/e/a.csv"}},
		{[]string{"{d/e,z/y/x}/*.csv"}, []string{"d/e/a.csv", "z/y/x/w.csv"}},
		{[]string{"z/**"}, []string{"z/y/x/w.csv"}},
		{[]string{"b.*", "*.csv"}, []string{"b.csv", "b.txt", ".hidden.csv", "a-link.csv", "a.csv"}},
		{[]string{"d/a.csv", "d/**", "link/*.csv"}, []string{"d/a.csv", "d/b.csv", "d/e/a.csv", "link/a.csv", "link/b.csv"}},
		{[]string{"**/e/*.csv", "d/**"}, []string{"d/e/a.csv", "d/a.csv", "d/b.csv"}},
	} {
		// A broken link is an error where it is asked for.
		if err := os.Remove(filepath.Join(dir, "broken.csv")); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, abs := range []bool{false, true} {
			patterns, want := slices.Clone(c.patterns), slices.Clone(c.want)
			if abs {
				for i := range patterns {
					patterns[i] = filepath.ToSlash(dir) + "/" + patterns[i]
				}
				for i := range want {
					want[i] = filepath.Join(dir, want[i])
				}
			}
			s := mustNew(t, Config{Paths: patterns, Dir: dir, Format: "CSV"})
			walk := func(pattern int, from string) (got []string, at []int) {
				err := s.walk(t.Context(), pattern, from, func(f found) error {
					got, at = append(got, f.path), append(at, f.pattern)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				return got, at
			}
			got, at := walk(0, "")
			if !slices.Equal(got, want) {
				t.Errorf("%q: %q, not %q", patterns, got, want)
				continue
			}
			for i := range got {
				tail, _ := walk(at[i], got[i])
				if !slices.Equal(tail, got[i:]) {
					t.Errorf("%q from %s on: %q", patterns, got[i], tail)
				}
			}
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken.csv")); err != nil {
		t.Fatal(err)
	}
	s := mustNew(t, Config{Paths: []string{"*.csv"}, Dir: dir})
	if err := s.walk(t.Context(), 0, "", func(found) error { return nil }); err == nil || !strings.Contains(err.Error(), "broken.csv") {
		t.Errorf("a broken link that is asked for: %v", err)
	}
}

// TestManyFiles: planning goes on from every tenth file, and stops when told.
func TestManyFiles(t *testing.T) {
	files := map[string]string{}
	for i := range 500 {
		files[fmt.Sprintf("%02d/%03d.csv", i%20, i)] = fmt.Sprintf("%d\n", i)
	}
	columns := cols("n", "Int64")
	s := mustNew(t, Config{Paths: []string{"*/*.csv"}, Dir: write(t, files), Columns: columns})
	all, err := plan(s, nil, columns)
	if err != nil || len(all) != 500 || all[499].Inputs != 500 {
		t.Fatalf("%d chunks: %v", len(all), err)
	}
	for i := 0; i < 500; i += 10 {
		n := 0
		for p, err := range s.Plan(t.Context(), all[i].Cursor, columns) {
			if err != nil || !samePlanned(p, all[i+1+n]) {
				t.Fatalf("chunk %d after %d: %v", n, i, err)
			}
			if n++; n == 5 {
				break
			}
		}
	}
	if size := s.Size(t.Context()); size != 10*2+90*3+400*4 {
		t.Errorf("size %d", size)
	}
}
