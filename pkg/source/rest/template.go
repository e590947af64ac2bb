package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// template is a text with placeholders such as {from}.
type template struct{ text string }

func newTemplate(text string) template { return template{text} }

// fill puts the escaped values in the place of their names.
func fill(text string, values map[string]string, escape func(string) string) string {
	pairs := make([]string, 0, 2*len(values))
	for name, v := range values {
		pairs = append(pairs, "{"+name+"}", escape(v))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// url is the address with values put in, each escaped as its place demands. A
// value never changes the host.
func (t template) url(values map[string]string) (*url.URL, error) {
	path, query, asked := strings.Cut(t.text, "?")
	scheme, rest, _ := strings.Cut(path, "://")
	host, path, slashed := strings.Cut(rest, "/")
	if strings.ContainsAny(host, "{}") {
		return nil, fmt.Errorf("a placeholder stands in the host")
	}
	text := scheme + "://" + host
	if slashed {
		text += "/" + fill(path, values, url.PathEscape)
	}
	if asked {
		text += "?" + fill(query, values, url.QueryEscape)
	}
	return url.Parse(text)
}

// body is the text with values put in, for a Content-Type.
func (t template) body(values map[string]string, contentType string) string {
	if strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		return fill(t.text, values, url.QueryEscape)
	}
	return fill(t.text, values, func(v string) string {
		quoted, _ := json.Marshal(v) // a string always encodes
		return string(quoted[1 : len(quoted)-1])
	})
}
