package cli_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// What is logged has the names that docs/metrics.md lists, and no others.
func TestLogFields(t *testing.T) {
	t.Parallel()
	_, after, ok := strings.Cut(read(t, "docs/metrics.md"), "## Log fields")
	section, _, more := strings.Cut(after, "\n## ")
	if !ok || !more {
		t.Fatal("docs/metrics.md has no section about the log's fields")
	}
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(row[1], -1) {
			if slices.Contains(listed, name[1]) {
				t.Errorf("%s is listed twice", name[1])
			}
			listed = append(listed, name[1])
		}
	}
	found := 0
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root && d.Name() != ".." {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, ok := logField(call); ok {
				found++
				if !slices.Contains(listed, name) {
					t.Errorf("%s: the field %q is not in docs/metrics.md", files.Position(call.Pos()), name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 50 {
		t.Errorf("only %d fields were found", found)
	}
}

// logField is the name of the field that a call adds to an entry of zerolog's or
// to a logger: a method of two arguments, the first a text, on what began with a
// level or With.
func logField(call *ast.CallExpr) (string, bool) {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) != 2 {
		return "", false
	}
	key, ok := call.Args[0].(*ast.BasicLit)
	if !ok || key.Kind != token.STRING {
		return "", false
	}
	if method.Sel.Name != "Str" && !logged(method.X) {
		return "", false
	}
	name, err := strconv.Unquote(key.Value)
	return name, err == nil
}

// logged reports whether an expression is an entry of a log on its way.
func logged(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	switch method.Sel.Name {
	case "Trace", "Debug", "Info", "Warn", "Error", "With":
		if len(call.Args) == 0 {
			return true
		}
	}
	return logged(method.X)
}
