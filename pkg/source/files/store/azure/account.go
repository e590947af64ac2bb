package azure

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"drayage/pkg/allow"
	"drayage/pkg/job"
	"drayage/pkg/source"
	"drayage/pkg/source/files/store"
)

// Config says which account is read and how. What it leaves out comes from the
// variables of the environment that the Azure CLI and adlfs read.
type Config struct {
	// Account is the name of the storage account; by default that of
	// AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_ACCOUNT_NAME.
	Account string
	// Endpoint is the address of the blob service, where it is not
	// https://ACCOUNT.blob.core.windows.net: of another cloud, a private network
	// or an emulator, such as http://127.0.0.1:10000/devstoreaccount1. By default
	// that of AZURE_STORAGE_SERVICE_ENDPOINT.
	Endpoint string
	// ConnectionString has account, endpoint and credentials; by default that of
	// AZURE_STORAGE_CONNECTION_STRING where Config says nothing else.
	ConnectionString string
	// AccountKey is a key of the account; by default that of AZURE_STORAGE_KEY or
	// AZURE_STORAGE_ACCOUNT_KEY.
	AccountKey string
	// SASToken is a shared access signature; by default that of
	// AZURE_STORAGE_SAS_TOKEN.
	SASToken string
	// Anonymous reads a public container without credentials. Without it, and
	// without a key or a signature, Entra ID is asked for a token as the
	// environment, a workload identity, the machine or az login allow.
	Anonymous bool
	// Seats bounds the connections; nil: unbounded.
	Seats source.Seats
	// Allow says which hosts may be reached; nil: all.
	Allow *allow.Rules
}

// Validate reports the mistakes in c, the fields below "azure", or nil.
func (c Config) Validate() source.FieldErrors {
	var all source.FieldErrors
	bad := func(field, problem, hint string) {
		all = append(all, &source.FieldError{Field: "azure." + field, Problem: problem, Hint: hint})
	}
	store.CheckEndpoint(c.Endpoint, "http://127.0.0.1:10000/devstoreaccount1", "sas_token", bad)
	if c.ConnectionString != "" {
		if _, err := parseConnection(c.ConnectionString); err != nil {
			bad("connection_string", err.Error(), "copy it from the access keys of the account")
		}
		if c.Account != "" || c.Endpoint != "" {
			bad("connection_string", "is there beside account or endpoint, which it names itself", "drop one of the two")
		}
	}
	given := 0
	for _, credential := range []bool{c.ConnectionString != "", c.AccountKey != "", c.SASToken != "", c.Anonymous} {
		if credential {
			given++
		}
	}
	if given > 1 {
		bad("account_key", "or sas_token, connection_string and anonymous: more than one of them is there", "leave one")
	}
	return all
}

// identity is an account, and as whom it is read.
type identity struct {
	endpoint  string // of the blob service
	account   string // may be "" where no key is used
	key       string
	sas       string
	anonymous bool
	from      string // where the credentials come from, for people
}

// environment is a variable of the environment, the first that is not empty.
func environment(names ...string) (value, name string) {
	for _, name := range names {
		if value := os.Getenv(name); value != "" {
			return value, name
		}
	}
	return "", ""
}

