package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

//go:embed templates
var templateFiles embed.FS

// frame is what every page has.
type frame struct {
	Title  string
	Nav    []navigation
	Who    Who
	Notice string // what an action did; empty: nothing was done
	Live   string // address of the page's stream; empty: it has none
}

// navigation is an entry of the page's main navigation.
type navigation struct {
	Name, Path string
	Current    bool
}

// templates are the pages, each with the layout around it.
type templates map[string]*template.Template

func newTemplates(a assets) (templates, error) {
	funcs := template.FuncMap{
		"asset":   a.url,
		"count":   count,
		"ago":     humanize.Time,
		"rfc3339": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	}
	// Parts that several pages have are in these.
	shared, err := template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("reading the page's layout: %w", err)
	}
	entries, err := templateFiles.ReadDir("templates")
	if err != nil {
		return nil, fmt.Errorf("listing the page's templates: %w", err)
	}
	all := templates{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), path.Ext(e.Name()))
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(templateFiles, "templates/"+e.Name())
		}
		if err != nil {
			return nil, fmt.Errorf("reading the template of page %s: %w", name, err)
		}
		all[name] = t
	}
	return all, nil
}

// page renders a whole page.
func (t templates) page(name string, data any) ([]byte, error) {
	return t.part(name, "layout", data)
}

// part renders a part of a page.
func (t templates) part(name, part string, data any) ([]byte, error) {
	var out bytes.Buffer
	if err := t[name].ExecuteTemplate(&out, part, data); err != nil {
		return nil, fmt.Errorf("rendering %s of page %s: %w", part, name, err)
	}
	return out.Bytes(), nil
}

// count writes a whole number with commas.
func count(n any) string {
	switch n := n.(type) {
	case int:
		return humanize.Comma(int64(n))
	case int64:
		return humanize.Comma(n)
	case uint64:
		return humanize.Comma(int64(min(n, 1<<62))) //nolint:gosec // bounded
	}
	return fmt.Sprint(n)
}

// rate writes how many a second there are; "" for none.
func rate(perSecond float64, unit string) string {
	if perSecond <= 0 {
		return ""
	}
	return strings.TrimSpace(humanize.SIWithDigits(perSecond, 1, "")) + unit
}

// span writes a time that something takes, as short as is useful.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "–"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// write answers with a page.
func (s *Site) write(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	page, err := s.templates.page(name, data)
	if err != nil {
		s.log.Error().Err(err).Str("path", r.URL.Path).Msg("a page could not be rendered")
		http.Error(w, "the page could not be rendered; the coordinator's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(page) // whoever asked has gone
}
