package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"drayage/pkg/job"
	"drayage/pkg/source/files/store"
)

// The errors of this package and what they are for a chunk, by the code that the
// server gave, or its status where an answer has none. Each names container and
// key, and shows no key, signature or token.
//
//	what happened                                          class      errors.Is
//	-----------------------------------------------------  ---------  -----------
//	404 of an object; a folder                             Permanent  ErrNotFound
//	404 ContainerNotFound                                  Permanent
//	412, or another ETag came: another version             Permanent  ErrChanged
//	401, 403: no right, a key or signature that is not     Permanent
//	 valid, a network that is not let in
//	409: no public access, an object in the archive        Permanent
//	other 3xx and 4xx                                      Permanent
//	429, 503, after the attempts                           SlowDown
//	408, other 5xx, after the attempts                     Retry
//	an answer that is not what was asked for               Retry
//	no such host, a certificate that is not trusted        Permanent
//	no connection, or it broke                             Retry
//	no account, no credentials anywhere                    Permanent
//	Entra ID gives no token                                Permanent
//	 it fails itself (5xx)                                 Retry

const (
	role    = "give the identity the role Storage Blob Data Reader of the account or the container"
	invalid = "the key or signature is not valid for this account, or has ended: renew it, and look at the clock of this machine"
	fenced  = "the key is not of this account, the account does not let this network in, or the signature does not allow it: look at its firewall and at the services and kinds of resource of the signature"
)

// hints are those of the codes of 4xx that say more than their status.
var hints = map[string]string{
	"AuthenticationFailed":            invalid,
	"InvalidAuthenticationInfo":       invalid,
	"AuthorizationPermissionMismatch": role + ", or a signature the rights to read and to list",
	"InsufficientAccountPermissions":  role,
	"AuthorizationFailure":            fenced,
	"AuthorizationProtocolMismatch":   "the signature is for https only",
	"AuthorizationSourceIPMismatch":   fenced,
	"AuthorizationServiceMismatch":    fenced,
	"AuthorizationResourceMismatch":   fenced,
	"KeyBasedAuthenticationNotPermitted": "the account does not take keys: drop the key, so that Entra ID is asked, and " +
		role,
	"NoAuthenticationInformation": "the container is not public: credentials are needed",
	"PublicAccessNotPermitted":    "the account lets nobody read without credentials: drop azure.anonymous",
	"ContainerNotFound":           "there is no such container: look at its name, and at the account",
	"ContainerBeingDeleted":       "the container is being deleted",
	"AccountIsDisabled":           "the account is disabled",
	"BlobArchived":                "the object is in the archive: rehydrate it first",
	"BlobBeingRehydrated":         "the object is in the archive and not yet rehydrated: wait for it",
	"FeatureVersionMismatch":      "the server does not know this version of the protocol",
	"InvalidHeaderValue":          "the server may not know this version of the protocol",
}

// failure says what an error of the client means for the object that what names.
func (s *Store) failure(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	s.mu.Lock()
	who := s.who
	s.mu.Unlock()
	var answer *azcore.ResponseError
	var entra *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &entra):
		return tokenless(what, entra.RawResponse, err)
	case errors.As(err, &answer):
		return refused(what, answer.StatusCode, answer.ErrorCode, who)
	}
	if errors.As(err, new(interface{ NonRetriable() })) {
		// No credentials at all, a token that must not travel over http.
		return job.Permanentf("%s: no request can be made: %s: write azure: {anonymous: true} for a public container, or name credentials", what, store.Clip(who.hide(err).Error(), excerpt))
	}
	return store.Unanswered(what, "the name of the account, and at azure.endpoint", who.hide(err), err)
}

// refused is what an answer means.
func refused(what string, status int, code string, who identity) error {
	text := strings.TrimSpace(fmt.Sprintf("the server answered %d %s", status, code))
	hint := hints[code]
	switch {
	case status == http.StatusNotFound && hint == "":
		return job.Permanentf("%s: %w", what, store.ErrNotFound)
	case status == http.StatusPreconditionFailed:
		return job.Permanentf("%s: %w", what, store.ErrChanged)
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return job.WithClass(fmt.Errorf("%s: %s", what, text), job.SlowDown)
	case status == http.StatusRequestTimeout, status >= http.StatusInternalServerError, status < http.StatusMultipleChoices:
		return job.Retryf("%s: %s", what, text)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		if hint == "" {
			hint = role + ", or look at the key or signature"
		}
		text += fmt.Sprintf(" to credentials from %s", who.from)
	}
	if hint != "" {
		text += ": " + hint
	}
	return job.Permanentf("%s: %s", what, text)
}

// tokenless is the error of an Entra ID that gives no token.
func tokenless(what string, answer *http.Response, err error) error {
	class, status := job.Permanent, ""
	if answer != nil {
		status = fmt.Sprintf(", it answered %d", answer.StatusCode)
		if answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests {
			class = job.Retry
		}
	}
	// Below a line of dashes is the answer as it came.
	said, _, _ := strings.Cut(err.Error(), "----")
	return job.WithClass(fmt.Errorf("%s: Entra ID gives no token%s: %s: look at AZURE_TENANT_ID, AZURE_CLIENT_ID and its kin, at the identity of the machine, or run az login",
		what, status, store.Clip(said, excerpt)), class)
}

// hide returns err, or its text without what is secret.
func (who identity) hide(err error) error {
	text := err.Error()
	for _, secret := range []string{who.key, who.sas, signature(who.sas)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "***")
			text = strings.ReplaceAll(text, url.QueryEscape(secret), "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// signature is the secret part of a shared access signature.
func signature(sas string) string {
	values, err := url.ParseQuery(sas)
	if err != nil {
		return ""
	}
	return values.Get("sig")
}

const excerpt = 600 // of a text of the client in ours
