//! Linux in QEMU on vhost-user ports. Emulation is slow, so these run only by `./run test --qemu`, which makes the kit first
//! (tests/qemu/kit) and names its directory in `VSWITCH_QEMU`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use proto::api::Link;

use crate::lab::{Lab, lab};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A virtual machine, driven by its console.
struct Vm {
    qemu: Child,
    console: ChildStdin,
    lines: Receiver<String>,
    seen: Vec<String>,
}

/// A NIC of a virtual machine: the socket, whether QEMU makes it, and whether there are offloads.
struct Nic {
    socket: PathBuf,
    listens: bool,
    offload: bool,
}

impl Vm {
    /// Boots; NIC `i` has MAC address 52:54:00:00:`number`:`i`.
    #[track_caller]
    fn boot(lab: &Lab, number: u8, nics: &[Nic]) -> Vm {
        let kit = PathBuf::from(std::env::var_os("VSWITCH_QEMU").expect("VSWITCH_QEMU is set: use ./run test --qemu"));
        let mut command = lab.home.command(kit.join("qemu").to_str().unwrap());
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-accel", "tcg", "-m", "192", "-serial", "stdio"]);
        command.args(["-object", "memory-backend-memfd,id=memory,size=192M,share=on", "-machine", "pc,memory-backend=memory"]);
        command.arg("-kernel").arg(kit.join("kernel")).arg("-initrd").arg(kit.join("initrd"));
        // Under load the emulated timer is late, which the kernel takes for a broken one.
        command.args(["-append", "console=ttyS0 quiet panic=-1 no_timer_check"]);
        for (i, nic) in nics.iter().enumerate() {
            let connect = if nic.listens { "server=on,wait=off" } else { "reconnect=1" };
            let offload = if nic.offload {
                ""
            } else {
                ",csum=off,guest_csum=off,gso=off,host_tso4=off,host_tso6=off,host_ecn=off,guest_tso4=off,guest_tso6=off,guest_ecn=off"
            };
            command.args(["-chardev", &format!("socket,id=c{i},path={},{connect}", nic.socket.display())]);
            command.args(["-netdev", &format!("vhost-user,id=n{i},chardev=c{i}")]);
            // vectors=0: QEMU 7.2 without KVM crashes when a vhost device uses MSI-X.
            let device = format!("virtio-net-pci,netdev=n{i},mac=52:54:00:00:{number:02x}:{i:02x},romfile=,vectors=0{offload}");
            command.args(["-device", &device]);
        }
        let mut qemu = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let out = BufReader::new(qemu.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Vm { console: qemu.stdin.take().unwrap(), qemu, lines, seen: Vec::new() }
    }

    /// Waits for a line that begins with `start`; gives its rest, and the lines before it.
    #[track_caller]
    fn wait_for(&mut self, start: &str) -> (String, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = String::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                panic!("no {start:?} on the console:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return (rest.to_owned(), before);
            }
            before += &line;
            before.push('\n');
        }
    }

    #[track_caller]
    fn ready(&mut self) {
        self.wait_for("guest-ready");
    }

