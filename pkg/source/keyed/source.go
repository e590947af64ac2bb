package keyed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"drayage/pkg/job"
	"drayage/pkg/source"
)

// Source is the source of a table or query. It holds no connection between
// calls, and may be used by several goroutines.
//
// Each chunk is read in a transaction of its own, so the job sees no single
// moment of a table that changes meanwhile. Cut by a key, every row whose key
// stays is read once; a row that is inserted while the job runs is read where its
// key is at most the largest that there was at first and its range was not read
// yet. Cut by blocks, a row that an UPDATE moves may be read twice or not at all.
type Source struct {
	cfg    Config
	server Server
	span   *source.Span
}

var (
	_ source.Source      = (*Source)(nil)
	_ source.Splitter    = (*Source)(nil)
	_ source.Locator     = (*Source)(nil)
	_ source.Incremental = (*Source)(nil)
)

// New returns the source that cfg, which was validated, describes. It asks nobody;
// bounds that do not parse are an error marked job.Permanent.
func New(cfg Config, server Server) (*Source, error) {
	if cfg.ChunkBytes == 0 {
		cfg.ChunkBytes = ChunkBytes
	}
	span, err := source.ParseSpan(cfg.Bounds)
	if err != nil {
		return nil, job.WithClass(err, job.Permanent)
	}
	cfg.Query = strings.TrimRight(cfg.Query, "; \t\r\n")
	return &Source{cfg, server, span}, nil
}

// Columns implements source.Source. The table must exist; it may be empty. The
// declared columns must be among its own. A key that it does not have, and a
// where that the server does not understand, are errors here.
func (s *Source) Columns(ctx context.Context, _ source.Engine) ([]job.Column, error) {
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := s.existing(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.find(r); err != nil {
		return nil, err
	}
	if s.cfg.Where != "" {
		if _, err := c.Rows("checking where", "SELECT 1 FROM "+r.Of().SQL+" WHERE ("+s.cfg.Where+"\n) LIMIT 0"); err != nil {
			return nil, err
		}
	}
	var has []string
	var all []job.Column
	for _, col := range r.Columns() {
		has = append(has, col.Name)
		if !col.Hidden {
			all = append(all, col.Column)
		}
	}
	if len(s.cfg.Columns) == 0 {
		return all, nil
	}
	return s.cfg.Columns, source.CheckDeclared(s.cfg.Name(), s.cfg.Columns, has, s.server.Same)
}

// Size implements source.Source: the bytes of a table without its indexes, as far
// as the server knows them; 0 of anything else.
func (s *Source) Size(ctx context.Context) int64 {
	if s.cfg.Table == "" {
		return 0
	}
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return 0
	}
	defer c.Close()
	r, found, err := c.Describe()
	if err != nil || !found {
		return 0
	}
	return r.Of().Bytes
}

// existing describes a relation that is not planned yet.
func (s *Source) existing(c Session) (Relation, error) {
	r, found, err := c.Describe()
	if err == nil && !found {
		err = job.Permanentf("%s: %s", s.cfg.Name(), s.server.Missing)
	}
	return r, err
}

// planned describes a relation that still has the shape that was planned.
func (s *Source) planned(c Session, shape string, columns []job.Column) (Relation, error) {
	r, found, err := c.Describe()
	switch {
	case err != nil:
		return nil, c.Altered(err)
	case !found:
		return nil, s.cfg.Gone()
	}
	if now, ok := s.shape(r, columns); !ok || now != shape {
		return nil, s.cfg.Changed()
	}
	return r, nil
}

// column is the place of the column of that name, -1 for none.
func (s *Source) column(all []Column, name string) int {
	return slices.IndexFunc(all, func(c Column) bool { return s.server.Same(c.Name, name) })
}

// shape sums up the columns of a relation that a job reads; ok is false where one
// of them is not there.
func (s *Source) shape(r Relation, columns []job.Column) (shape string, ok bool) {
	h, all := sha256.New(), r.Columns()
	for _, want := range columns {
		i := s.column(all, want.Name)
		if i < 0 {
			return "", false
		}
		_, _ = io.WriteString(h, all[i].Shape+"\n") // to a hash: it does not fail
	}
	return hex.EncodeToString(h.Sum(nil)[:12]), true
}

// find returns the key to cut a relation by that is configured, or the best; nil
// for none.
func (s *Source) find(r Relation) (*Key, error) {
	all := r.Columns()
	for _, name := range s.cfg.Key {
		if s.column(all, name) < 0 {
			return nil, job.Permanentf("%s: it has no column %q, which key names", s.cfg.Name(), name)
		}
	}
	k, err := r.Find(s.cfg.Key)
	if err == nil && k != nil && !k.Indexed && r.Of().IndexOnly {
		err = job.Permanentf("%s: it has no index that begins with %s; name columns of an index, or leave out key",
			s.cfg.Name(), strings.Join(s.cfg.Key, ", "))
	}
	return k, err
}

// walked returns the key of a range, whose bounds must be of it.
func (s *Source) walked(r Relation, p Range) (*Key, error) {
	all := r.Columns()
	for _, name := range p.Key {
		if s.column(all, name) < 0 {
			return nil, s.cfg.Changed()
		}
	}
	k, err := r.Planned(p.Key, p.Collations)
	if err != nil {
		return nil, err
	}
	if p.From != nil && !k.valid(p.From) || p.To != nil && !k.valid(p.To) {
		return nil, job.Permanentf("%s: the input of a chunk has a bound that is not of its key", s.cfg.Name())
	}
	return k, nil
}

