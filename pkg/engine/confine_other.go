//go:build !linux

package engine

// ConfinementHere is how far the kernel can hold engines on this machine.
func ConfinementHere() Confinement {
	return Confinement{Reason: "engines are confined by Linux only"}
}

// become does nothing where there is no Landlock.
func (Confine) become(string, []string) error { return nil }

// onMainThread is of no consequence here.
func onMainThread() bool { return true }
