package guard

import (
	"context"
	"fmt"
)

// Role is what somebody may do. A higher one may do what a lower one may.
type Role int

// The roles.
const (
	Open    Role = iota // without a token
	Read                // look at everything, the raw records of rejects among it
	Operate             // give jobs and steer them
	Admin               // what can not be taken back, and profiles of the process
)

func (r Role) String() string { return [...]string{"open", "read", "operate", "admin"}[r] }

// ParseRole reads read, operate or admin.
func ParseRole(text string) (Role, error) {
	for r := Read; r <= Admin; r++ {
		if r.String() == text {
			return r, nil
		}
	}
	return Open, fmt.Errorf("there is no role %q; it is read, operate or admin", text)
}

// Who is whoever asks.
type Who struct {
	Name string // of the token; local or anyone where none is needed
	Role Role   // Open for one who is not known

	token   bool
	refusal *Refusal
}

// LoggedIn reports whether a token, or a session made with one, says who it is.
func (w Who) LoggedIn() bool { return w.token }

type whoKey struct{}

func with(ctx context.Context, w Who) context.Context { return context.WithValue(ctx, whoKey{}, w) }

// Of says who asks, in the context of a request that Guard.Handler let through.
// The zero Who may do nothing.
func Of(ctx context.Context) Who {
	w, _ := ctx.Value(whoKey{}).(Who)
	return w
}
