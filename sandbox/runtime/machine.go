package runtime

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/base/ident"
	"surety/sandbox/vm"
)

// machine is a virtual machine with a cell in it. Its guest is this binary; guest.go is its other
// half.
type machine struct {
	vm      *vm.Machine
	streams vm.Stdio
}

// guestOrder is what a guest is told to run.
type guestOrder struct {
	Spec   Spec   `json:"spec"`
	Digest string `json:"digest"` // the image must have
	Binary string `json:"binary"` // digest of this program, which the guest's is a copy of
	Key    string `json:"key"`    // public key of the seals outside
	Host   string `json:"host"`
}

// incarnateMachine boots a virtual machine and the sandbox in it.
func (v *supervisor) incarnateMachine(told *order) error {
	policy, err := compilePolicy(&v.spec)
	if err != nil {
		return err
	}
	v.policy = policy
	v.state.Policy = policyDigest(policy)
	sealed, err := v.measureImage()
	if err != nil {
		return err
	}
	config := vm.Config{ID: v.s.id, Cache: filepath.Join(v.s.host.config.Root, "vm"),
		Emulation: v.spec.Emulation, MemoryBytes: v.spec.Limits.MemoryBytes,
		CPUMillis: v.spec.Limits.CPUMillis, Log: v.log}
	if sealed != nil {
		config.Image = sealed.File()
	}
	var wire *vm.Wire
	if v.spec.Network.Mode == "stack" {
		if wire, err = vm.NewWire(); err != nil {
			return err
		}
		v.later(func() { _ = wire.Close() })
		config.Wire = wire.Guest
	}
	ctx, cancel := context.WithTimeout(context.Background(), machinePatience)
	defer cancel()
	up, err := vm.Run(ctx, config)
	if err != nil {
		return err
	}
	m := &machine{vm: up,
		streams: vm.Stdio{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}}
	v.body, v.names = m, up.SetName
	if v.collector, err = openCollector(v, told.Trail, up.Trail()); err != nil {
		return err
	}
	if wire != nil {
		_ = wire.Guest.Close() // the machine has its own
		if err := v.openGateway(wire); err != nil {
			return err
		}
	}
	binary, host, err := v.identity()
	if err != nil {
		return err
	}
	line, err := json.Marshal(guestOrder{Spec: v.spec, Digest: v.state.Image, Binary: binary,
		Key: v.key.Public().String(), Host: host})
	if err != nil {
		return errs.Wrap(err, "encode order")
	}
	return up.Create(ctx, line, m.streams)
}

// begin has been done by the machine's Create, up to the gate: what is left is to open it.
func (m *machine) begin() error { return nil }

func (m *machine) release() error { return m.vm.Start(context.Background()) }

func (m *machine) pid() int { return m.vm.PID() }

func (m *machine) wait() (int, string) {
	exit, err := m.vm.Wait(context.Background())
	if err != nil {
		return exitLost, "lost: " + err.Error()
	}
	return exit.Code, exit.Reason
}

func (m *machine) signal(signal unix.Signal, all bool) error {
	return m.vm.Kill(context.Background(), int(signal), all)
}

func (m *machine) pause() error  { return m.call(request{Op: "pause"}, nil) }
func (m *machine) resume() error { return m.call(request{Op: "resume"}, nil) }

func (m *machine) checkpoint(string, bool) error {
	return errs.New(errs.Refused, "class vm takes no snapshots")
}

// call asks the guest's cell.
func (m *machine) call(r request, into any) error {
	order, err := json.Marshal(r)
	if err != nil {
		return errs.Wrap(err, "encode request")
	}
	body, err := m.vm.Call(context.Background(), order)
	if err != nil || into == nil {
		return err
	}
	return errs.Wrap(json.Unmarshal(body, into), "answer of the guest")
}

func (m *machine) exec(p *Process, files []*os.File, began func(int32)) (int, error) {
	if p.Terminal {
		return 0, errs.New(errs.Refused, "class vm gives no terminals")
	}
	line, err := json.Marshal(p)
	if err != nil {
		return 0, errs.Wrap(err, "encode process")
	}
	return m.vm.Exec(context.Background(), line,
		vm.Stdio{Stdin: files[0], Stdout: files[1], Stderr: files[2]},
		func(process uint32) { began(int32(process)) })
}

func (m *machine) signalProcess(handle int32, signal unix.Signal) error {
	return m.vm.Signal(context.Background(), uint32(handle), int(signal))
}

func (m *machine) processes() (list []ProcessInfo, err error) {
	return list, m.call(request{Op: "processes"}, &list)
}

func (m *machine) stats() (st Stats, err error) {
	return st, m.call(request{Op: "stats"}, &st)
}

func (m *machine) trace(id ident.ID) error { return m.vm.SetTrace(context.Background(), id) }

func (m *machine) destroy() error { return m.vm.Close() }
