//! Why a device, a namespace or a watch could not be opened.

use std::fmt;
use std::io;

/// Why something could not be opened. The text is complete in itself: it names the call, the thing, the cause and, where
/// there is one, the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network namespace cannot be entered, or its name is none.
    #[error("network namespace \"{name}\": {}{}", Cause(source), Remedy(remedy))]
    Netns {
        /// As the user wrote it.
        name: String,
        /// What the operating system says.
        source: io::Error,
        /// What to do, or empty.
        remedy: String,
    },
    /// There is no interface with this name in the namespace.
    #[error("interface \"{interface}\"{}: no such interface", Place(netns))]
    NoSuchInterface {
        /// Its name.
        interface: String,
        /// The namespace; `None` is our own.
        netns: Option<String>,
    },
    /// A TAP was to be created, and there is an interface with its name.
    #[error("interface \"{interface}\"{} exists already (remove it: ip link del {interface}; or choose another name)", Place(netns))]
    Exists {
        /// Its name.
        interface: String,
        /// The namespace; `None` is our own.
        netns: Option<String>,
    },
    /// The interface carries no Ethernet frames.
    #[error(
        "interface \"{interface}\": link type {} carries no Ethernet frames (attach an Ethernet interface, or give its owner a veth or TAP)",
        LinkType(*link_type)
    )]
    NotEthernet {
        /// Its name.
        interface: String,
        /// `ARPHRD_*` (`include/uapi/linux/if_arp.h`).
        link_type: u16,
    },
    /// The options contradict each other or what a device can do.
    #[error("interface \"{interface}\": {why}")]
    Refused {
        /// Its name.
        interface: String,
        /// Which option, and what to do.
        why: String,
    },
    /// The socket of a vhost-user port cannot be made.
    #[error("vhost-user socket \"{path}\": {call}: {}", Cause(source))]
    Socket {
        /// Its path.
        path: String,
        /// What was tried.
        call: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// A system call failed.
    #[error("interface \"{interface}\": {call}: {}{}", Cause(source), Remedy(remedy))]
    System {
        /// Name of the interface it was for.
        interface: String,
        /// What was tried.
        call: &'static str,
        /// What the operating system says.
        source: io::Error,
        /// What to do, or empty.
        remedy: String,
    },
    /// The links of a namespace cannot be read or watched.
    #[error("links{}: {call}: {}", Place(netns), Cause(source))]
    Links {
        /// The namespace; `None` is our own.
        netns: Option<String>,
        /// What was tried.
        call: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

impl Error {
    /// A failed system call on `interface`, with the remedy that `errno` suggests.
    pub(crate) fn system(interface: &str, call: &'static str, source: impl Into<io::Error>) -> Error {
        let source = source.into();
        let remedy = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) if call.contains("AF_PACKET") => "needs CAP_NET_RAW",
            Some(libc::EPERM | libc::EACCES) => "needs CAP_NET_ADMIN",
            Some(libc::ENOMEM | libc::ENOBUFS) => "not enough memory in the kernel",
            _ => "",
        };
        Error::System { interface: interface.into(), call, source, remedy: remedy.into() }
    }
}

/// An [`io::Error`] without the `(os error N)` of the standard library, and with what to do when there are no descriptors left.
struct Cause<'a>(&'a io::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.split(" (os error ").next().unwrap_or(&text))?;
        match self.0.raw_os_error() {
            Some(libc::EMFILE) => f.write_str(" (the limit of open files is reached: raise LimitNOFILE or ulimit -n)"),
            Some(libc::ENFILE) => f.write_str(" (the system's limit of open files is reached: raise fs.file-max)"),
            _ => Ok(()),
        }
    }
}

struct Remedy<'a>(&'a str);

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

struct Place<'a>(&'a Option<String>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(name) => write!(f, " in network namespace \"{name}\""),
        }
    }
}

/// A link type as people read it: `loopback (772)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkType(pub u16);

impl fmt::Display for LinkType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // include/uapi/linux/if_arp.h
        let name = match self.0 {
            1 => "Ethernet",
            24 => "IEEE 1394",
            32 => "InfiniBand",
            280 => "CAN",
            512 => "PPP",
            768 => "IPIP tunnel",
            769 => "IPv6 tunnel",
            772 => "loopback",
            776 => "SIT tunnel",
            778 => "GRE tunnel",
            801..=803 => "IEEE 802.11",
            804 => "IEEE 802.15.4",
            805 => "IEEE 802.15.4 monitor",
            823 => "GRE tunnel over IPv6",
            824 => "netlink monitor",
            825 => "6LoWPAN",
            826 => "vsock monitor",
            0xfffe => "none/tun",
            _ => "unknown",
        };
        write!(f, "{name} ({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_thing_and_the_remedy() {
        let error = Error::system("eth1", "open AF_PACKET socket", io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(error.to_string(), "interface \"eth1\": open AF_PACKET socket: Operation not permitted (needs CAP_NET_RAW)");
        let error = Error::NotEthernet { interface: "lo".into(), link_type: 772 };
        assert!(error.to_string().starts_with("interface \"lo\": link type loopback (772) carries no Ethernet frames"));
        let error = Error::NoSuchInterface { interface: "eth1".into(), netns: Some("blue".into()) };
        assert_eq!(error.to_string(), "interface \"eth1\" in network namespace \"blue\": no such interface");
    }

    #[test]
    fn link_types_have_names() {
        assert_eq!(LinkType(32).to_string(), "InfiniBand (32)");
        assert_eq!(LinkType(65534).to_string(), "none/tun (65534)");
        assert_eq!(LinkType(999).to_string(), "unknown (999)");
    }
}
