//! Patch ports as a graph of switches: loops, and how many switches a frame may have to cross.

use std::collections::{BTreeMap, VecDeque};

use dataplane::snapshot::PATCH_HOPS_MAX;
use proto::config::{Config, PortKind};

use super::problem::{Problem, Subject};

/// One link between two switches, named by its port on the first.
#[derive(Clone, Copy)]
struct Edge<'c> {
    to: &'c str,
    /// The port here and the port there, in alphabetical order: the same for both directions of a link.
    link: (&'c str, &'c str),
    port: &'c str,
}

/// Complete links only: both ends exist, are patch ports, name each other and are on different, existing switches.
fn edges(config: &Config) -> BTreeMap<&str, Vec<Edge<'_>>> {
    let mut graph: BTreeMap<&str, Vec<Edge<'_>>> = BTreeMap::new();
    for (name, port) in &config.port {
        let Some(peer_name) = port.peer.as_deref().filter(|_| port.kind == PortKind::Patch) else { continue };
        let Some((peer_name, peer)) = config.port.get_key_value(peer_name) else { continue };
        let mutual = peer.kind == PortKind::Patch && peer.peer.as_deref() == Some(name);
        let (Some(here), Some(there)) = (&port.switch, &peer.switch) else { continue };
        if mutual && here != there && config.switch.contains_key(here) && config.switch.contains_key(there) {
            let link = if name < peer_name { (name.as_str(), peer_name.as_str()) } else { (peer_name.as_str(), name.as_str()) };
            graph.entry(here).or_default().push(Edge { to: there, link, port: name });
        }
    }
    graph
}

/// Reports each loop of patch ports, and paths over more than [`PATCH_HOPS_MAX`] of them.
pub fn check(config: &Config, problems: &mut Vec<Problem>) {
    let graph = edges(config);
    let mut looped = false;
    let mut parent: BTreeMap<&str, Option<(&str, Edge<'_>)>> = BTreeMap::new();
    for start in graph.keys() {
        if parent.contains_key(start) {
            continue;
        }
        parent.insert(start, None);
        let mut queue = VecDeque::from([*start]);
        let mut reported = Vec::new();
        while let Some(here) = queue.pop_front() {
            let came_by = parent.get(here).copied().flatten().map(|(_, edge)| edge.link);
            for edge in graph.get(here).into_iter().flatten() {
                if came_by == Some(edge.link) || reported.contains(&edge.link) {
                    continue;
                }
                if parent.contains_key(edge.to) {
                    looped = true;
                    reported.push(edge.link);
                    problems.push(loop_problem(here, *edge, &parent));
                } else {
                    parent.insert(edge.to, Some((here, *edge)));
                    queue.push_back(edge.to);
                }
            }
        }
    }
    if !looped {
        hops(&graph, problems);
    }
}

/// The loop that `last` closes: both of its ends have a way to the same root.
fn loop_problem(here: &str, last: Edge<'_>, parent: &BTreeMap<&str, Option<(&str, Edge<'_>)>>) -> Problem {
    let way = |mut at: String| {
        let mut names = vec![at.clone()];
        while let Some(Some((up, _))) = parent.get(at.as_str()) {
            at = (*up).to_owned();
            names.push(at.clone());
        }
        names
    };
    let (mut left, mut right) = (way(here.to_owned()), way(last.to.to_owned()));
    // The ways end at the same root; what they share before the switch where they meet is not part of the loop.
    while left.len() > 1 && right.len() > 1 && left[left.len() - 2] == right[right.len() - 2] {
        left.pop();
        right.pop();
    }
    right.pop();
    left.reverse();
    let names: Vec<String> = left.iter().chain(&right).chain(left.first()).map(|name| format!("{name:?}")).collect();
    Problem::new(Subject::Port(last.port.to_owned()), format!("patch ports form a loop of switches: {}", names.join(" - ")))
        .at("peer")
        .help("frames would circle in it for ever; remove one of its patch links")
}

/// In a forest the longest way from each switch is found by one search from it.
fn hops(graph: &BTreeMap<&str, Vec<Edge<'_>>>, problems: &mut Vec<Problem>) {
    for start in graph.keys() {
        let mut depth = BTreeMap::from([(*start, 0usize)]);
        let mut queue = VecDeque::from([*start]);
        while let Some(here) = queue.pop_front() {
            let next = depth.get(here).copied().unwrap_or(0) + 1;
            for edge in graph.get(here).into_iter().flatten() {
                if depth.contains_key(edge.to) {
                    continue;
                }
                depth.insert(edge.to, next);
                queue.push_back(edge.to);
            }
        }
        // Each pair is met twice; the name order picks one of them.
        let far = depth.iter().filter(|(to, hops)| **hops > PATCH_HOPS_MAX && start < *to).max_by_key(|(_, hops)| **hops);
        if let Some((to, hops)) = far {
            let message = format!("{hops} patch links lie between it and switch {to:?}; a frame crosses {PATCH_HOPS_MAX} at most");
            problems.push(Problem::new(Subject::Switch((*start).to_owned()), message).help("connect the switches in a star"));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::config::{PortConfig, SwitchConfig};

    use super::*;

    fn linked(links: &[(&str, &str)]) -> Config {
        let mut config = Config::default();
        for (n, (a, b)) in links.iter().enumerate() {
            for (here, side, other) in [(a, "a", "b"), (b, "b", "a")] {
                config.switch.insert((*here).to_string(), SwitchConfig::default());
                let port = PortConfig { kind: PortKind::Patch, peer: Some(format!("p{n}{other}")), ..PortConfig::new(*here) };
                config.port.insert(format!("p{n}{side}"), port);
            }
        }
        config
    }

    fn problems(links: &[(&str, &str)]) -> Vec<String> {
        let mut problems = Vec::new();
        check(&linked(links), &mut problems);
        problems.iter().map(|p| p.message.clone()).collect()
    }

    #[test]
    fn a_tree_is_fine() {
        assert_eq!(problems(&[("a", "b"), ("a", "c"), ("c", "d")]), [""; 0]);
    }

    #[test]
    fn loops_are_named_once() {
        assert_eq!(problems(&[("a", "b"), ("b", "c"), ("c", "a")]).len(), 1);
        // The switch that is only a tail of the loop is not named.
        let text = problems(&[("a", "x"), ("x", "y"), ("y", "z"), ("z", "x")]);
        assert_eq!(text, ["patch ports form a loop of switches: \"x\" - \"y\" - \"z\" - \"x\""]);
        assert_eq!(problems(&[("a", "b"), ("a", "b")]), ["patch ports form a loop of switches: \"a\" - \"b\" - \"a\""]);
    }

    #[test]
    fn eight_hops_pass_and_nine_do_not() {
        let names = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];
        let chain: Vec<(&str, &str)> = names.windows(2).map(|pair| (pair[0], pair[1])).collect();
        assert_eq!(problems(&chain[..8]), [""; 0]);
        assert_eq!(problems(&chain), ["9 patch links lie between it and switch \"s9\"; a frame crosses 8 at most"]);
    }
}
