package rest

import (
	"fmt"
	"net/http"
	"testing"

	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/sourcetest"
)

// An API that answers alike each time keeps all promises of a source.
func TestSuite(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from, to, at := query(r, "from"), query(r, "to"), query(r, "at")
		sendJSON(w, `[%s]`, numbered(from+at, max(0, min(7, to-from-at))))
	}) + "?from={from}&to={to}&token=tok-12345"
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprintf("[%d]", i))
	}
	sourcetest.Run(t, sourcetest.Case{
		New: func() (source.Source, error) {
			return New(Config{
				URL: url, Bearer: "sesame-open", Paging: Paging{Kind: PagingOffset, Param: "at"},
				Range: Range{IDs: &IDs{From: 0, To: 100, Step: 30}}, Columns: []job.Column{{Name: "id", Type: "UInt32"}},
			})
		},
		Engine: eng, Want: want, Chunks: 4, Secrets: []string{"sesame-open", "tok-12345"},
	})
}
