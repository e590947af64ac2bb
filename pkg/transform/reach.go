package transform

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"drayage/pkg/allow"
	"drayage/pkg/engine"
	"drayage/pkg/job"
)

// What SQL reaches is told by the engine's own parser: EXPLAIN AST, a node a
// line, indented by its depth. Names are not quoted there, so one with a newline
// in it makes lines of its own; they come after the line of their node, so they
// can add nodes and hide none.

// node is a node of a statement.
type node struct {
	depth int
	kind  string // Function, TableIdentifier, Literal, …
	name  string // the rest of the line
}

// word is the node's name without its alias and the number of its children.
func (n node) word() string {
	word, _, _ := strings.Cut(n.name, " ")
	return word
}

// parse is what the engine understands of a statement.
func parse(ctx context.Context, eng *engine.Client, database, sql string) ([]node, error) {
	var ast []struct {
		Explain string `json:"explain"`
	}
	// The statement begins on a line of its own so that the engine's place in
	// it needs only one line taken off.
	if err := eng.Rows(ctx, engine.Statement{SQL: "EXPLAIN AST\n" + sql, Database: database}, &ast); err != nil {
		return nil, err
	}
	nodes := make([]node, len(ast))
	for i, line := range ast {
		text := strings.TrimLeft(line.Explain, " ")
		nodes[i].depth = len(line.Explain) - len(text)
		nodes[i].kind, nodes[i].name, _ = strings.Cut(strings.TrimRight(text, " "), " ")
	}
	return nodes, nil
}

// children are the nodes just below nodes[i].
func children(nodes []node, i int) []int {
	var all []int
	for j := i + 1; j < len(nodes) && nodes[j].depth > nodes[i].depth; j++ {
		if nodes[j].depth == nodes[i].depth+1 {
			all = append(all, j)
		}
	}
	return all
}

// arguments are those of the function nodes[i].
func arguments(nodes []node, i int) []int {
	if list := children(nodes, i); len(list) > 0 && nodes[list[0]].kind == "ExpressionList" {
		return children(nodes, list[0])
	}
	return nil
}

// text is the value of a literal that is a text.
func (n node) text() (string, bool) {
	if n.kind != "Literal" || !strings.HasPrefix(n.name, "'") {
		return "", false
	}
	var b strings.Builder
	for s := n.name[1:]; s != ""; s = s[1:] {
		switch s[0] {
		case '\'':
			return b.String(), true
		case '\\':
			if s = s[1:]; s == "" {
				return "", false
			}
			if c, special := escapes[s[0]]; special {
				b.WriteByte(c)
			} else {
				b.WriteByte(s[0])
			}
		default:
			b.WriteByte(s[0])
		}
	}
	return "", false
}

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '0': 0, 'b': '\b', 'f': '\f'}

// pure are table functions that read nothing: what they give is in their
// arguments.
var pure = []string{
	"numbers", "numbers_mt", "zeros", "zeros_mt", "generateseries", "generate_series", "primes",
	"values", "sqlstandardvalues", "null", "format", "view",
}

