package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/egress"
	"surety/sandbox/vm"
	"surety/sys/wallclock"
)

// wire gives the sandbox a network of its own, where it has one: a namespace with one device, and
// the gateway at its other end. A bundle that brings a namespace keeps it.
func (v *supervisor) wire(c *cell) error {
	oci := c.oci
	if v.spec.Network.Mode != "stack" || joins(oci) {
		return nil
	}
	ns, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		return err
	}
	v.later(func() { _ = ns.Close() })
	oci.Linux.Namespaces = append(oci.Linux.Namespaces, specs.LinuxNamespace{
		Type: specs.NetworkNamespace, Path: ns.Path()})
	if err := v.openGateway(ns.Link()); err != nil {
		return err
	}
	return nameFiles(c)
}

// joins reports whether a bundle names a network namespace that somebody has set up.
func joins(oci *specs.Spec) bool {
	for _, ns := range oci.Linux.Namespaces {
		if ns.Type == specs.NetworkNamespace && ns.Path != "" {
			return true
		}
	}
	return false
}

// openGateway starts the gateway and publishes ports through it.
func (v *supervisor) openGateway(link egress.Link) error {
	config := egress.Config{
		Link: link, Clock: wallclock.System(), Log: v.log, Names: v.names,
		Observe: func(r *sandbox.Record) {
			if err := v.collector.outside(r); err != nil {
				v.end("audit: " + err.Error())
			}
		},
	}
	if v.spec.Policy != nil && !v.spec.Learn {
		config.Policy = v.policy
	}
	gateway, err := egress.Open(config)
	if err != nil {
		return err
	}
	v.gateway = gateway
	ctx, stop := context.WithCancel(context.Background())
	v.later(func() {
		stop()
		_ = gateway.Close()
	})
	go func() {
		if err := gateway.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			v.log.Error("gateway", "error", err)
		}
	}()
	for i, p := range v.spec.Network.Ports {
		host, err := netip.ParseAddrPort(p.Host)
		if err != nil {
			return errs.New(errs.Invalid, "network.ports[%d].host: %q is not address:port", i, p.Host)
		}
		protocol := sandbox.TCP
		if p.Protocol == "udp" {
			protocol = sandbox.UDP
		}
		if _, err := gateway.Publish(protocol, host, p.Inside); err != nil {
			return errs.Wrap(err, "network.ports[%d]", i)
		}
	}
	return nil
}

// nameFiles shows the program whom to ask for names. A bundle brings its own files.
func nameFiles(c *cell) error {
	if c.spec.OCI != nil {
		return nil
	}
	has, err := c.rootHas()
	if err != nil {
		return err
	}
	a := egress.DefaultAddresses()
	for _, f := range [...]struct{ name, content string }{
		{"resolv.conf", "nameserver " + a.Gateway4.String() + "\n"},
		{"hosts", "127.0.0.1 localhost\n::1 localhost\n" + a.Sandbox4.String() + " " +
			c.spec.Hostname + "\n" + a.Host4.String() + " " + egress.HostName + "\n"},
	} {
		if !has("/etc/" + f.name) {
			continue // a directory of the host is not changed for it
		}
		path := c.file(f.name)
		if err := os.WriteFile(path, []byte(f.content), 0o644); err != nil {
			return errs.Wrap(err, "sandbox %s", c.id)
		}
		c.oci.Mounts = append(c.oci.Mounts, specs.Mount{Destination: "/etc/" + f.name, Type: "bind",
			Source: path, Options: []string{"bind", "ro"}})
	}
	return nil
}

// wireGuest gives a cell in a guest the guest's own network: the wire of the machine.
func wireGuest(c *cell, name string) error {
	if c.spec.Network.Mode == "none" || name == "" {
		return nil
	}
	if err := egress.SetUp(vm.WireMTU); err != nil {
		return err
	}
	c.oci.Linux.Namespaces = append(c.oci.Linux.Namespaces, specs.LinuxNamespace{
		Type: specs.NetworkNamespace, Path: fmt.Sprintf("/proc/%d/ns/net", os.Getpid())})
	return nameFiles(c)
}
