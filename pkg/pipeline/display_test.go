package pipeline_test

import (
	"testing"

	"drayage/pkg/pipeline"
)

func TestHideSecrets(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"password: hunter2\nuser: u":              "password: [hidden]\nuser: u",
		"  password: \"a \\\" b, c\"\n":           "  password: [hidden]\n",
		"password: ${env:PG_PASSWORD}":            "password: ${env:PG_PASSWORD}",
		"http: {headers: {Authorization: 'B x'}}": "http: {headers: {Authorization: [hidden]}}",
		`{"secret_key":"abc","region":"eu"}`:      `{"secret_key":[hidden],"region":"eu"}`,
		"s3: {access_key: A, secret_key: B}":      "s3: {access_key: [hidden], secret_key: [hidden]}",
		"url: postgres://u:pw@db:5432/x":          "url: postgres://u:[hidden]@db:5432/x",
		"url: postgres://u:${env:PW}@db/x":        "url: postgres://u:${env:PW}@db/x",
		"key_file: /run/secrets/k":                "key_file: /run/secrets/k",
		"SELECT tokens, secretary FROM chunk":     "SELECT tokens, secretary FROM chunk",
		"max_tokens: 5":                           "max_tokens: 5",
		"sas_token: sv=1&sig=x\nnkey: SUA\n":      "sas_token: [hidden]\nnkey: [hidden]\n",
	} {
		if got := pipeline.HideSecrets(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
	params := map[string]string{"db_password": "x", "since": "2026", "from": "http://a:b@c"}
	shown := pipeline.HideParams(params)
	if shown["db_password"] != "[hidden]" || shown["since"] != "2026" || shown["from"] != "http://a:[hidden]@c" || params["db_password"] != "x" {
		t.Errorf("params are shown as %v, and are %v", shown, params)
	}
	if pipeline.HideParams(nil) != nil {
		t.Error("no params became some")
	}
}
