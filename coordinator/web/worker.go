package web

import (
	"net/http"
	"strings"
	"time"
)

// workersPage lists the workers that live.
type workersPage struct {
	frame
	Workers     []workerRow
	Slots, Busy int
}

type workerRow struct {
	ID, Host       string
	PID            int
	Version        string
	Extensions     string // what it was built with beside dray's own
	Slots, Busy    int
	Boxes          []bool // a slot each, true when it is in use; at most maxBoxes
	Chunks         []currentChunk
	EngineRestarts int
	StartedAt, At  time.Time
}

type currentChunk struct {
	Job    string
	Number uint64
}

// maxBoxes bounds the slots that are drawn.
const maxBoxes = 64

func (s *Site) readWorkers(r *http.Request) (workersPage, error) {
	var p workersPage
	list, err := s.service.Workers(r.Context())
	if err != nil {
		return p, err
	}
	p.Slots, p.Busy = list.Slots, list.Busy
	for _, w := range list.Workers {
		row := workerRow{
			ID: w.ID, Host: w.Host, PID: w.PID, Version: w.Version, Slots: w.Slots, Busy: w.Busy, EngineRestarts: w.EngineRestarts,
			StartedAt: w.StartedAt, At: w.At, Extensions: strings.Join(append(w.Stages, w.Sources...), ", "),
		}
		for i := range min(w.Slots, maxBoxes) {
			row.Boxes = append(row.Boxes, i < w.Busy)
		}
		for _, c := range w.Chunks {
			row.Chunks = append(row.Chunks, currentChunk{c.Job, c.Chunk})
		}
		p.Workers = append(p.Workers, row)
	}
	return p, nil
}

func (s *Site) workers(w http.ResponseWriter, r *http.Request) error {
	p, err := s.readWorkers(r)
	if err != nil {
		return err
	}
	p.frame = s.frame(r, "Workers", "/workers/live")
	s.write(w, r, http.StatusOK, "workers", p)
	return nil
}

func (s *Site) workersLive(w http.ResponseWriter, r *http.Request) error {
	return s.stream(w, r, func(out *stream) (bool, error) {
		p, err := s.readWorkers(r)
		if err != nil {
			return false, err
		}
		html, err := s.templates.part("workers", "workers", p)
		if err != nil {
			return false, err
		}
		out.part("#workers", html, false)
		return false, nil
	})
}
