package fault_test

import (
	"errors"
	"testing"
	"time"

	"drayage/pkg/fault"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"": true, "worker.loaded=kill": true, "worker.loaded=stop@3; coordinator.verify=skip": true, "worker.pulled=1.5s": true,
		"worker.loaded": false, "worker.lunch=kill": false, "worker.loaded=explode": false,
		"worker.loaded=kill@0": false, "worker.loaded=kill@x": false,
	} {
		if _, err := fault.Parse(text); (err == nil) != ok {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
}

func TestAt(t *testing.T) {
	t.Parallel()
	var none *fault.Set
	if none.At(fault.Loaded) != nil || none.Skips(fault.Token) {
		t.Error("no faults, and yet one")
	}
	s, err := fault.Parse("worker.loaded=fail@2;worker.token=skip;worker.pulled=10ms")
	if err != nil {
		t.Fatal(err)
	}
	for pass, want := range []error{nil, fault.ErrInjected, nil} {
		if got := s.At(fault.Loaded); !errors.Is(got, want) {
			t.Errorf("pass %d: %v, want %v", pass, got, want)
		}
	}
	begin := time.Now()
	if err := s.At(fault.Pulled); err != nil || time.Since(begin) < 10*time.Millisecond {
		t.Errorf("the pause: %v after %s", err, time.Since(begin))
	}
	if s.At(fault.Token) != nil || !s.Skips(fault.Token) || s.Skips(fault.Found) {
		t.Error("skip takes away what it names, and only that")
	}
}
