package natsauth

import (
	"crypto/rand"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nkeys"
	"golang.org/x/crypto/bcrypt"

	"drayage/pkg/queue"
)

// accountOf is the account of a role: that of the streams for the coordinator,
// and one for each other role, see queue.Role.Access.
func accountOf(role queue.Role) string {
	if role == queue.RoleCoordinator {
		return "DRAY"
	}
	return "DRAY_" + strings.ToUpper(string(role))
}

// guests are the roles that have no account of the streams.
func guests() []queue.Role {
	return slices.DeleteFunc(queue.Roles(), func(r queue.Role) bool { return r == queue.RoleCoordinator })
}

// permissions are those of a user of a role whose inboxes begin with a prefix.
func permissions(role queue.Role, inboxes string) (publish, subscribe []string) {
	a := role.Access()
	return queue.Reduce(a.Requests), append([]string{inboxes + ".>"}, queue.Reduce(a.Watches)...)
}

// configuration is the text for the server, to be included by its own.
func (f *Files) configuration() ([]byte, error) {
	var b strings.Builder
	b.WriteString("# TLS, accounts and users of Drayage's NATS: made by dray nats-auth, which\n# writes it again when a key is rotated. Include it; JetStream and all else\n# are for the file that does.\n\n")
	fmt.Fprintf(&b, "tls {\n  cert_file: %q\n  key_file: %q\n  timeout: 5\n}\n\n", path.Join(f.state.ServerDir, fileServerCert), path.Join(f.state.ServerDir, fileServerKey))
	if f.state.Login == JWT {
		err := f.trust(&b)
		return []byte(b.String()), err
	}
	b.WriteString("accounts {\n")
	for _, role := range queue.Roles() {
		fmt.Fprintf(&b, "  %s { # %s: %s\n", accountOf(role), role, role.Does())
		f.users(&b, role)
		if role == queue.RoleCoordinator {
			b.WriteString("    jetstream: enabled\n")
			exports(&b)
		} else {
			imports(&b, role)
		}
		b.WriteString("  }\n")
	}
	b.WriteString("}\n")
	return []byte(b.String()), nil
}

func (f *Files) users(b *strings.Builder, role queue.Role) {
	b.WriteString("    users: [\n")
	for _, u := range f.state.Users[role] {
		who := "nkey: " + u.ID
		if f.state.Login == Password {
			who = fmt.Sprintf("user: %q, password: %q", u.ID, u.Hash)
		}
		publish, subscribe := permissions(role, queue.InboxPrefix(u.ID))
		fmt.Fprintf(b, "      {%s, permissions: {\n", who)
		list(b, "publish", publish)
		list(b, "subscribe", subscribe)
		b.WriteString("      }}\n")
	}
	b.WriteString("    ]\n")
}

func list(b *strings.Builder, name string, subjects []string) {
	fmt.Fprintf(b, "        %s: [\n", name)
	for _, s := range subjects {
		fmt.Fprintf(b, "          %s\n", strconv.Quote(s))
	}
	b.WriteString("        ]\n")
}

// exports lets each account have what its role needs of that of the streams.
func exports(b *strings.Builder) {
	b.WriteString("    exports: [\n")
	export := func(kind, more string, of func(queue.Access) []string) {
		to := map[string][]string{}
		for _, role := range guests() {
			for _, s := range queue.Reduce(of(role.Access())) {
				to[s] = append(to[s], accountOf(role))
			}
		}
		var subjects []string
		for s := range to {
			subjects = append(subjects, s)
		}
		slices.Sort(subjects)
		for _, s := range subjects {
			fmt.Fprintf(b, "      {%s: %q%s, accounts: [%s]}\n", kind, s, more, strings.Join(to[s], ", "))
		}
	}
	// A pull or a read of many messages has several answers.
	export("service", ", response_type: stream", func(a queue.Access) []string { return a.Requests })
	export("stream", "", func(a queue.Access) []string { return a.Watches })
	b.WriteString("    ]\n")
}

func imports(b *strings.Builder, role queue.Role) {
	from := accountOf(queue.RoleCoordinator)
	b.WriteString("    imports: [\n")
	for _, s := range queue.Reduce(role.Access().Requests) {
		fmt.Fprintf(b, "      {service: {account: %s, subject: %q}}\n", from, s)
	}
	for _, s := range queue.Reduce(role.Access().Watches) {
		fmt.Fprintf(b, "      {stream: {account: %s, subject: %q}}\n", from, s)
	}
	b.WriteString("    ]\n")
}

func newKey() (user, []byte, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return user{}, nil, err
	}
	defer pair.Wipe()
	id, err := pair.PublicKey()
	if err != nil {
		return user{}, nil, err
	}
	seed, err := pair.Seed()
	return user{ID: id}, append(seed, '\n'), err
}

func newPassword(role queue.Role) (user, []byte, error) {
	secret := []byte(rand.Text())
	// A random secret of 130 bits needs no slow hash; the least keeps a fleet
	// that connects all at once from being held up.
	hash, err := bcrypt.GenerateFromPassword(secret, bcrypt.MinCost)
	return user{ID: string(role), Hash: string(hash)}, append(secret, '\n'), err
}
