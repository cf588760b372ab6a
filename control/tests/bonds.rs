//! Bonds in a whole switch in one process: what the controller makes of events and what it does for the agents. The rules
//! of the agents themselves are tested with them.

mod support;

use std::time::Duration;

use dataplane::memory::MemoryFrame;
use proto::api::{Event, Filter, Link, SetActive};
use proto::bond_status::BondInfo;
use support::{Bench, FakeDevices, FakeStore, eventually, frame};

const GUEST: &str = "02:00:00:00:00:01";
const STATION: &str = "02:00:00:00:00:02";
const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";

/// A switch with a guest and a bond of eth0 and eth1 with these options.
fn config(options: &str) -> String {
    format!(
        "[switch.lan]\n[port.guest]\nswitch = \"lan\"\n[port.up]\nswitch = \"lan\"\nkind = \"bond\"\n[port.up.bond]\n{options}\n\
         [port.up.member.eth0]\n[port.up.member.eth1]\n"
    )
}

fn bench(options: &str) -> Bench {
    let devices = FakeDevices::default();
    for name in ["eth0", "eth1", "eth2"] {
        devices.add_netdev(name);
    }
    let mut bench = Bench::start_with(devices, FakeStore::default(), "").unwrap();
    bench.apply(&config(options)).unwrap();
    bench.devices.log();
    bench
}

trait BondBench {
    fn bond(&self) -> BondInfo;
    fn active(&self) -> Option<String>;
    fn carrier(&mut self, name: &str, up: bool);
    fn leaves_by(&self, members: &[&str]) -> Vec<String>;
    fn nothing_at(&self, port: &str) -> bool;
    fn arrive(&self, port: &str, octets: Vec<u8>);
    fn texts(&mut self) -> Vec<String>;
}

impl BondBench for Bench {
    fn bond(&self) -> BondInfo {
        let filter = Filter { port: Some("up".into()), ..Filter::default() };
        self.controller.bond_infos(&filter, dataplane::clock::Clock::now(&self.clock)).remove(0)
    }

    fn active(&self) -> Option<String> {
        self.bond().options.active_slave
    }

    fn carrier(&mut self, name: &str, up: bool) {
        self.devices.carrier(name, up);
        self.controller.poll_devices(dataplane::clock::Clock::now(&self.clock));
    }

    /// Sends a broadcast from the guest and waits until it has left; gives the members it left by.
    fn leaves_by(&self, members: &[&str]) -> Vec<String> {
        let wanted = frame(BROADCAST, GUEST);
        self.send("guest", BROADCAST, GUEST);
        let mut seen = Vec::new();
        eventually(&format!("the frame leaves by {members:?}"), || {
            for member in ["eth0", "eth1", "eth2"] {
                let device = self.devices.world().devices.get(&format!("up/{member}")).cloned();
                while let Some(frame) = device.as_ref().and_then(|device| device.take()) {
                    if frame.octets == wanted {
                        seen.push(member.to_owned());
                    }
                }
            }
            (seen.len() >= members.len()).then_some(())
        });
        seen
    }

    fn nothing_at(&self, port: &str) -> bool {
        self.devices.world().devices[port].take().is_none()
    }

    fn arrive(&self, port: &str, octets: Vec<u8>) {
        assert!(self.devices.world().devices[port].inject(MemoryFrame::new(octets)));
    }

    /// What happened to the bond, in words.
    fn texts(&mut self) -> Vec<String> {
        let (events, _) = self.controller.take_events();
        let text = |event| match event {
            Event::Bond { bond, member, transition, .. } => Some(format!("{bond} {}: {transition}", member.unwrap_or_default())),
            _ => None,
        };
        events.into_iter().filter_map(text).collect()
    }
}

