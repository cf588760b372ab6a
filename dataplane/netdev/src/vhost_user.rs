//! vhost-user: Ethernet frames through virtqueues in memory that is shared with a virtual machine
//! (virtio 1.2 clauses 2.7 and 5.1; QEMU's `docs/interop/vhost-user.rst`).

pub mod frontend;