// parse reads what a chunk says about its input.
func (s *Source) parse(input json.RawMessage) (Range, error) {
	var p Range
	err := json.Unmarshal(input, &p)
	if err == nil && !p.valid(s.server.Manners) {
		err = errors.New("it names no range")
	}
	if err != nil {
		return p, job.Permanentf("%s: the input of a chunk does not parse: %w", s.cfg.Name(), err)
	}
	return p, nil
}

// Locate implements source.Locator: the name is the table with the range, such as
// "table shop.orders, id after 5 up to 9".
func (s *Source) Locate(input json.RawMessage) (source.Location, error) {
	p, err := s.parse(input)
	if err != nil {
		return source.Location{}, err
	}
	return source.Location{Name: p.place(s.cfg.Name()), Offset: -1}, nil
}

// Plan implements source.Source: ranges in the order of the key, and last the
// rows whose key is NULL; or ranges of blocks, or everything in one chunk, where
// there is no key. It connects for each chunk and holds no connection while the
// chunk is looked at.
func (s *Source) Plan(ctx context.Context, from json.RawMessage, columns []job.Column) iter.Seq2[source.Planned, error] {
	return source.Steps[Cursor]{
		Name: s.cfg.Name(),
		Done: func(at *Cursor) bool { return at.Done },
		Next: func(ctx context.Context, at *Cursor, begun bool) (any, int64, bool, error) {
			p, found, err := s.next(ctx, at, begun, columns)
			return p, p.Bytes, found, err
		},
	}.Plan(ctx, from)
}

// next plans the next chunk, and moves at after it.
func (s *Source) next(ctx context.Context, at *Cursor, begun bool, columns []job.Column) (p Range, found bool, err error) {
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return p, false, err
	}
	defer c.Close()
	var r Relation
	if begun {
		r, err = s.planned(c, at.Shape, columns)
	} else if r, err = s.existing(c); err == nil {
		err = s.settle(at, r, columns)
	}
	if err != nil || at.Done {
		return p, false, err
	}
	if len(at.Key) == 0 {
		p, found = at.keyless(r.Of().Bytes)
		return p, found, nil
	}
	k, err := s.walked(r, Range{Key: at.Key, Collations: at.Collations, From: at.Last, To: at.Max})
	if err != nil {
		return p, false, err
	}
	return at.next(k, k.null() != "" && !s.spans(k))
}

// settle decides how r is cut.
func (s *Source) settle(at *Cursor, r Relation, columns []job.Column) error {
	var ok bool
	if at.Shape, ok = s.shape(r, columns); !ok {
		return s.cfg.Changed()
	}
	if s.span != nil && s.span.To == nil {
		at.Done = true
		return nil
	}
	k, err := s.findSpan(r)
	if err == nil && k == nil {
		k, err = s.find(r)
	}
	if err != nil {
		return err
	}
	t := r.Of()
	switch at.Blocks = t.Keyless; {
	case k != nil && s.server.Manners:
		at.Blocks = Blocks{Manner: ByKey}
	case k == nil && at.Manner != ByBlocks:
		return nil
	}
	mean, err := r.Settle(k)
	if err != nil {
		return err
	}
	at.Per, at.Mean = Per(s.cfg.Rows, s.cfg.ChunkBytes, mean), mean
	if k == nil {
		at.Mean = max(t.Bytes/max(at.End, 1), 1)
		at.Per = max(at.Per*mean/at.Mean, 1)
		return nil
	}
	for _, col := range k.Columns {
		at.Key = append(at.Key, col.Name)
		at.Collations = append(at.Collations, col.Collation)
	}
	if strings.Join(at.Collations, "") == "" {
		at.Collations = nil
	}
	if s.spans(k) {
		if s.span.From != nil {
			at.Last = Bound{*s.span.From}
		}
		at.Max = Bound{*s.span.To}
		return nil
	}
	at.Max, ok, err = k.last()
	at.Ranges = !ok
	return err
}

// Split implements source.Splitter: a range of a key is cut where half of its
// keys are before, a range of blocks in its middle. What has one key or block,
// the rows without a key, and what is read as a whole can not be cut.
func (s *Source) Split(ctx context.Context, input json.RawMessage, columns []job.Column) ([]job.Part, error) {
	p, err := s.parse(input)
	if err != nil {
		return nil, err
	}
	a, b := p, p
	a.Bytes = p.Bytes / 2
	b.Bytes = p.Bytes - a.Bytes
	cut := p.End-p.Begin > 1
	if len(p.Key) > 0 && !p.Null {
		middle, err := s.middle(ctx, p, columns)
		if err != nil {
			return nil, err
		}
		a.To, b.From, cut = middle, middle, middle != nil
	} else if cut {
		a.End = p.Begin + (p.End-p.Begin)/2
		b.Begin = a.End
	}
	if !cut {
		return nil, job.Permanentf("%s: %w", p.place(s.cfg.Name()), source.ErrWhole)
	}
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return []job.Part{{Input: first, Bytes: a.Bytes}, {Input: second, Bytes: b.Bytes}}, errors.Join(err1, err2)
}

// middle returns a key that cuts a range in two parts that both have keys, nil
// for none.
func (s *Source) middle(ctx context.Context, p Range, columns []job.Column) (Bound, error) {
	c, err := s.server.Connect(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := s.planned(c, p.Shape, columns)
	if err != nil {
		return nil, err
	}
	k, err := s.walked(r, p)
	if err != nil {
		return nil, err
	}
	return p.middle(k)
}
