package natsauth

import (
	"fmt"
	"path"
	"strings"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"drayage/pkg/queue"
)

// The seeds that sign, in the folder of the authority, with JWT only.
const (
	seedOperator = "authority/operator.seed"
	seedSystem   = "authority/system.seed"
)

func seedAccount(role queue.Role) string { return path.Join("authority", string(role)+"-account.seed") }

// seedSigner is what signs the users of a role.
func seedSigner(role queue.Role) string { return path.Join("authority", string(role)+"-signer.seed") }

// makeAccounts makes the keys of the operator and of the accounts, with JWT.
func (f *Files) makeAccounts() error {
	if f.state.Login != JWT {
		return nil
	}
	make := func(name string, prefix nkeys.PrefixByte) error {
		pair, err := nkeys.CreatePair(prefix)
		if err != nil {
			return err
		}
		defer pair.Wipe()
		seed, err := pair.Seed()
		if err != nil {
			return err
		}
		return f.put(name, append(seed, '\n'), 0o600)
	}
	if err := make(seedOperator, nkeys.PrefixByteOperator); err != nil {
		return err
	}
	if err := make(seedSystem, nkeys.PrefixByteAccount); err != nil {
		return err
	}
	signer, operator, err := f.pair(seedOperator)
	if err != nil {
		return err
	}
	defer signer.Wipe()
	_, system, err := f.pair(seedSystem)
	if err != nil {
		return err
	}
	top := jwt.NewOperatorClaims(operator)
	top.Name, top.SystemAccount = "dray", system
	if f.state.Trusted, err = encode(top, signer); err != nil {
		return err
	}
	for _, role := range queue.Roles() {
		for _, name := range []string{seedAccount(role), seedSigner(role)} {
			if err := make(name, nkeys.PrefixByteAccount); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Files) pair(name string) (pair nkeys.KeyPair, id string, err error) {
	seed, err := f.read(name)
	if err != nil {
		return nil, "", err
	}
	defer clear(seed)
	if pair, err = nkeys.FromSeed([]byte(strings.TrimSpace(string(seed)))); err != nil {
		return nil, "", fmt.Errorf("%s: %w", name, err)
	}
	id, err = pair.PublicKey()
	return pair, id, err
}

// newCredentials makes a user of a role's account. Its permissions are with the
// key that signs it, in the account: in the token they would be more than a
// server reads of a client that logs in.
func (f *Files) newCredentials(role queue.Role) (user, []byte, error) {
	signer, _, err := f.pair(seedSigner(role))
	if err != nil {
		return user{}, nil, err
	}
	defer signer.Wipe()
	_, account, err := f.pair(seedAccount(role))
	if err != nil {
		return user{}, nil, err
	}
	u, seed, err := newKey()
	if err != nil {
		return user{}, nil, err
	}
	defer clear(seed)
	claims := jwt.NewUserClaims(u.ID)
	claims.Name, claims.IssuerAccount = string(role), account
	claims.SetScoped(true)
	token, err := encode(claims, signer)
	if err != nil {
		return user{}, nil, err
	}
	creds, err := jwt.FormatUserConfig(token, seed[:len(seed)-1])
	return u, creds, err
}

// trust writes the operator and the accounts.
func (f *Files) trust(b *strings.Builder) error {
	signer, _, err := f.pair(seedOperator)
	if err != nil {
		return err
	}
	defer signer.Wipe()
	_, system, err := f.pair(seedSystem)
	if err != nil {
		return err
	}
	ids, signers := map[queue.Role]string{}, map[queue.Role]string{}
	for _, role := range queue.Roles() {
		if _, ids[role], err = f.pair(seedAccount(role)); err != nil {
			return err
		}
		if _, signers[role], err = f.pair(seedSigner(role)); err != nil {
			return err
		}
	}
	fmt.Fprintf(b, "operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n", f.state.Trusted, system)
	for id, claims := range f.accounts(system, ids, signers) {
		token, err := encode(claims, signer)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "  %s: %s # %s\n", id, token, claims.Name)
	}
	b.WriteString("}\n")
	return nil
}

func (f *Files) accounts(system string, ids, signers map[queue.Role]string) map[string]*jwt.AccountClaims {
	all := map[string]*jwt.AccountClaims{system: jwt.NewAccountClaims(system)}
	all[system].Name = "SYS"
	var services, streams []string
	for _, role := range queue.Roles() {
		a := jwt.NewAccountClaims(ids[role])
		a.Name = accountOf(role)
		for _, id := range f.state.Revoked[role] {
			a.Revoke(id)
		}
		scope := jwt.NewUserScope()
		scope.Key, scope.Role = signers[role], string(role)
		publish, subscribe := permissions(role, queue.InboxPrefix("")+"{{subject()}}")
		scope.Template.Pub.Allow.Add(publish...)
		scope.Template.Sub.Allow.Add(subscribe...)
		a.SigningKeys.AddScopedSigner(scope)
		all[ids[role]] = a
		if role == queue.RoleCoordinator {
			a.Limits.JetStreamLimits = jwt.JetStreamLimits{
				MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit, MaxAckPending: jwt.NoLimit,
			}
			continue
		}
		requests, watches := queue.Reduce(role.Access().Requests), queue.Reduce(role.Access().Watches)
		services, streams = append(services, requests...), append(streams, watches...)
		for _, s := range requests {
			a.Imports.Add(&jwt.Import{Name: s, Subject: jwt.Subject(s), Account: ids[queue.RoleCoordinator], Type: jwt.Service})
		}
		for _, s := range watches {
			a.Imports.Add(&jwt.Import{Name: s, Subject: jwt.Subject(s), Account: ids[queue.RoleCoordinator], Type: jwt.Stream})
		}
	}
	// The server knows these accounts only, and what they import is signed: so an
	// export needs not say to whom.
	owner := all[ids[queue.RoleCoordinator]]
	for _, s := range queue.Reduce(services) {
		owner.Exports.Add(&jwt.Export{Name: s, Subject: jwt.Subject(s), Type: jwt.Service, ResponseType: jwt.ResponseTypeStream})
	}
	for _, s := range queue.Reduce(streams) {
		owner.Exports.Add(&jwt.Export{Name: s, Subject: jwt.Subject(s), Type: jwt.Stream})
	}
	return all
}

// encode signs claims that are valid.
func encode(claims jwt.Claims, signer nkeys.KeyPair) (string, error) {
	var found jwt.ValidationResults
	claims.Validate(&found)
	if errs := found.Errors(); len(errs) > 0 {
		return "", fmt.Errorf("a token that NATS would refuse: %w", errs[0])
	}
	return claims.Encode(signer)
}
