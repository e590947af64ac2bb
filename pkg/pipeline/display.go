package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"drayage/pkg/job"
)

// A secret belongs into ${env:NAME} or ${file:PATH}, where it is in no record.
// Somebody may have written one into the file all the same, and those who may
// look at a job are more than those who may submit one.

// secretName matches the names under which secrets are written.
const secretName = `[\w-]*(?:password|passwd|secret|secret_key|access_key|account_key|private_key|api_?key|token|authorization)|nkey|sas`

var (
	secretKey   = regexp.MustCompile(`(?i)^(?:` + secretName + `)$`)
	secretValue = regexp.MustCompile(`(?im)((?:^|[\s{,"'-])(?:` + secretName + `)["']?[ \t]*:[ \t]*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'{}\[\],|>#&*][^\n,}]*)`)
	urlPassword = regexp.MustCompile(`(://[^\s:/@"']*:)([^\s@/"']+)(@)`)
)

// HideSecrets returns a pipeline's text for people: with [hidden] in the place
// of the values of keys that hold secrets, and of passwords in URLs. References
// such as ${env:NAME} stay. What is a secret under another name is not known.
func HideSecrets(text string) string {
	text = secretValue.ReplaceAllStringFunc(text, func(found string) string {
		m := secretValue.FindStringSubmatch(found)
		if strings.Contains(m[2], "${") {
			return found
		}
		return m[1] + hidden
	})
	return urlPassword.ReplaceAllStringFunc(text, func(found string) string {
		m := urlPassword.FindStringSubmatch(found)
		if strings.Contains(m[2], "${") {
			return found
		}
		return m[1] + hidden + m[3]
	})
}

// HideParams returns the values of a pipeline's params for people, likewise.
func HideParams(params map[string]string) map[string]string {
	shown := maps.Clone(params)
	for name, value := range shown {
		if shown[name] = HideSecrets(value); secretKey.MatchString(name) {
			shown[name] = hidden
		}
	}
	return shown
}

// Frozen reads the pipeline that a job froze without the values of its
// references: to be looked at, not to be run. See Thaw. Its errors are marked
// job.Permanent.
func Frozen(frozen json.RawMessage) (*Pipeline, error) {
	p := &Pipeline{}
	if err := json.Unmarshal(frozen, p); err != nil {
		return nil, job.WithClass(fmt.Errorf("reading the frozen pipeline: %w", err), job.Permanent)
	}
	return p, nil
}