    /// Starts a command and does not wait for its end.
    fn type_line(&mut self, line: &str) {
        self.console.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Runs a command; whether it succeeded, and what it printed.
    #[track_caller]
    fn try_run(&mut self, line: &str) -> (bool, String) {
        self.type_line(line);
        let (status, output) = self.wait_for("status ");
        (status == "0", output)
    }

    /// Runs a command that has to succeed.
    #[track_caller]
    fn run(&mut self, line: &str) -> String {
        let (succeeded, output) = self.try_run(line);
        assert!(succeeded, "{line}\n{output}");
        output
    }

    /// Waits until an address answers.
    #[track_caller]
    fn reaches(&mut self, address: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.try_run(&format!("ping -c 2 -W 2 {address}")).0 {
            assert!(Instant::now() < deadline, "{address} does not answer");
        }
    }

    /// Sends a few megaoctets by TCP to `to` at `address`, and compares them.
    #[track_caller]
    fn sends_to(&mut self, to: &mut Vm, address: &str) {
        // The server's input stays open: nc would close the connection at its end.
        to.run("rm -f /tmp/got; (tail -f /dev/null | nc -l -p 5000 >/tmp/got; touch /tmp/done) & sleep 1; rm -f /tmp/done");
        self.run("dd if=/dev/urandom of=/tmp/sent bs=64k count=64 2>/dev/null");
        self.run(&format!("nc {address} 5000 </tmp/sent"));
        let sum = self.run("md5sum </tmp/sent");
        let deadline = Instant::now() + PATIENCE;
        while to.run("md5sum </tmp/got") != sum {
            assert!(Instant::now() < deadline, "other octets arrived than were sent");
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

#[track_caller]
fn wait_for_links(lab: &Lab) {
    let deadline = Instant::now() + PATIENCE;
    while ["a0", "a1", "b0", "b1"].iter().any(|port| lab.port(port).link != Link::Up) {
        assert!(Instant::now() < deadline, "{}", lab.ctl("show ports"));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "slow; ./run test --qemu runs it"]
fn linux_guests_use_all_of_a_vhost_user_port() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    let nics = |port: &str, listens: bool, offload: bool| {
        let socket = lab.path(port);
        lab.ctl(&format!("add-port lan {port} --vhost-user {} {}", socket.display(), if listens { "--client" } else { "--server" }));
        Nic { socket, listens, offload }
    };
    let (a, b) = ([nics("a0", false, true), nics("a1", true, true)], [nics("b0", false, true), nics("b1", false, false)]);
    let (mut a, mut b) = (Vm::boot(&lab, 1, &a), Vm::boot(&lab, 2, &b));
    let set_up = |vm: &mut Vm, host: u8| {
        vm.ready();
        for nic in 0..2 {
            vm.run(&format!("ip addr add 10.0.{nic}.{host}/24 dev eth{nic}; ip link set eth{nic} up"));
        }
        // Answers only for the addresses of the NIC that is asked: both are on one switch.
        vm.run("echo 1 | tee /proc/sys/net/ipv4/conf/*/arp_ignore >/dev/null");
    };
    set_up(&mut a, 1);
    set_up(&mut b, 2);
    wait_for_links(&lab);

    // Ping, and TCP with offloads both ways; then between NICs with and without offloads.
    for nic in 0..2 {
        a.reaches(&format!("10.0.{nic}.2"));
        a.sends_to(&mut b, &format!("10.0.{nic}.2"));
        b.sends_to(&mut a, &format!("10.0.{nic}.1"));
    }
    let features = |port: &str| lab.port(port).vhost_user.unwrap().features;
    assert!(features("b0").contains(&"host_tso4".to_owned()) && !features("b1").contains(&"csum".to_owned()));

    // A VLAN in the guests: the ports are trunks.
    for (vm, host) in [(&mut a, 1), (&mut b, 2)] {
        vm.run(&format!(
            "ip link add link eth0 name eth0.10 type vlan id 10; ip addr add 10.10.0.{host}/24 dev eth0.10; ip link set eth0.10 up"
        ));
    }
    a.reaches("10.10.0.2");
    a.sends_to(&mut b, "10.10.0.2");
    assert!(lab.fdb("lan").iter().any(|entry| entry.vlan == 10 && entry.port == "b0"));

    // The daemon is killed and starts again; the guests notice nothing but a pause.
    lab.kill_daemon();
    lab.start_daemon();
    wait_for_links(&lab);
    a.reaches("10.0.0.2");
    b.reaches("10.0.1.1");
    a.sends_to(&mut b, "10.0.0.2");

    // A guest reboots.
    b.type_line("reboot -f");
    set_up(&mut b, 2);
    wait_for_links(&lab);
    a.reaches("10.0.0.2");
    b.sends_to(&mut a, "10.0.1.1");

    // A bond in a guest goes on over its other NIC.
    a.run("ip addr flush dev eth0; ip addr flush dev eth1; ip link set eth0 down; ip link set eth1 down");
    a.run("echo active-backup >/sys/class/net/bond0/bonding/mode; echo 100 >/sys/class/net/bond0/bonding/miimon");
    a.run("echo +eth0 >/sys/class/net/bond0/bonding/slaves; echo +eth1 >/sys/class/net/bond0/bonding/slaves");
    a.run("ip addr add 10.0.0.1/24 dev bond0; ip link set bond0 up");
    a.reaches("10.0.0.2");
    let active = a.run("cat /sys/class/net/bond0/bonding/active_slave");
    a.run(&format!("ip link set {} down", active.trim()));
    a.reaches("10.0.0.2");
    assert_ne!(a.run("cat /sys/class/net/bond0/bonding/active_slave"), active);
    b.sends_to(&mut a, "10.0.0.1");
}
