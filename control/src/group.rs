//! Groups of the system, for the right to change the configuration.
//!
//! Membership is taken from `/etc/passwd` and `/etc/group` by user, not from `/proc/PID/status` of the peer: a process
//! number may be another process by the time it is looked up. Groups that only a directory service knows (NSS) count when
//! they are the group the peer runs under (`sg GROUP vswitchctl ...`), which the kernel itself vouches for.

use std::fs;

/// Octets read of either file at most.
const FILE_MAX: usize = 16 << 20;

/// The number of a group.
///
/// # Errors
///
/// When there is no such group.
pub fn gid_of(group: &str) -> Result<u32, String> {
    let text = read("/etc/group")?;
    find_group(&text, group).map(|(gid, _)| gid).ok_or_else(|| format!("no group {group:?} in /etc/group (groupadd {group} makes it)"))
}

/// Whether a peer with this user and group belongs to the group named.
pub fn is_member(group: &str, uid: u32, gid: u32) -> bool {
    let (Ok(groups), Ok(users)) = (read("/etc/group"), read("/etc/passwd")) else { return false };
    is_member_of(&groups, &users, group, uid, gid)
}

fn read(file: &str) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    if text.len() > FILE_MAX { Err(format!("{file}: too long")) } else { Ok(text) }
}

fn find_group<'t>(groups: &'t str, name: &str) -> Option<(u32, &'t str)> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((gid, fields.next().unwrap_or_default()))
    })
}

fn is_member_of(groups: &str, users: &str, group: &str, uid: u32, gid: u32) -> bool {
    let Some((wanted, members)) = find_group(groups, group) else { return false };
    if gid == wanted {
        return true;
    }
    users.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, user, primary, ..] = fields[..] else { return false };
        user.parse() == Ok(uid) && (primary.parse() == Ok(wanted) || members.split(',').any(|member| member.trim() == name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "root:x:0:\nvswitch:x:990:alice,bob\nempty:x:991:\nbroken\n";
    const USERS: &str = "root:x:0:0:::\nalice:x:1000:1000:::\ncarol:x:1001:990:::\ndave:x:1002:1002:::\nbroken\n";

    #[test]
    fn members_are_listed_primary_or_running_under_it() {
        let member = |uid, gid| is_member_of(GROUPS, USERS, "vswitch", uid, gid);
        assert!(member(1000, 1000), "listed");
        assert!(member(1001, 1001), "primary group");
        assert!(member(1002, 990), "runs under the group");
        assert!(!member(1002, 1002));
        assert!(!member(4_000_000, 4_000_000), "unknown user");
        assert!(!is_member_of(GROUPS, USERS, "none", 1000, 990), "unknown group");
    }
}
