package stagetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/stage"
	"drayage/pkg/stage/stagetest"
)

// recorder is a test that notes what it is told.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return context.Background() }
func (r *recorder) Error(args ...any)        { r.said = append(r.said, fmt.Sprint(args...)) }
func (r *recorder) Fatal(args ...any) {
	r.Error(args...)
	panic(r)
}

// Stages that do not keep to the rules are found out.
func TestFindsMistakes(t *testing.T) {
	columns := []job.Column{{Name: "id", Type: "UInt8"}}
	numbered := func(n *atomic.Int64) stage.Stage {
		return stage.Map(stage.Keep, func(r *stage.Record) error { return r.Set("id", n.Add(1)) })
	}
	var ever atomic.Int64
	for name, c := range map[string]struct {
		build func() (stage.Stage, error)
		want  string
	}{
		"differs from run to run": {func() (stage.Stage, error) { return numbered(&ever), nil }, "a second time"},
		"remembers records":       {func() (stage.Stage, error) { return numbered(new(atomic.Int64)), nil }, "alone"},
		"differs in its columns": {func() (stage.Stage, error) {
			return stage.Map(stage.Add(fmt.Sprint("c", ever.Add(1)), "Nullable(UInt8)"), func(*stage.Record) error { return nil }), nil
		}, "the stage has the columns"},
		"rejects now and then": {func() (stage.Stage, error) {
			return stage.Map(stage.Keep, func(*stage.Record) error { return fmt.Errorf("reason %d", ever.Add(1)) }), nil
		}, "rejected because of"},
		"can not be made":   {func() (stage.Stage, error) { return stage.Stage{}, errors.New("no key") }, "no key"},
		"does not suit":     {func() (stage.Stage, error) { return stage.Map(stage.Need("x"), nil), nil }, "there is no column x"},
		"does as it should": {func() (stage.Stage, error) { return stage.Stage{}, nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{TB: t}
			func() {
				defer func() {
					if v := recover(); v != nil && v != any(r) {
						panic(v)
					}
				}()
				stagetest.Run(r, c.build, columns, `{"id":1}`, `{"id":1}`)
			}()
			said := strings.Join(r.said, "\n")
			if (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
				t.Errorf("it says %q", said)
			}
		})
	}
}
