// Package stage transforms records in Go: what SQL can not say, or says badly.
// Stages stand between the source of a pipeline and its SELECT. They see one
// record at a time:
//
//	stage.Map(stage.Keep, func(r *stage.Record) error { … })              // changes it
//	stage.Filter(func(r *stage.Record) (bool, error) { … })               // keeps it or drops it
//	stage.FlatMap(shape, func(r *stage.Record, emit stage.Emit) error {…}) // makes any number of it
//	stage.Compose(a, b, c)                                                // one after the other
//
// What a stage may rely on:
//
//   - Each record of the source is given to it, in order. The rows that it
//     makes of a record stay together and in order.
//   - A record is transformed whole or not at all. When a function returns an
//     error or panics, nothing that came of its record is loaded, and the
//     record goes to quarantine with the error as its reason. All others go on.
//
// What it must keep to:
//
//   - The same record gives the same rows, whenever and wherever it is
//     transformed: a chunk may be tried several times, by several workers, and
//     rows are loaded exactly once only because each attempt gives the same
//     rows. So: no clock, no chance, no order of a map, no request to a server,
//     and no memory of other records, for chunks are cut anywhere. Package
//     stagetest looks for these mistakes.
//   - Its functions are called by several goroutines at once.
//   - It keeps nothing of a record beyond the call that it was given in.
package stage

import (
	"errors"

	"drayage/pkg/job"
)

// Stage is a transformation of records. Make it with Map, Filter, FlatMap or
// Compose; the zero Stage leaves everything as it is.
type Stage struct {
	steps []step
}

// step is a stage that is made of no others.
type step struct {
	shape Shape
	apply func(r *Record, emit Emit) error
}

// Emit hands on a row that was made of a record. It takes a copy: the record
// may be changed and handed on again. Its error, such as that a value is
// missing or that there are too many rows, is to be returned.
type Emit func(r *Record) error

// Map is a stage that changes each record. Shape says which columns it then
// has.
func Map(shape Shape, change func(r *Record) error) Stage {
	return FlatMap(shape, func(r *Record, emit Emit) error {
		if err := change(r); err != nil {
			return err
		}
		return emit(r)
	})
}

// Filter is a stage that drops the records for which keep reports false. A
// record that is dropped counts as read, and is not in quarantine.
func Filter(keep func(r *Record) (bool, error)) Stage {
	return FlatMap(Keep, func(r *Record, emit Emit) error {
		ok, err := keep(r)
		if !ok || err != nil {
			return err
		}
		return emit(r)
	})
}

// FlatMap is a stage that makes any number of rows of each record, up to
// MaxOutput bytes. Shape says which columns they have.
func FlatMap(shape Shape, expand func(r *Record, emit Emit) error) Stage {
	return Stage{[]step{{shape, expand}}}
}

// Compose is a stage that is others, one after the other: each gets the rows
// that the one before it made. A record is transformed by all of them or
// rejected.
func Compose(stages ...Stage) Stage {
	var all Stage
	for _, s := range stages {
		all.steps = append(all.steps, s.steps...)
	}
	return all
}

// Columns are those of the rows that the stage makes of records with the
// columns in. It fails when the stage does not suit such records.
func (s Stage) Columns(in []job.Column) ([]job.Column, error) {
	cols := in
	for _, st := range s.steps {
		var err error
		if cols, err = st.shape(cols); err != nil {
			return nil, err
		}
	}
	if len(cols) == 0 {
		return nil, errors.New("the stage leaves no columns")
	}
	return cols, nil
}