// tableFunctions are the indexes of the table functions in nodes: functions that
// stand where a table does, and all that the engine knows as such, for one may
// stand behind IN too. With them are the functions of values that ask a server or
// load a file.
func tableFunctions(ctx context.Context, eng *engine.Client, nodes []node) ([]int, error) {
	var names []string
	for _, n := range nodes {
		if n.kind == "Function" {
			names = append(names, Literal(strings.ToLower(n.word())))
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	var known []struct {
		Name string `json:"name"`
	}
	err := eng.Rows(ctx, engine.Statement{SQL: "SELECT lower(name) AS name FROM system.table_functions WHERE lower(name) IN (" + strings.Join(names, ", ") + ")"}, &known)
	if err != nil {
		return nil, fmt.Errorf("asking the engine for its table functions: %w", err)
	}
	var all []int
	for i, n := range nodes {
		if n.kind == "Function" && outgoing.MatchString(n.word()) {
			all = append(all, i)
			continue
		}
		is := func(k struct {
			Name string `json:"name"`
		}) bool {
			return k.Name == strings.ToLower(n.word())
		}
		if n.kind == "Function" && (i > 0 && nodes[i-1].kind == "TableExpression" || slices.ContainsFunc(known, is)) {
			all = append(all, i)
		}
	}
	return all, nil
}

// outgoing are functions of values that leave the engine.
var outgoing = regexp.MustCompile(`(?i)^(ai(classify|generate|embed|extract|translate)\w*|catboostEvaluate)$`)

// foreignTable is a table in a named database that nodes read, "" for none.
func foreignTable(nodes []node) string {
	for i, n := range nodes {
		switch {
		case n.kind == "TableIdentifier" && strings.Contains(n.word(), "."):
			return n.word()
		case n.kind == "Function" && strings.HasSuffix(strings.ToLower(n.word()), "in"):
			if args := arguments(nodes, i); len(args) == 2 {
				if set := nodes[args[1]]; strings.HasSuffix(set.kind, "Identifier") && strings.Contains(set.word(), ".") {
					return set.word()
				}
			}
		}
	}
	return ""
}

// sealed refuses a pipeline's SELECT that reads anything but its input and the
// lookups.
func (w Workspace) sealed(ctx context.Context, nodes []node, sel string) error {
	functions, err := tableFunctions(ctx, w.eng, nodes)
	if err != nil {
		return err
	}
	for _, i := range functions {
		name := nodes[i].word()
		if slices.Contains(pure, strings.ToLower(name)) {
			continue
		}
		e := &SQLError{
			Problem: fmt.Sprintf("%s() reads beyond the chunk and the lookups", name),
			Hint:    "read it once a job as a lookup, lookups.NAME with a source, or make it the pipeline's source",
		}
		e.find(sel, regexp.MustCompile(`(?i)`+regexp.QuoteMeta(name)+"[`\"]?\\s*\\("))
		return e
	}
	if table := foreignTable(nodes); table != "" {
		return outside(table, sel)
	}
	return nil
}

func outside(table, sel string) error {
	e := &SQLError{Problem: fmt.Sprintf("the table %s is neither the chunk nor a lookup", table), Hint: "make it a lookup, as lookups.NAME: {table: …}"}
	_, bare, _ := strings.Cut(table, ".")
	e.find(sel, regexp.MustCompile(`\b`+regexp.QuoteMeta(bare)+`\b`))
	return e
}

var (
	treeTable    = regexp.MustCompile(`(?:^|, )table_name: (.*)$`)
	treeSettings = regexp.MustCompile(`^\s*SETTINGS (.*)$`)
)

// bounding are settings that a SELECT may not have: those that bound what it
// takes, say how files and hosts are read, or are the engine's own affair. What
// they would change is set by dray, once for all chunks.
var bounding = regexp.MustCompile(`^(max_|min_|input_format_|output_format_|format_schema|log_|send_|http_|s3_|azure_|hdfs_|remote_|connect_|receive_|storage_|engine_|local_filesystem|readonly$|allow_introspection|allow_ddl|dialect|implicit_|profile$|priority$|workload$|os_thread|query_profiler|memory_|temporary_|filesystem_|use_.*cache|enable_.*cache)|_path$|_overflow_mode|_timeout|_retries$`)

// resolved refuses tables that are not the workspace's, and settings that are
// not the SELECT's to set, by what the engine makes of the whole statement.
func (w Workspace) resolved(ctx context.Context, sel string, cols []job.Column) error {
	var tree []struct {
		Explain string `json:"explain"`
	}
	err := w.eng.Rows(ctx, engine.Statement{
		SQL: "EXPLAIN QUERY TREE SELECT * FROM " + Relation(sel, Nothing(cols)), Database: w.Database, Settings: map[string]string{"session_timezone": "UTC"},
	}, &tree)
	if err != nil {
		return place(err, sel, 0)
	}
	for _, line := range tree {
		if m := treeTable.FindStringSubmatch(line.Explain); m != nil {
			if lookup, ours := strings.CutPrefix(m[1], w.Database+"."); !ours || strings.Contains(lookup, ".") {
				return outside(m[1], sel)
			}
		}
		m := treeSettings.FindStringSubmatch(line.Explain)
		if m == nil {
			continue
		}
		for one := range strings.FieldsSeq(m[1]) {
			name, _, _ := strings.Cut(one, "=")
			if bounding.MatchString(name) {
				e := &SQLError{Problem: fmt.Sprintf("the setting %s is not the SELECT's to set", name), Hint: "leave it out: how a chunk is read and how much it may take is set for all of them; formats have source.files.settings"}
				e.find(sel, regexp.MustCompile(`\b`+regexp.QuoteMeta(name)+`\b`))
				return e
			}
		}
	}
	return nil
}

// Sealed refuses a SELECT over an input of the given columns that reads anything
// but its input and the lookups, or loosens its bounds. Check does that too; a
// worker need not believe that somebody has. Mistakes are of type *SQLError, of
// class job.Permanent.
func Sealed(ctx context.Context, w Workspace, sel string, cols []job.Column) error {
	nodes, err := parse(ctx, w.eng, w.Database, sel)
	if err != nil {
		return place(err, sel, 1)
	}
	err = w.sealed(ctx, nodes, sel)
	if err == nil {
		err = w.resolved(ctx, sel, cols)
	}
	if errors.As(err, new(*SQLError)) {
		return job.WithClass(err, job.Permanent)
	}
	return err
}

// How a table function that reads something names it in its first argument.
type reads int

const (
	aHost    reads = iota // host:port, or several with commas
	aURL                  // http or https
	aPath                 // of this machine
	ofServer              // something that the server is set up with
)

// readers are the table functions that rules can judge, with the port of those
// that name hosts. All others are refused.
var readers = map[string]struct {
	what reads
	port uint16
}{
	"remote": {aHost, 9000}, "remotesecure": {aHost, 9440},
	"postgresql": {aHost, 5432}, "mysql": {aHost, 3306}, "redis": {aHost, 6379}, "mongodb": {aHost, 27017},
	"url": {aURL, 0}, "s3": {aURL, 0}, "gcs": {aURL, 0}, "oss": {aURL, 0}, "cosn": {aURL, 0},
	"deltalake": {aURL, 0}, "deltalakes3": {aURL, 0}, "hudi": {aURL, 0}, "iceberg": {aURL, 0}, "icebergs3": {aURL, 0},
	"paimon": {aURL, 0}, "paimons3": {aURL, 0},
	"file": {aPath, 0}, "sqlite": {aPath, 0}, "deltalakelocal": {aPath, 0}, "iceberglocal": {aPath, 0}, "paimonlocal": {aPath, 0}, "filesystem": {aPath, 0},
	"cluster": {ofServer, 0}, "clusterallreplicas": {ofServer, 0}, "dictionary": {ofServer, 0}, "merge": {ofServer, 0},
}

// Reach judges what SQL reads by itself.
type Reach struct {
	Engine *engine.Client // that parses it
	Rules  *allow.Rules   // nil: everything may be read
	// Server says that the target's ClickHouse runs it: it may read the tables
	// that the server shows to its user, and no file of the server's.
	Server bool
}

// Relation refuses a table function, or a SELECT in parentheses, that reads what
// the rules do not allow; what is refused is a *job.RefusedError. Hosts and
// paths have to be literals: what is computed can not be judged.
func (r Reach) Relation(ctx context.Context, relation string) error {
	if r.Rules == nil {
		return nil
	}
	nodes, err := parse(ctx, r.Engine, "", "SELECT * FROM "+relation)
	if err != nil {
		return place(err, relation, 1)
	}
	if table := foreignTable(nodes); table != "" && !r.Server {
		return refuse("the table "+table, "it is the worker's own; a query reads table functions")
	}
	for _, n := range nodes {
		if n.kind == "Set" && n.name == "" && !r.Server {
			return refuse("SETTINGS within the SELECT", "write them as settings beside it")
		}
	}
	functions, err := tableFunctions(ctx, r.Engine, nodes)
	if err != nil {
		return err
	}
	for _, i := range functions {
		if err := r.function(ctx, nodes, i); err != nil {
			return err
		}
	}
	return nil
}

var leading = regexp.MustCompile(`redirect|_path$|^format_schema|proxy|^allow_introspection|^dialect|^implicit_`)

// Judge is Relation, and refuses settings of its statement that would lead it
// elsewhere too. It returns those to run it with.
func (r Reach) Judge(ctx context.Context, relation string, settings map[string]string) (map[string]string, error) {
	if r.Rules == nil {
		return settings, nil
	}
	all := map[string]string{"max_http_get_redirects": "0", "s3_max_redirects": "0"}
	for name, value := range settings {
		if leading.MatchString(name) {
			return nil, refuse("the setting "+name, "it changes which hosts or files are read")
		}
		all[name] = value
	}
	return all, r.Relation(ctx, relation)
}

func refuse(what, why string) error {
	return job.WithClass(&job.RefusedError{What: what, Why: why}, job.Permanent)
}

// function judges the table function nodes[i].
func (r Reach) function(ctx context.Context, nodes []node, i int) error {
	name := nodes[i].word()
	what := "the table function " + name + "()"
	if slices.Contains(pure, strings.ToLower(name)) {
		return nil
	}
	f, known := readers[strings.ToLower(name)]
	switch {
	case !known, f.what == aPath && r.Server, f.what == ofServer && !r.Server:
		return refuse(what, "what it reads can not be judged here; the kinds of source and url(), s3(), postgresql(), mysql(), mongodb(), redis(), remote() can")
	case f.what == ofServer:
		return nil
	}
	args := arguments(nodes, i)
	if len(args) == 0 {
		return refuse(what, "it names nothing to read")
	}
	first, literal := nodes[args[0]].text()
	if !literal {
		return refuse(what, "what it reads has to be its first argument, a text as it stands, for it to be judged")
	}
	switch f.what {
	case aPath:
		path, _, _ := strings.Cut(first, " :: ") // within an archive
		return r.path(path, what)
	case aURL:
		return r.url(ctx, first, what)
	default:
		return r.hosts(ctx, first, f.port, what)
	}
}

// path judges a path, or the folder of a glob.
func (r Reach) path(path, what string) error {
	if !strings.HasPrefix(path, "/") {
		return refuse(what, "its path has to be absolute")
	}
	if glob := strings.IndexAny(path, "*?{["); glob >= 0 {
		path = path[:strings.LastIndexByte(path[:glob], '/')+1]
	}
	_, err := r.Rules.Path(path)
	return err
}

func (r Reach) url(ctx context.Context, text, what string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(u.Host, "{}|,*") {
		return refuse(what, "its address has to be one of http:// or https:// with one host")
	}
	return r.Rules.Lookup(ctx, u.Hostname(), allow.Port(u))
}

func (r Reach) hosts(ctx context.Context, text string, port uint16, what string) error {
	if scheme := strings.Index(text, "://"); scheme >= 0 { // mongodb://user:password@host/database
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "mongodb" {
			return refuse(what, "its address has to be host:port")
		}
		text = u.Host
	}
	if strings.ContainsAny(text, "{}|*/@ ") {
		return refuse(what, "its hosts have to be written out, host:port")
	}
	for one := range strings.SplitSeq(text, ",") {
		host, on := one, port
		if h, p, err := net.SplitHostPort(one); err == nil {
			n, err := strconv.ParseUint(p, 10, 16)
			if err != nil {
				return refuse(what, "its port has to be a number")
			}
			host, on = h, uint16(n)
		}
		if err := r.Rules.Lookup(ctx, host, on); err != nil {
			return err
		}
	}
	return nil
}
