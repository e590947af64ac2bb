package api

import (
	"html/template"
	"net/http"

	"drayage/coordinator/api/guard"
)

// plainLogin is the form of a login where there is no page.
//
//nolint:gochecknoglobals // a constant
var plainLogin = template.Must(template.New("login").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Drayage: log in</title></head>
<body><main><h1>Drayage</h1>
{{with .Refused}}<p role="alert">{{.Detail}}. {{.Hint}}.</p>{{end}}
<form method="post" action="/login">
<input type="hidden" name="next" value="{{.Next}}">
<p><label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label></p>
<p><button>Log in</button></p>
</form></main></body></html>
`))

func (s *Server) loginPage(w http.ResponseWriter, r *http.Request, next string, refused *guard.Refusal) {
	next = guard.LocalPath(next)
	if s.LoginPage != nil {
		s.LoginPage(w, r, next, refused)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if refused != nil {
		w.WriteHeader(refused.Status)
	}
	_ = plainLogin.Execute(w, struct { // to a client that may be gone
		Next    string
		Refused *guard.Refusal
	}{next, refused})
}
