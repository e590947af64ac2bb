package natsauth

import "drayage/pkg/queue"

// ID is what the server knows the first user of a role by.
func (f *Files) ID(role queue.Role) string { return f.state.Users[role][0].ID }
