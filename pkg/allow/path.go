package allow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pathRule is a file, or a folder with all below.
type pathRule struct {
	all     bool
	text    string   // clean; "" of a pattern
	pattern []string // the names on the way, from the root
	folder  string   // of a pattern the part before it; otherwise text with links resolved
}

func newPathRule(text string) (pathRule, error) {
	switch {
	case text == wildcard:
		return pathRule{all: true, folder: string(filepath.Separator)}, nil
	case !filepath.IsAbs(text):
		return pathRule{}, errors.New("it is not absolute")
	}
	rule := pathRule{folder: string(filepath.Separator)}
	plain := true
	for _, name := range elements(text) {
		if _, err := filepath.Match(name, ""); err != nil {
			return pathRule{}, fmt.Errorf("%s: %w", name, err)
		}
		if name == "**" {
			return pathRule{}, errors.New("a folder has all below anyway: leave ** out")
		}
		if plain = plain && !strings.ContainsAny(name, `*?[\`); plain {
			rule.folder = filepath.Join(rule.folder, name)
		}
		rule.pattern = append(rule.pattern, name)
	}
	if plain {
		rule.text = rule.folder
		// Where it is in truth; symbolic links on the way are the operator's.
		if real, err := filepath.EvalSymlinks(rule.folder); err == nil {
			rule.folder = real
		}
	}
	return rule, nil
}

// elements are the names on the way to a path.
func elements(path string) []string {
	path = strings.Trim(filepath.Clean(path), string(filepath.Separator))
	if path == "" || path == "." {
		return nil
	}
	return strings.Split(path, string(filepath.Separator))
}

// matches reports whether a clean absolute path is allowed by the names on it.
func (p pathRule) matches(path string) bool {
	if p.all || p.text != "" {
		return p.all || within(p.folder, path) || within(p.text, path)
	}
	names := elements(path)
	if len(names) < len(p.pattern) {
		return false
	}
	for i, pattern := range p.pattern {
		if ok, _ := filepath.Match(pattern, names[i]); !ok {
			return false
		}
	}
	return true
}

// leads reports whether a path is on the way to what the rule allows.
func (p pathRule) leads(path string) bool {
	return within(path, p.folder) || p.text != "" && within(path, p.text)
}

// within reports whether path is dir or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// kernel are folders that are no data: what is in them tells of processes, the
// worker's own environment among it, and of devices.
var kernel = []string{"/proc", "/sys", "/dev"}

// textual refuses a path by its text.
func (r *Rules) textual(path, named string) error {
	for _, dir := range kernel {
		if within(dir, path) {
			return refused("the path "+named, paths, dir+" is the kernel's, and holds no data")
		}
	}
	if slices.ContainsFunc(r.paths, func(p pathRule) bool { return p.matches(path) }) {
		return nil
	}
	return refused("the path "+named, paths, "")
}

// Path is where a file or folder is in truth, with symbolic links and .. resolved,
// when it may be read. What may not be read is refused before it is looked at. A
// path that is not there is an fs.ErrNotExist.
func (r *Rules) Path(path string) (string, error) {
	if r == nil {
		return path, nil
	}
	clean, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding the path %s: %w", path, err)
	}
	if err := r.textual(clean, path); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(clean)
	if err != nil {
		return "", err
	}
	if err := r.textual(real, path); err != nil {
		return "", refused("the path "+path, paths, "it is a link that leads out of what is allowed")
	}
	return real, nil
}

// Open opens a file, as os.Open does, when it may be read. What is opened is
// what was judged: a link that is put in its place meanwhile is not followed.
func (r *Rules) Open(path string) (*os.File, error) {
	if r == nil {
		return os.Open(path)
	}
	real, err := r.Path(path)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(r.paths, func(p pathRule) bool { return p.matches(real) })
	dir := r.paths[i].folder
	if dir == real {
		dir = filepath.Dir(real)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	rel, err := filepath.Rel(dir, real)
	if err != nil {
		return nil, fmt.Errorf("finding the path %s: %w", path, err)
	}
	f, err := root.Open(rel)
	if err == nil {
		err = r.foreign(f, path)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, err
	}
	return f, nil
}

// foreign refuses what the service's own settings name.
func (r *Rules) foreign(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// Looked at now: a secret may be another file since it was renewed.
	if slices.ContainsFunc(r.own, func(own string) bool {
		other, err := os.Stat(own)
		return err == nil && os.SameFile(other, info)
	}) {
		return refused("the path "+path, "", "the service's own settings name this file")
	}
	return nil
}

// ReadFile is os.ReadFile of what may be read.
func (r *Rules) ReadFile(path string) ([]byte, error) {
	f, err := r.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// Stat is os.Stat of what may be read, and of the folders on the way to it.
func (r *Rules) Stat(path string) (fs.FileInfo, error) {
	if r == nil {
		return os.Stat(path)
	}
	if clean, err := filepath.Abs(path); err == nil && slices.ContainsFunc(r.paths, func(p pathRule) bool { return p.leads(clean) }) {
		return os.Stat(clean)
	}
	real, err := r.Path(path)
	if err != nil {
		return nil, err
	}
	return os.Stat(real)
}

// ReadDir is os.ReadDir of what may be read. Of the folders on the way it gives
// the names that lead there.
func (r *Rules) ReadDir(path string) ([]fs.DirEntry, error) {
	if r == nil {
		return os.ReadDir(path)
	}
	real, err := r.Path(path)
	if err == nil {
		return os.ReadDir(real)
	}
	clean, abs := filepath.Abs(path)
	if abs != nil || !slices.ContainsFunc(r.paths, func(p pathRule) bool { return p.leads(clean) }) {
		return nil, err
	}
	entries, err := os.ReadDir(clean)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		at := filepath.Join(clean, e.Name())
		return !slices.ContainsFunc(r.paths, func(p pathRule) bool { return p.leads(at) || p.matches(at) })
	}), err
}

// Folders are the folders and files in which everything is that may be read, and
// perhaps more.
func (r *Rules) Folders() []string {
	if r == nil {
		return nil
	}
	var all []string
	for _, p := range r.paths {
		all = append(all, p.folder)
	}
	return all
}

// ownPaths are those that the settings of the service name.
func ownPaths(environ []string) []string {
	var all []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }) && filepath.IsAbs(value) {
			all = append(all, value)
		}
	}
	return all
}

// Reaches refuses a path, by its text alone, that may not be read and does not
// lead to what may.
func (r *Rules) Reaches(path string) error {
	if r == nil {
		return nil
	}
	clean, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the path %s: %w", path, err)
	}
	if slices.ContainsFunc(r.paths, func(p pathRule) bool { return p.leads(clean) }) {
		return nil
	}
	return r.textual(clean, path)
}
