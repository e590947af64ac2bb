package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"drayage/pkg/version"
)

func (a *app) man() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages, one a verb",
		Long: `Write the manual pages of dray and its verbs into DIR, for man: dray.1, dray-run.1 and
so on. DIR is made when it is missing. SOURCE_DATE_EPOCH, when it is set, is their date.`,
		Example: "  dray man /usr/local/share/man/man1\n  dray man ./man && man ./man/dray-run.1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("making the folder of the manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "dray " + version.Version, Manual: "Drayage"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("writing the manual pages: %w", err)
			}
			if a.json {
				return a.printJSON(map[string]string{"dir": args[0]})
			}
			return nil
		},
	}
}
