package kernel

import (
	"encoding/json"
	"os"

	"gvisor.dev/gvisor/pkg/sentry/seccheck"

	"surety/base/errs"
	"surety/sandbox"
)

// Config is what the host tells the kernel inside.
type Config struct {
	Ring   string        // path of the ring file, made by ring.Create
	Policy []byte        // as sandbox.Compiled.Canonical gives it; empty: the zero policy
	Birth  sandbox.Birth // the first record; Snapshot set where a snapshot is restored
	Level  string        // "core" or "full" overrides the policy's; "" leaves it
	Mode   string        // "observe" or "enforce" overrides the policy's; "" leaves it
}

// sinkName is what the session's configuration calls our sink.
const sinkName = "suretyaudit"

// The keys of the sink's configuration: JSON text for all but the ring's path.
const (
	keyRing     = "ring"
	keySettings = "settings"
)

// settings is the rest of Config on its way to the kernel inside.
type settings struct {
	Policy []byte        `json:"policy"`
	Birth  sandbox.Birth `json:"birth"`
	Level  string        `json:"level,omitempty"`
	Mode   string        `json:"mode,omitempty"`
}

// InitConfig writes the file at path that gVisor's configuration names as PodInitConfig, and makes
// this process able to start sandboxes with it. It is called on the host, before container.New.
// Errors: Invalid where the policy is not one; of the world for the file.
func InitConfig(path string, c Config) error {
	const op = "kernel.config"
	set := settings{Policy: c.Policy, Birth: c.Birth, Level: c.Level, Mode: c.Mode}
	if _, err := set.compile(); err != nil {
		return errs.Wrap(err, op)
	}
	inner, err := json.Marshal(set)
	if err != nil {
		return errs.As(errs.Internal, err, op)
	}
	if len(inner) > maxConfig {
		return errs.New(errs.TooLarge, "%s: %d bytes of policy, at most %d", op, len(inner), maxConfig)
	}
	outer := struct {
		Session seccheck.SessionConfig `json:"trace_session"`
	}{seccheck.SessionConfig{
		Name:   seccheck.DefaultSessionName,
		Points: points(),
		Sinks: []seccheck.SinkConfig{{Name: sinkName, Config: map[string]any{
			keyRing: c.Ring, keySettings: string(inner)}}},
	}}
	data, err := json.Marshal(outer)
	if err != nil {
		return errs.As(errs.Internal, err, op)
	}
	register(&guard{})
	return errs.As(errs.Internal, os.WriteFile(path, data, 0o600), op)
}

// points are the events of gVisor's that no system call of ours sees.
func points() []seccheck.PointConfig {
	return []seccheck.PointConfig{
		{Name: "container/start", ContextFields: []string{"group_id", "container_id"}},
		{Name: "sentry/exit_notify_parent", ContextFields: []string{"thread_id", "group_id",
			"parent_thread_group_id", "credentials", "process_name"}},
	}
}
