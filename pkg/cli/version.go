package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"drayage/pkg/version"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of dray",
		Long: `Print the version of dray, the commit that it was built from, the version of Go and
the platform.`,
		Example: "  dray version\n  dray version --json | jq -r .version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{
					"version": version.Version, "commit": version.Commit(), "go": runtime.Version(),
					"platform": runtime.GOOS + "/" + runtime.GOARCH,
				})
			}
			fmt.Fprintf(a.Out, "dray %s (%s, %s, %s/%s)\n", version.Version, version.Commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	}
}
