package cli

import "github.com/spf13/cobra"

// Tree is the tree of verbs, with nothing behind it.
func Tree() *cobra.Command { return new(app).root() }
