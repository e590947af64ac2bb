package api

import (
	"context"

	"drayage/pkg/clickhouse"
)

// RejectQuery says which rows of a job in quarantine are meant.
type RejectQuery struct {
	Job    string
	Chunk  *uint64 // nil: of any
	Column string  // exactly; empty: of any
	Reason string  // a part of it, in any case
	Limit  int     // 1 to 1000; 0: 20
	Offset uint64  // rows before the first
}

// RejectPage is a part of a job's rows in quarantine, in the order of chunk and
// record. A record stands there once for each value that did not fit.
type RejectPage struct {
	Job     string                 `json:"job"`
	Rejects []clickhouse.RejectRow `json:"rejects"`
	Next    *uint64                `json:"next,omitempty"` // the offset of the page after; absent on the last
}

// maxRawShown bounds the raw text of a record in a page, in bytes; the whole is
// in drayage.rejects.
const maxRawShown = 16 << 10

// Rejects reads rows in quarantine, with the raw records as they stand in the
// input, at most 16 KiB of each.
func (s *Service) Rejects(ctx context.Context, q RejectQuery) (RejectPage, error) {
	page := RejectPage{Job: q.Job, Rejects: []clickhouse.RejectRow{}}
	limit, err := rowsWanted(q.Limit)
	if err == nil {
		_, err = s.record(ctx, q.Job)
	}
	if err != nil {
		return page, err
	}
	f := clickhouse.RejectFilter{Job: q.Job, Chunk: q.Chunk, Column: q.Column, Reason: q.Reason, Limit: uint64(limit) + 1, Offset: q.Offset}
	err = s.ClickHouse.Rejects(ctx, f, func(r clickhouse.RejectRow) error {
		if len(page.Rejects) == limit {
			next := q.Offset + uint64(limit)
			page.Next = &next
			return clickhouse.ErrStop
		}
		if len(r.Raw) > maxRawShown {
			r.Raw, r.Cut = r.Raw[:maxRawShown], true
		}
		page.Rejects = append(page.Rejects, r)
		return nil
	})
	return page, err
}

// RejectGroups are the reasons for which rows of a job are in quarantine.
type RejectGroups struct {
	Job    string                   `json:"job"`
	Groups []clickhouse.RejectGroup `json:"groups"`
}

// RejectGroups counts a job's rows in quarantine by column and reason, the
// commonest first, at most limit: 1 to 1000, or 0 for 20.
func (s *Service) RejectGroups(ctx context.Context, id string, limit int) (RejectGroups, error) {
	v := RejectGroups{Job: id}
	limit, err := rowsWanted(limit)
	if err == nil {
		_, err = s.record(ctx, id)
	}
	if err != nil {
		return v, err
	}
	if v.Groups, err = s.ClickHouse.RejectGroups(ctx, id, limit); v.Groups == nil {
		v.Groups = []clickhouse.RejectGroup{}
	}
	for i := range v.Groups {
		if r := &v.Groups[i].First; len(r.Raw) > maxRawShown {
			r.Raw, r.Cut = r.Raw[:maxRawShown], true
		}
	}
	return v, err
}
