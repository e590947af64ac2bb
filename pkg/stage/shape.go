package stage

import (
	"fmt"
	"slices"
	"strings"

	"drayage/pkg/job"
)

// Shape says which columns the rows of a stage have, given those of its
// records, so that they are known before anything runs. It does not change in,
// and gives the same for the same. Its error says what the stage expects.
type Shape func(in []job.Column) ([]job.Column, error)

// Keep is the Shape of a stage that changes values only.
func Keep(in []job.Column) ([]job.Column, error) { return in, nil }

// Add is the Shape with a column more, at the end. The type is one of
// ClickHouse.
func Add(name, typ string) Shape {
	return func(in []job.Column) ([]job.Column, error) {
		if find(in, name) >= 0 {
			return nil, fmt.Errorf("there is a column %s already", name)
		}
		return append(slices.Clone(in), job.Column{Name: name, Type: typ}), nil
	}
}

// Drop is the Shape without some columns. Their values need not be removed.
func Drop(names ...string) Shape {
	return func(in []job.Column) ([]job.Column, error) {
		for _, name := range names {
			if _, err := Find(in, name); err != nil {
				return nil, err
			}
		}
		return slices.DeleteFunc(slices.Clone(in), func(c job.Column) bool { return slices.Contains(names, c.Name) }), nil
	}
}

// Retype is the Shape with another type of a column, which stays in its place.
func Retype(name, typ string) Shape {
	return func(in []job.Column) ([]job.Column, error) {
		if _, err := Find(in, name); err != nil {
			return nil, err
		}
		out := slices.Clone(in)
		out[find(in, name)].Type = typ
		return out, nil
	}
}

// Need is the Shape of a stage that changes values only, and needs some
// columns.
func Need(names ...string) Shape {
	return func(in []job.Column) ([]job.Column, error) {
		for _, name := range names {
			if _, err := Find(in, name); err != nil {
				return nil, err
			}
		}
		return in, nil
	}
}

// Shapes is one Shape after the other.
func Shapes(shapes ...Shape) Shape {
	return func(in []job.Column) ([]job.Column, error) {
		for _, s := range shapes {
			var err error
			if in, err = s(in); err != nil {
				return nil, err
			}
		}
		return in, nil
	}
}

// Find returns the column with the name, or an error that lists those that
// there are.
func Find(in []job.Column, name string) (job.Column, error) {
	if i := find(in, name); i >= 0 {
		return in[i], nil
	}
	names := make([]string, len(in))
	for i, c := range in {
		names[i] = c.Name
	}
	return job.Column{}, fmt.Errorf("there is no column %s; there are %s", name, strings.Join(names, ", "))
}

func find(in []job.Column, name string) int {
	return slices.IndexFunc(in, func(c job.Column) bool { return c.Name == name })
}