#[test]
fn frames_move_to_the_other_member_with_the_event_and_monitors_are_told() {
    let mut bench = bench("mode = \"active-backup\"");
    assert_eq!((bench.active().as_deref(), bench.link("up")), (Some("eth0"), Link::Up));
    assert_eq!(bench.leaves_by(&["eth0"]), ["eth0"]);
    bench.texts();
    bench.carrier("eth0", false);
    // Without time passing: the event itself moves transmission.
    assert_eq!(bench.leaves_by(&["eth1"]), ["eth1"]);
    assert_eq!(bench.texts(), ["up eth0: link up -> down", "up eth1: active member eth0 -> eth1"]);
    assert_eq!((bench.link("up/eth0"), bench.link("up")), (Link::Down, Link::Up));
    bench.carrier("eth1", false);
    assert_eq!((bench.active(), bench.link("up")), (None, Link::Down));
    bench.carrier("eth0", true);
    assert_eq!((bench.active().as_deref(), bench.link("up")), (Some("eth0"), Link::Up));
    let info = bench.bond();
    assert_eq!(info.members.iter().map(|member| member.link_failure_count).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_arrives_at_a_member_arrives_at_the_bond() {
    let bench = bench("mode = \"active-backup\"");
    bench.arrive("up/eth0", frame(BROADCAST, STATION));
    assert_eq!(bench.receive("guest"), frame(BROADCAST, STATION));
    bench.wait_for_fdb(1);
    assert_eq!(bench.fdb(), [(0, STATION.to_owned(), "up".to_owned())]);
    assert_eq!((bench.port("up").rx_packets, bench.port("up/eth0").rx_packets), (1, 1));
    assert_eq!(bench.port("up/eth0").vlan, "member of up");
    // At the backup it is dropped and counted at that member.
    bench.arrive("up/eth1", frame(BROADCAST, STATION));
    let drops = || bench.controller.drops(&Filter { port: Some("up/eth1".into()), ..Filter::default() });
    eventually("the frame is dropped", || drops().iter().any(|drop| drop.reason == "bond-inactive").then_some(()));
    assert!(bench.nothing_at("guest"));
}

#[test]
fn the_modes_choose_members_as_their_names_say() {
    let both = ["eth0", "eth1"];
    assert_eq!(bench("mode = \"broadcast\"").leaves_by(&both), both);
    let rr = bench("mode = \"balance-rr\"");
    let mut four: Vec<String> = (0..4).flat_map(|_| rr.leaves_by(&["one of them"])).collect();
    four.sort();
    assert_eq!(four, ["eth0", "eth0", "eth1", "eth1"]);
    let mut xor = bench("mode = \"balance-xor\"");
    let explained = xor.controller.explain_bond("up", &format!("src={GUEST},dst={BROADCAST},ethertype=0x88b5")).unwrap();
    assert_eq!(xor.leaves_by(&["one"]), explained.members);
    assert_eq!((explained.hash, explained.usable.len()), (Some(0xff ^ 0x01 ^ 0x88b5), 2));
    // The other member when one is left.
    let other = if explained.members == ["eth0"] { "eth1" } else { "eth0" };
    xor.carrier(&explained.members[0], false);
    assert_eq!(xor.leaves_by(&["other"]), [other]);
    let random = bench("mode = \"random\"");
    let mut seen: Vec<String> = (0..40).flat_map(|_| random.leaves_by(&["one of them"])).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen, both);
}

#[test]
fn devices_get_the_address_of_the_bond_and_their_own_back() {
    let mut bench = bench("mode = \"active-backup\"");
    let own: Vec<_> = bench.bond().members.iter().map(|member| member.perm_hwaddr).collect();
    assert!(own[0] != own[1] && bench.bond().mac == Some(own[0]));
    assert!(bench.bond().members.iter().all(|member| member.mac == own[0]));
    let text = config("mode = \"active-backup\"");
    bench.apply(text.trim_end_matches("[port.up.member.eth1]\n")).unwrap();
    // Its own address first, and only then the device is closed.
    assert_eq!(bench.devices.log(), [format!("set MAC of eth1 to {}", own[1]), "close eth1".to_owned()]);
    let mut follows = self::bench("mode = \"active-backup\"\nfail_over_mac = \"active\"");
    let macs: Vec<_> = follows.bond().members.iter().map(|member| member.perm_hwaddr).collect();
    follows.carrier("eth0", false);
    assert_eq!(follows.bond().mac, Some(macs[1]), "the bond takes the address of its active member");
    assert!(follows.devices.log().iter().all(|line| !line.contains("MAC")));
}

#[test]
fn a_member_whose_device_is_lost_comes_back() {
    let mut bench = bench("mode = \"active-backup\"");
    bench.devices.del_netdev("eth0");
    bench.pass(Duration::ZERO);
    assert_eq!((bench.link("up/eth0"), bench.active().as_deref()), (Link::Lost, Some("eth1")));
    assert!(bench.bond().members[0].problem.is_some());
    assert_eq!(bench.leaves_by(&["eth1"]), ["eth1"]);
    bench.devices.add_netdev("eth0");
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.link("up/eth0"), Link::Up);
    bench.controller.set_active(&SetActive { bond: "up".into(), member: Some("eth0".into()) }, u64::MAX / 2).unwrap();
    assert_eq!(bench.leaves_by(&["eth0"]), ["eth0"]);
}