// identity finds out which account is meant, and as whom it is read. Host is that
// of an address which names one.
func (c Config) identity(host string) (identity, error) {
	text, from := c.ConnectionString, "azure.connection_string"
	if text == "" && host == "" && c.Account == "" && c.Endpoint == "" && c.AccountKey == "" && c.SASToken == "" && !c.Anonymous {
		text, from = environment("AZURE_STORAGE_CONNECTION_STRING")
	}
	if text != "" {
		who, err := parseConnection(text)
		if err != nil {
			return who, fmt.Errorf("%s %w", from, err)
		}
		who.from = from
		return who, nil
	}
	its, _ := environment("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
	who := identity{account: cmp.Or(c.Account, its), endpoint: c.Endpoint}
	switch {
	case host != "":
		who.endpoint = "https://" + host
		who.account, _, _ = strings.Cut(host, ".")
	case who.endpoint == "" && who.account == its:
		who.endpoint, _ = environment("AZURE_STORAGE_SERVICE_ENDPOINT")
	}
	if who.endpoint == "" {
		if who.account == "" {
			return who, errors.New("no storage account is named: write azure: {account: NAME}, or set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING")
		}
		who.endpoint = "https://" + who.account + ".blob.core.windows.net"
	}
	return c.credentials(who, its == "" || its == who.account)
}

// credentials adds those of the configuration or the environment, whose account
// may be another one.
func (c Config) credentials(who identity, environs bool) (identity, error) {
	switch {
	case c.Anonymous:
		who.anonymous, who.from = true, "nobody (anonymous: true)"
	case c.AccountKey != "":
		who.key, who.from = c.AccountKey, "azure.account_key"
	case c.SASToken != "":
		who.sas, who.from = c.SASToken, "azure.sas_token"
	case environs:
		if who.key, who.from = environment("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"); who.key == "" {
			who.sas, who.from = environment("AZURE_STORAGE_SAS_TOKEN")
		}
	}
	who.from = cmp.Or(who.from, "Entra ID")
	who.sas = strings.TrimPrefix(who.sas, "?")
	if who.key != "" && who.account == "" {
		return who, fmt.Errorf("%s is the key of an account that is not named: write azure: {account: NAME}", who.from)
	}
	return who, nil
}

// connect makes the client of the account.
func (who identity) connect(options *service.ClientOptions) (*service.Client, error) {
	switch {
	case who.key != "":
		key, err := service.NewSharedKeyCredential(who.account, who.key)
		if err != nil {
			return nil, fmt.Errorf("%s is no key of an account, which is base64", who.from)
		}
		return service.NewClientWithSharedKeyCredential(who.endpoint, key, options)
	case who.sas != "":
		return service.NewClientWithNoCredential(strings.TrimSuffix(who.endpoint, "/")+"/?"+who.sas, options)
	case who.anonymous:
		return service.NewClientWithNoCredential(who.endpoint, options)
	}
	entra, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("there are no usable credentials of Azure: %w", err)
	}
	return service.NewClient(who.endpoint, entra, options)
}

// The account of the emulators, whose key the world knows.
const (
	emulatorAccount  = "devstoreaccount1"
	emulatorKey      = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	emulatorEndpoint = "http://127.0.0.1:10000/" + emulatorAccount
)

// parseConnection reads a connection string. Its errors show nothing of it.
func parseConnection(text string) (identity, error) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(strings.Trim(strings.TrimSpace(text), ";"), ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return identity{}, errors.New("is no connection string: it has a part without =")
		}
		parts[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	if strings.EqualFold(parts["UseDevelopmentStorage"], "true") {
		return identity{endpoint: emulatorEndpoint, account: emulatorAccount, key: emulatorKey}, nil
	}
	who := identity{
		endpoint: parts["BlobEndpoint"], account: parts["AccountName"],
		key: parts["AccountKey"], sas: strings.TrimPrefix(parts["SharedAccessSignature"], "?"),
	}
	switch {
	case who.endpoint == "" && who.account == "":
		return who, errors.New("names neither AccountName nor BlobEndpoint")
	case who.key == "" && who.sas == "":
		return who, errors.New("has neither AccountKey nor SharedAccessSignature")
	case who.key != "" && who.account == "":
		return who, errors.New("has an AccountKey without an AccountName")
	case who.endpoint == "":
		who.endpoint = cmp.Or(parts["DefaultEndpointsProtocol"], "https") + "://" + who.account + ".blob." + cmp.Or(parts["EndpointSuffix"], "core.windows.net")
	}
	if who.key != "" {
		who.sas = ""
	}
	return who, nil
}

// clouds are the ends of the hosts of accounts. Tokens go to no other host that
// an address names.
var clouds = []string{"core.windows.net", "core.usgovcloudapi.net", "core.chinacloudapi.cn", "storage.azure.net"}

// accountHost is the host of the blob service of an address.
func accountHost(bucket string) (string, error) {
	host := strings.ToLower(bucket)
	for _, cloud := range clouds {
		account, isOne := strings.CutSuffix(host, "."+cloud)
		if !isOne {
			continue
		}
		for _, kind := range []string{".blob", ".dfs"} {
			// A zone may stand between: mine.z1.blob.storage.azure.net.
			if name, ok := strings.CutSuffix(account, kind); ok && name != "" {
				return name + ".blob." + cloud, nil
			}
		}
	}
	return "", job.Permanentf("az://%s: it is neither a container nor the host of a storage account, such as mine.blob.core.windows.net: of another host write az://CONTAINER/… and azure: {endpoint: …}", bucket)
}
