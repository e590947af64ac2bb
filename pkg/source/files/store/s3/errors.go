package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// The errors of this package and what they are for a chunk, by the code that the
// server gave, or its status where an answer has no text. Each names bucket and
// key, and none a key of the credentials.
//
//	what happened                                          class      errors.Is
//	-----------------------------------------------------  ---------  -----------
//	404 NoSuchKey                                          Permanent  ErrNotFound
//	404 NoSuchBucket                                       Permanent
//	412, 416: another version, or a shorter one            Permanent  ErrChanged
//	401, 403: no right, wrong or expired credentials, a    Permanent
//	 wrong clock; an object in an archive
//	301, or a 400 that names a region: another region      Permanent
//	other 4xx                                              Permanent
//	429, 503: SlowDown and its kin, after the attempts     SlowDown
//	408, 5xx, after the attempts                           Retry
//	no such host, a certificate that is not trusted        Permanent
//	no connection, or it broke                             Retry
//	no credentials anywhere                                Permanent

// verdict is what an answer means.
type verdict struct {
	class job.Class
	is    error
	hint  string
}

const (
	whose = "look at what the credentials of %s may do: reading needs s3:GetObject, a glob also s3:ListBucket"
	wrong = "the credentials of %s are not those of this server: look at them, and at endpoint and region"
	stale = "the credentials of %s are no longer valid: renew them, and start the workers again where they come from the environment"
	moved = "the bucket is in another region: write s3: {region: %s}"
)

// verdicts are those of the codes that say more than their status.
var verdicts = map[string]verdict{
	"NoSuchKey":             {job.Permanent, store.ErrNotFound, ""},
	"NotFound":              {job.Permanent, store.ErrNotFound, ""},
	"NoSuchBucket":          {job.Permanent, nil, "there is no such bucket: look at its name, and at endpoint and region"},
	"PreconditionFailed":    {job.Permanent, store.ErrChanged, ""},
	"InvalidRange":          {job.Permanent, store.ErrChanged, ""},
	"InvalidObjectState":    {job.Permanent, nil, "the object is in an archive: restore it first"},
	"InvalidAccessKeyId":    {job.Permanent, nil, wrong},
	"SignatureDoesNotMatch": {job.Permanent, nil, wrong},
	"ExpiredToken":          {job.Permanent, nil, stale},
	"InvalidToken":          {job.Permanent, nil, stale},
	"TokenRefreshRequired":  {job.Permanent, nil, stale},
	"RequestTimeTooSkewed":  {job.Permanent, nil, "set the clock of this machine"},
	"SlowDown":              {job.SlowDown, nil, ""},
	"ServiceUnavailable":    {job.SlowDown, nil, ""},
	"RequestLimitExceeded":  {job.SlowDown, nil, ""},
	"Throttling":            {job.SlowDown, nil, ""},
	"ThrottlingException":   {job.SlowDown, nil, ""},
}

// verdictOf is the verdict of an answer, by its code and its status.
func verdictOf(code string, status int) verdict {
	if v, known := verdicts[code]; known {
		return v
	}
	switch {
	case status == http.StatusNotFound:
		return verdict{job.Permanent, store.ErrNotFound, ""}
	case status == http.StatusPreconditionFailed, status == http.StatusRequestedRangeNotSatisfiable:
		return verdict{job.Permanent, store.ErrChanged, ""}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return verdict{job.Permanent, nil, whose}
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return verdict{job.SlowDown, nil, ""}
	case status == http.StatusRequestTimeout, status >= 500:
		return verdict{job.Retry, nil, ""}
	case status >= 300:
		return verdict{job.Permanent, nil, ""}
	}
	return verdict{job.Retry, nil, ""}
}

// failure says what an error of the client means for the object at key.
func (s *Store) failure(ctx context.Context, key string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	what := fmt.Sprintf("s3://%s/%s", s.bucket, key)
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.HTTPStatusCode() == 0 {
		return unanswered(what, err)
	}
	code, said := "", ""
	var api smithy.APIError
	if errors.As(err, &api) {
		code, said = api.ErrorCode(), api.ErrorMessage()
	}
	status := answer.HTTPStatusCode()
	v := verdictOf(code, status)
	if region := answer.HTTPResponse().Header.Get("X-Amz-Bucket-Region"); region != "" && v.is == nil && region != s.region() &&
		(status == http.StatusMovedPermanently || status == http.StatusBadRequest || status == http.StatusForbidden) {
		v = verdict{job.Permanent, nil, fmt.Sprintf(moved, region)}
	}
	text := fmt.Sprintf("%s: the server answered %d %s", what, status, strings.TrimSpace(code+" "+said))
	switch {
	case v.is != nil:
		return job.WithClass(fmt.Errorf("%s: %w", what, v.is), v.class)
	case strings.Contains(v.hint, "%s"):
		text += ": " + fmt.Sprintf(v.hint, s.credentials(ctx))
	case v.hint != "":
		text += ": " + v.hint
	}
	return job.WithClass(errors.New(text), v.class)
}

// unanswered is the error of a request that got no answer.
func unanswered(what string, err error) error {
	return store.Unanswered(what, "endpoint, region and the name of the bucket (path_style: true where the endpoint has no names for buckets)", err, err)
}

// region is that of the requests.
func (s *Store) region() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return ""
	}
	return s.client.Options().Region
}

// credentials says where those of the requests come from.
func (s *Store) credentials(ctx context.Context) string {
	switch {
	case s.cfg.Anonymous:
		return "nobody (anonymous: true)"
	case s.cfg.AccessKey != "":
		return "the pipeline (access_key)"
	}
	s.mu.Lock()
	client := s.client
	s.mu.Unlock()
	if client == nil {
		return "this machine"
	}
	found, err := client.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return "this machine"
	}
	source := found.Source
	if s.cfg.Profile != "" {
		source += ", profile " + s.cfg.Profile
	}
	return source
}