#[test]
fn a_change_that_cannot_open_a_member_changes_nothing() {
    let mut bench = bench("mode = \"active-backup\"");
    bench.devices.world().refuse.insert("up/eth2".into());
    let more = config("mode = \"broadcast\"") + "[port.up.member.eth2]\n";
    assert!(bench.apply(&more).unwrap_err().contains("port \"up/eth2\": open eth2: Operation not permitted"));
    assert_eq!((bench.bond().options.mode.name(), bench.bond().members.len()), ("active-backup", 2));
    assert_eq!(bench.leaves_by(&["eth0"]), ["eth0"]);
    bench.devices.world().refuse.clear();
    assert_eq!(bench.apply(&more).unwrap().changes, ["bond \"up\": mode active-backup -> broadcast", "add member \"eth2\" to bond \"up\""]);
    assert_eq!(bench.leaves_by(&["eth0", "eth1", "eth2"]), ["eth0", "eth1", "eth2"]);
    assert_eq!(bench.bond().members.iter().map(|member| member.slot).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn options_change_while_the_bond_runs() {
    let mut bench = bench("mode = \"active-backup\"");
    bench.apply(&config("mode = \"active-backup\"\nprimary = \"eth1\"")).unwrap();
    assert_eq!(bench.active().as_deref(), Some("eth1"));
    bench.apply(&config("mode = \"active-backup\"\nprimary = \"eth1\"\ndowndelay = 300")).unwrap();
    bench.carrier("eth1", false);
    assert_eq!(bench.active().as_deref(), Some("eth1"), "downdelay runs");
    bench.pass(Duration::from_millis(200));
    assert_eq!(bench.bond().members[1].mii_status, "going down");
    bench.pass(Duration::from_millis(150));
    assert_eq!(bench.active().as_deref(), Some("eth0"));
    bench.apply(&config("mode = \"balance-xor\"\nmin_links = 2")).unwrap();
    assert_eq!(bench.link("up"), Link::Down, "two members are wanted");
    bench.carrier("eth1", true);
    assert_eq!(bench.link("up"), Link::Up);
}

#[test]
fn the_active_member_can_be_chosen() {
    let mut bench = bench("mode = \"active-backup\"");
    let mut choose = |member: Option<&str>| {
        let request = SetActive { bond: "up".into(), member: member.map(Into::into) };
        bench.controller.set_active(&request, 2_000_000_000).map(|changed| changed.changes)
    };
    assert_eq!(choose(Some("eth1")).unwrap(), ["bond \"up\": active member eth0 -> eth1"]);
    assert_eq!(choose(Some("eth1")).unwrap(), [""; 0]);
    assert!(choose(Some("eth7")).unwrap_err().contains("no member"));
    bench.carrier("eth0", false);
    let request = |bond: &str, member: &str| SetActive { bond: bond.into(), member: Some(member.into()) };
    assert!(bench.controller.set_active(&request("up", "eth0"), 2_000_000_000).unwrap_err().contains("must be up"));
    assert!(bench.controller.set_active(&request("guest", "eth0"), 2_000_000_000).unwrap_err().contains("no bond"));
    bench.apply(&config("mode = \"balance-xor\"")).unwrap();
    assert!(bench.controller.set_active(&request("up", "eth1"), 2_000_000_000).unwrap_err().contains("no active member"));
}

/// ARP for IPv4 over Ethernet (RFC 826), behind a tag perhaps.
fn is_arp_of(octets: &[u8], ip: [u8; 4], tag: Option<u16>) -> bool {
    let at = if tag.is_some() { 16 } else { 12 };
    tag.is_none_or(|vid| octets[12..16] == [0x81, 0, (vid >> 8) as u8, vid as u8])
        && octets.get(at..at + 2) == Some(&[8, 6])
        && octets.get(at + 16..at + 20) == Some(&ip)
}

#[test]
fn after_a_failover_the_network_learns_where_host_and_guests_are() {
    let mut bench = bench("mode = \"active-backup\"\nnum_grat_arp = 2");
    bench.devices.world().addresses.insert("lan".into(), vec![("10.0.0.1".parse().unwrap(), 24)]);
    let tagged = config("mode = \"active-backup\"\nnum_grat_arp = 2").replace("[port.up.bond]", "trunk = \"10\"\n[port.up.bond]");
    let tagged = tagged.replace("[port.guest]\nswitch = \"lan\"", "[port.guest]\nswitch = \"lan\"\naccess = 10");
    bench.apply(&(tagged + "[port.lan]\nswitch = \"lan\"\nkind = \"host\"\naccess = 10\n")).unwrap();
    bench.send("guest", BROADCAST, GUEST);
    bench.wait_for_fdb(2); // and the host's own
    let guest: wire::MacAddr = GUEST.parse().unwrap();
    bench.carrier("eth0", false);
    for round in 0..2 {
        let (mut arp, mut rarp) = (false, false);
        eventually(&format!("round {round}"), || {
            let device = bench.devices.world().devices["up/eth1"].clone();
            while let Some(frame) = device.take() {
                arp |= is_arp_of(&frame.octets, [10, 0, 0, 1], Some(10));
                // Reverse ARP with the guest's address as the source, as Open vSwitch sends it.
                rarp |= frame.octets[6..12] == guest.0 && frame.octets[12..18] == [0x81, 0, 0, 10, 0x80, 0x35];
            }
            (arp && rarp).then_some(())
        });
        bench.pass(Duration::from_millis(100));
    }
    bench.pass(Duration::from_millis(300));
    let device = bench.devices.world().devices["up/eth1"].clone();
    while let Some(frame) = device.take() {
        assert!(!is_arp_of(&frame.octets, [10, 0, 0, 1], Some(10)), "no third round");
    }
}

#[test]
fn groups_are_reported_again_after_a_failover() {
    for (resend, wanted) in [(2, 2), (0, 0)] {
        let mut bench = bench(&format!("mode = \"active-backup\"\nresend_igmp = {resend}"));
        // An IGMPv2 report of 239.1.2.3.
        let mut report: Vec<u8> = [[0x01, 0, 0x5e, 1, 2, 3], [2, 0, 0, 0, 0, 1]].concat();
        report.extend([8, 0, 0x46, 0, 0, 32, 0, 0, 0, 0, 1, 2, 0x43, 0x26, 10, 0, 0, 7, 239, 1, 2, 3, 0x94, 4, 0, 0]);
        report.extend([0x16, 0, 0xf9, 0xf9, 239, 1, 2, 3]);
        report.resize(60, 0);
        bench.arrive("guest", report);
        bench.receive("up/eth0");
        bench.pass(Duration::ZERO);
        bench.carrier("eth0", false);
        let device = bench.devices.world().devices["up/eth1"].clone();
        let mut seen = 0;
        let take = |seen: &mut usize| {
            while let Some(frame) = device.take() {
                *seen += usize::from(frame.octets[..6] == [0x01, 0, 0x5e, 1, 2, 3]);
            }
        };
        (0..10).for_each(|_| bench.pass(Duration::from_millis(100)));
        // A frame of the guest leaves behind all reports.
        bench.send("guest", BROADCAST, GUEST);
        eventually("the reports and what was sent after them", || {
            take(&mut seen);
            (bench.port("up/eth1").tx_packets > wanted as u64).then_some(())
        });
        take(&mut seen);
        assert_eq!(seen, wanted, "resend_igmp {resend}");
    }
}

#[test]
fn lacpdus_reach_the_agent_and_never_the_switch() {
    let mut bench = bench("mode = \"802.3ad\"\nlacp_rate = \"fast\"");
    let pdu = bench.receive("up/eth0");
    assert_eq!(pdu[..6], [0x01, 0x80, 0xc2, 0, 0, 2]);
    assert_eq!((&pdu[12..16], pdu.len()), (&[0x88, 0x09, 1, 1][..], 124));
    // What comes back is our own: counted, and of no use. A cut one likewise.
    bench.arrive("up/eth0", pdu.clone());
    bench.arrive("up/eth0", pdu[..30].to_vec());
    eventually("both are counted", || {
        bench.pass(Duration::ZERO);
        let lacp = bench.bond().members[0].lacp.clone().unwrap();
        (lacp.lacpdu_unknown >= 1 && lacp.lacpdu_rx + lacp.lacpdu_unknown >= 2).then_some(())
    });
    assert!(bench.nothing_at("guest"));
}

#[test]
fn probes_keep_a_member_up_and_their_absence_takes_it_down() {
    let mut bench = bench(
        "mode = \"active-backup\"\narp_interval = 100\narp_ip_target = [\"10.0.0.9\"]\narp_validate = \"all\"\narp_source = \"10.0.0.1\"",
    );
    let probe = |bench: &Bench, member: &str| {
        let device = bench.devices.world().devices[&format!("up/{member}")].clone();
        let mut found = None;
        while let Some(frame) = device.take() {
            found = Some(frame.octets).filter(|octets| is_arp_of(octets, [10, 0, 0, 1], None)).or(found);
        }
        found
    };
    let answer = |probe: &[u8]| {
        let mut octets = [&probe[6..12], &[2, 0, 0, 0, 0, 9], &probe[12..20], &[0, 2], &[2, 0, 0, 0, 0, 9], &probe[38..42]].concat();
        octets.extend([&probe[22..28], &probe[28..32]].concat());
        octets.resize(60, 0);
        octets
    };
    // As long as the target answers, whichever member asks is active and stays so.
    let mut asked = 0;
    for _ in 0..20 {
        bench.pass(Duration::from_millis(100));
        std::thread::sleep(Duration::from_millis(5));
        for member in ["eth0", "eth1"] {
            if let Some(probe) = probe(&bench, member) {
                asked += 1;
                bench.arrive(&format!("up/{member}"), answer(&probe));
            }
        }
        std::thread::sleep(Duration::from_millis(5));
        bench.pass(Duration::ZERO);
    }
    let active = bench.active().expect("a member is active");
    assert!(asked >= 10, "{asked} probes");
    let answered = bench.bond().members.iter().any(|member| member.arp_targets.iter().any(|target| target.answered_ms.is_some()));
    assert!(answered);
    // Silence on the active member, carrier or not.
    let mut moved = false;
    for _ in 0..20 {
        bench.pass(Duration::from_millis(100));
        moved |= bench.active().as_deref() != Some(active.as_str());
    }
    assert!(moved, "{:?}", bench.bond());
}
