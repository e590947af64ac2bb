package transform

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"drayage/pkg/engine"
)

// Creation is what a CREATE TABLE does beside making a table of its columns.
type Creation struct {
	Rows  bool   // it says more than columns, engine and comment: AS SELECT
	Reads string // a function in it that reads something; "": none does
	Disk  bool   // it describes a disk
}

// ownDisk is the setting of a disk in a statement as the engine formats it.
var ownDisk = regexp.MustCompile("\\bdisk`?\\s*=")

// Created asks the engine what a CREATE TABLE does. What it can not parse is an
// *SQLError.
func Created(ctx context.Context, eng *engine.Client, statement string) (Creation, error) {
	var c Creation
	nodes, err := parse(ctx, eng, "", statement)
	if err != nil {
		return c, place(err, statement, 1)
	}
	if len(nodes) == 0 || nodes[0].kind != "CreateQuery" {
		return Creation{Rows: true}, nil
	}
	for _, i := range children(nodes, 0) {
		c.Rows = c.Rows || !slices.Contains([]string{"Identifier", "Columns", "Storage", "Literal"}, nodes[i].kind)
	}
	functions, err := tableFunctions(ctx, eng, nodes)
	if err != nil {
		return c, err
	}
	for _, i := range functions {
		if name := nodes[i].word(); !slices.Contains(pure, strings.ToLower(name)) {
			c.Reads = name
		}
	}
	var formatted []struct {
		Text string `json:"text"`
	}
	err = eng.Rows(ctx, engine.Statement{SQL: "SELECT formatQuerySingleLine(" + Literal(statement) + ") AS text"}, &formatted)
	if err != nil {
		return c, fmt.Errorf("asking the engine to format a statement: %w", err)
	}
	c.Disk = len(formatted) != 1 || ownDisk.MatchString(formatted[0].Text)
	return c, nil
}
