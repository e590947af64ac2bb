package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source/sourcetest"
)

// numbered are n records from first on.
func numbered(first, n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`{"id": %d}`, first+i))
	}
	return strings.Join(all, ", ")
}

// lines are n records from first on, as the source gives them.
func lines(first, n int) string {
	return strings.ReplaceAll(strings.ReplaceAll(numbered(first, n), ", ", "\n"), " ", "") + strings.Repeat("\n", min(n, 1))
}

func query(r *http.Request, name string) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil {
		return -1
	}
	return n
}

// Each way of paging gives every record once, in order.
func TestPaging(t *testing.T) {
	for name, tt := range map[string]struct {
		paging Paging
		api    http.HandlerFunc
		want   string
	}{
		"none": {Paging{}, func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, `{"meta": {"items": [1]}, "data": {"items": [%s]}}`, numbered(0, 3))
		}, lines(0, 3)},
		"pages end at an empty one": {Paging{Kind: PagingPage, Param: "page", Size: 2, SizeParam: "n"}, func(w http.ResponseWriter, r *http.Request) {
			n := max(0, min(2, 5-2*(query(r, "page")-1))) * min(1, query(r, "n")-1)
			sendJSON(w, `{"data": {"items": [%s]}}`, numbered(2*(query(r, "page")-1), n))
		}, lines(0, 5)},
		"a short page in the middle": {Paging{Kind: PagingOffset, Param: "skip", Size: 4, SizeParam: "n", Total: "total"}, func(w http.ResponseWriter, r *http.Request) {
			at := query(r, "skip")
			if at >= 9 {
				w.WriteHeader(http.StatusNotFound) // nobody asks beyond the total
				return
			}
			sendJSON(w, `{"total": 9, "data": {"items": [%s]}}`, numbered(at, min(3, 9-at)))
		}, lines(0, 9)},
		"a cap below size": {Paging{Kind: PagingOffset, Param: "skip", Size: 500, SizeParam: "n"}, func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, `{"data": {"items": [%s]}}`, numbered(query(r, "skip"), max(0, min(2, 5-query(r, "skip")))))
		}, lines(0, 5)},
		"cursor to null":    {Paging{Kind: PagingCursor, Param: "after", Cursor: "next.c"}, cursors(`, "next": {"c": null}`), lines(0, 6)},
		"cursor absent":     {Paging{Kind: PagingCursor, Param: "after", Cursor: "next.c"}, cursors(``), lines(0, 6)},
		"cursor empty":      {Paging{Kind: PagingCursor, Param: "after", Cursor: "next.c"}, cursors(`, "next": {"c": ""}`), lines(0, 6)},
		"cursor's way null": {Paging{Kind: PagingCursor, Param: "after", Cursor: "next.c"}, cursors(`, "next": null`), lines(0, 6)},
		"links, relative": {Paging{Kind: PagingLink}, func(w http.ResponseWriter, r *http.Request) {
			at := max(0, query(r, "p"))
			if at < 2 {
				w.Header().Add("Link", `</x?a=1,2>; rel="prev", <?p=`+strconv.Itoa(at+1)+`>; title="a, b"; rel="last next"`)
			}
			sendJSON(w, `{"data": {"items": [%s]}}`, numbered(2*at, 2))
		}, lines(0, 6)},
		"links in the answer": {Paging{Kind: PagingLink, Cursor: `@odata\.nextLink`}, func(w http.ResponseWriter, r *http.Request) {
			at, next := max(0, query(r, "p")), "null"
			if at < 2 {
				next = fmt.Sprintf(`"http://%s/items?p=%d"`, r.Host, at+1)
			}
			sendJSON(w, `{"@odata.nextLink": %s, "data": {"items": [%s]}}`, next, numbered(2*at, 2))
		}, lines(0, 6)},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t, Config{URL: serve(t, tt.api) + "/items", Records: "data.items", Paging: tt.paging})
			got, err := read(t, s)
			if err != nil || got != tt.want {
				t.Errorf("it gave %q, %v", got, err)
			}
		})
	}
}

// cursors is an API of three pages of two records, that ends with end.
func cursors(end string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		at := max(0, query(r, "after"))
		next := end
		if at < 4 {
			next = fmt.Sprintf(`, "next": {"c": %d}`, at+2)
		}
		sendJSON(w, `{"data": {"items": [%s]}%s}`, numbered(at, 2), next)
	}
}

// What would go on for ever is an error that names the page.
func TestEndless(t *testing.T) {
	var calls atomic.Int32
	for name, tt := range map[string]struct {
		paging Paging
		api    http.HandlerFunc
		says   string
	}{
		"the same page": {Paging{Kind: PagingPage, Param: "page"}, func(w http.ResponseWriter, _ *http.Request) {
			sendJSON(w, `[%s]`, numbered(0, 2))
		}, "page 2 is the same"},
		"the same cursor": {Paging{Kind: PagingCursor, Param: "after", Cursor: "c"}, func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, `{"items": [%s], "c": "x"}`, numbered(int(calls.Add(1)), 2))
		}, "page 2 names its own cursor"},
		"cursors in a circle": {Paging{Kind: PagingCursor, Param: "after", Cursor: "c"}, func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, `{"items": [%s], "c": %d}`, numbered(0, 2), (max(0, query(r, "after"))+1)%5)
		}, "goes round in a circle"},
		"a link to itself": {Paging{Kind: PagingLink}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<?p=1>; rel=next`)
			sendJSON(w, `[%s]`, numbered(int(calls.Add(1)), 2))
		}, "page 2 names itself"},
		"no end": {Paging{Kind: PagingPage, Param: "page", MaxPages: 7}, func(w http.ResponseWriter, r *http.Request) {
			sendJSON(w, `[%s]`, numbered(query(r, "page"), 1))
		}, "more than 7 pages"},
		"a link to another host": {Paging{Kind: PagingLink}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<http://other.example/?token=abcdef>; rel=next`)
			sendJSON(w, `[%s]`, numbered(0, 2))
		}, "another host, http://other.example"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{URL: serve(t, tt.api), Paging: tt.paging}
			if tt.paging.Kind == PagingCursor {
				cfg.Records = "items"
			}
			s, _ := open(t, cfg)
			_, err := read(t, s)
			sourcetest.WantError(t, err, job.Permanent, tt.says)
			if strings.Contains(err.Error(), "abcdef") {
				t.Error("it shows the query")
			}
		})
	}
}
