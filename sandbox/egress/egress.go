// Package egress is the far end of a sandbox's wire: the gateway that its packets reach, and the
// only way out of it.
//
// Think of a home router in user space. The sandbox has one network device; what it sends there
// arrives here as Ethernet frames (Link). A network stack of our own (gVisor's, so no packet of the
// sandbox is ever parsed by the host's kernel as a packet) ends each connection, asks the policy,
// and opens a second connection from the host with an ordinary socket. No route, firewall rule or
// forwarding switch of the host changes, and nothing here needs a privilege beyond making the
// device.
//
// The frames come from a tap device in a network namespace made for one sandbox (Namespace), or
// over a unix socket from a virtual machine monitor (NewStreamLink, NewDatagramLink). The gateway
// does not know which.
//
// # Invariants
//
//   - A connection leaves only after the policy was asked with the name the resolver gave for its
//     address. The kernel inside asks the same policy first; this is the second door.
//   - A connection that cannot be made is answered: a reset, or an ICMP error. It never hangs.
//   - The host's own loopback is reached through one alias (Addresses.Host4, Host6, HostName) and
//     link-local addresses as they are, each only where a rule names it: a default, or a rule that
//     covers more than it, does not.
//   - A name is noted (Config.Names) before the answer that carries it is sent.
//   - Frames whose source is not the sandbox's own address are dropped.
//   - Close ends every goroutine and socket the gateway started.
//
// # Boundaries
//
// ICMP beyond the gateway, multicast, IP options, other transports than TCP and UDP: none.
// Addresses of the host other than loopback are ordinary addresses, which rules may refuse.
//
// # Concurrency
//
// Every method of Gateway may be called at any time. Config's hooks are called from many
// goroutines at once, never with a lock held. Locks are leaves: none is held while another is
// taken, nor while the stack is called.
//
// # Sources
//
// RFC 9293 (TCP), RFC 1122 and RFC 4443 (ICMP errors), RFC 1035 and RFC 6891 (DNS), RFC 4787
// section 4.3 (idle time of UDP sessions), Linux include/uapi/linux/virtio_net.h and if_tun.h.
// Decisions 0023 and 0025.
package egress
