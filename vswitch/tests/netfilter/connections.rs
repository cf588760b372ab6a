//! Connections as `conntrack -L` lists them.

use std::net::IpAddr;

use crate::describe::Names;
use crate::place::Host;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    protocol: String,
    timeout: u64,
    state: Option<String>,
    /// `src=10.0.0.1`, `sport=1`, ... of both directions, in the order of the text.
    tuple: Vec<(String, String)>,
    flags: Vec<String>,
    mark: String,
    helper: Option<String>,
}

impl Connection {
    /// Reads one line, with or without the columns of `-o extended`.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub(crate) fn parse(line: &str) -> Connection {
        let mut words = line.split_whitespace().peekable();
        if words.next_if(|word| matches!(*word, "ipv4" | "ipv6")).is_some() {
            words.next();
        }
        let protocol = words.next().unwrap_or_else(|| panic!("no protocol: {line}")).to_owned();
        words.next();
        // A flow that is offloaded or lies in the dying list has no timeout; neither happens here.
        let timeout = words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no timeout: {line}"));
        let state = words.next_if(|word| !word.contains('=') && !word.starts_with('[')).map(str::to_owned);
        let mut found = Connection { protocol, timeout, state, tuple: Vec::new(), flags: Vec::new(), mark: "0".into(), helper: None };
        for word in words {
            match word.split_once('=') {
                Some(("mark", mark)) => found.mark = mark.to_owned(),
                Some(("helper", helper)) => found.helper = Some(helper.to_owned()),
                // The number of references is an accident; the keys of GRE are 0 without a helper.
                Some(("use" | "secctx" | "packets" | "bytes" | "srckey" | "dstkey", _)) => {}
                Some((key, value)) => found.tuple.push((key.to_owned(), value.to_owned())),
                None => found.flags.push(word.to_owned()),
            }
        }
        found.flags.sort();
        found
    }

    /// The sequence it belongs to.
    pub(crate) fn slot(&self) -> Option<u16> {
        self.tuple.iter().filter(|(key, _)| key == "src" || key == "dst").find_map(|(_, value)| Host::slot(value.parse().ok()?))
    }

    /// Seconds until it is forgotten.
    pub(crate) fn timeout(&self) -> u64 {
        self.timeout
    }

    /// Everything but the timeout, with names as in the descriptions of packets.
    pub(crate) fn describe(&self, names: &mut Names) -> String {
        let mut text = self.protocol.clone();
        for part in self.state.iter().chain(&self.flags) {
            text.push(' ');
            text.push_str(part);
        }
        for (key, value) in &self.tuple {
            let named = match (key.as_str(), value.parse::<IpAddr>(), value.parse::<u16>()) {
                ("src" | "dst", Ok(address), _) => names.address(address),
                ("sport" | "dport" | "id", _, Ok(port)) => names.port(port),
                _ => value.clone(),
            };
            text.push_str(&format!(" {key}={named}"));
        }
        text.push_str(&format!(" mark={}", self.mark));
        if let Some(helper) = &self.helper {
            text.push_str(&format!(" helper={helper}"));
        }
        text
    }
}
