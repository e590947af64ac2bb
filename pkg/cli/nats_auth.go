package cli

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"drayage/pkg/natsauth"
	"drayage/pkg/queue"
)

func (a *app) natsAuth() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "nats-auth DIR",
		Short: "Make keys, permissions and certificates for the fleet's NATS",
		Long: `Make in the folder DIR what a NATS needs to be safe for a fleet: a private
authority and a certificate for TLS, a secret for each role (coordinator, worker,
operator for the command line and scripts, reader), and nats-auth.conf, which the
server's configuration includes. It replaces nothing that is there.

The server's configuration beside it: port, jetstream {store_dir: …, sync_interval:
always}, and include "nats-auth.conf". Each of the fleet gets ca.pem and the secret
of its role, and no more; DIR/authority is for making others, and belongs on no
server. SECURITY.md says what each role may do.

With --rotate a role gets a new secret, and its old one is let in no more; with
--keep-old it is until --retire. --renew makes a new certificate for the server, by
the same authority, and writes the permissions as this dray needs them. After each
of them, have the server read its configuration again (nats-server --signal reload).`,
		Example: `  dray nats-auth secrets/nats --host nats --host nats.example.com
  dray nats-auth secrets/nats --rotate worker --keep-old
  dray nats-auth secrets/nats --retire worker
  dray nats-auth secrets/nats --renew`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	var cfg natsauth.Config
	flags.StringArrayVar(&cfg.Hosts, "host", nil, "name or address of the server, as clients reach it (default localhost, 127.0.0.1 and ::1)")
	flags.StringVar((*string)(&cfg.Login), "login", string(natsauth.NKey), "how roles log in: nkey, jwt (credentials files) or password")
	flags.StringVar(&cfg.ServerDir, "server-dir", "", "DIR as the server sees it (default: its absolute path here)")
	flags.DurationVar(&cfg.Valid, "valid", 365*24*time.Hour, "how long the server's certificate is valid")
	rotate := flags.String("rotate", "", "make a new secret for this role only")
	keepOld := flags.Bool("keep-old", false, "with --rotate: the old secret is let in too, until --retire")
	retire := flags.String("retire", "", "let in none but the newest secret of this role")
	renew := flags.Bool("renew", false, "make a new certificate for the server, and write the permissions again")
	cmd.MarkFlagsMutuallyExclusive("rotate", "retire", "renew")
	for _, name := range []string{"rotate", "retire"} {
		_ = cmd.RegisterFlagCompletionFunc(name, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, role := range queue.Roles() {
				names = append(names, string(role))
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		})
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		cfg.Dir = args[0]
		if *keepOld && *rotate == "" {
			return usagef("--keep-old is for --rotate")
		}
		changed := queue.Roles()
		var files *natsauth.Files
		var err error
		switch {
		case *rotate != "", *retire != "":
			role, rerr := queue.ParseRole(*rotate + *retire)
			if rerr != nil {
				return &usageError{rerr}
			}
			changed = nil
			if *retire != "" {
				files, err = natsauth.Retire(cfg.Dir, role)
			} else {
				changed = []queue.Role{role}
				files, err = natsauth.Rotate(cfg.Dir, role, *keepOld)
			}
		case *renew:
			changed = nil
			files, err = natsauth.Renew(cfg.Dir, cfg.Hosts, cfg.Valid)
		default:
			if files, err = natsauth.Create(cfg); errors.Is(err, natsauth.ErrExists) {
				return &usageError{err}
			}
		}
		if err != nil {
			return fmt.Errorf("making the files of NATS: %w", err)
		}
		return a.printNATSAuth(files, changed)
	}
	return cmd
}

func (a *app) printNATSAuth(files *natsauth.Files, changed []queue.Role) error {
	if a.json {
		roles := map[queue.Role]any{}
		for _, role := range changed {
			roles[role] = map[string]any{"secret": files.Secret(role), "environment": files.Environment(role)}
		}
		return a.printJSON(map[string]any{"conf": files.Conf(), "ca": files.CA(), "roles": roles})
	}
	fmt.Fprintf(a.Out, "the server includes %s\n", files.Conf())
	for _, role := range changed {
		fmt.Fprintf(a.Out, "\n%s: %s\n", role, role.Does())
		for _, setting := range files.Environment(role) {
			fmt.Fprintf(a.Out, "  %s\n", setting)
		}
	}
	return nil
}
