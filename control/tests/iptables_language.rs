//! The language of iptables: what is read, how it is printed, what is refused.

use dataplane::router::Family;
use dataplane::rules::Table;
use proto::iptables::Tables;

use control::iptables::command::{Outcome, run};

fn words(line: &str) -> Vec<String> {
    // The commands are those of a shell; the lexer of restore files knows the same double quotes.
    control::iptables::lex::split(line).unwrap()
}

fn family(tool: &str) -> Family {
    if tool == "ip6tables" { Family::V6 } else { Family::V4 }
}

fn command(tables: &Tables, family: Family, line: &str) -> Result<Outcome, String> {
    run(&words(line), family, tables, None, false)
}

fn change(tables: &mut Tables, family: Family, line: &str) -> Result<String, String> {
    let outcome = command(tables, family, line)?;
    if let Some(new) = outcome.tables {
        *tables = new;
    }
    Ok(outcome.text)
}

/// Every rule in `iptables/recorded.txt` is printed by `-S`, `-nL` and `-L` as the iptables it was recorded from did, and what
/// `-S` prints is read as the same rule.
#[test]
fn rules_are_printed_as_iptables_prints_them() {
    let mut lines = include_str!("iptables/recorded.txt").lines();
    let (mut count, mut wrong) = (0, Vec::new());
    while let Some(line) = lines.next() {
        let (tool, rest) = line.split_once(' ').unwrap();
        let (table, line) = rest.split_once(' ').unwrap();
        let family = family(tool);
        let expected: Vec<&str> = (0..3).map(|_| &lines.next().unwrap()[1..]).collect();
        let mut tables = Tables::default();
        change(&mut tables, family, &format!("-t {table} -N uc")).unwrap();
        if let Err(error) = change(&mut tables, family, &format!("-t {table} {line}")) {
            wrong.push(format!("{line}\n  {error}"));
            continue;
        }
        let chain = line.split(' ').nth(1).unwrap();
        for (view, expected) in [("-S", expected[0]), ("-nL", expected[1]), ("-L", expected[2])] {
            let printed = change(&mut tables, family, &format!("-t {table} {view} {chain} 1")).unwrap();
            if printed.trim_end_matches('\n') != expected {
                wrong.push(format!("{line} ({view})\n  real {expected:?}\n  ours {:?}", printed.trim_end_matches('\n')));
            }
        }
        let mut again = Tables::default();
        change(&mut again, family, &format!("-t {table} -N uc")).unwrap();
        change(&mut again, family, &format!("-t {table} {}", expected[0])).unwrap();
        assert_eq!(again, tables, "{line}");
        count += 1;
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 200, "{count}");
    assert_eq!(Table::ALL.len(), 5);
}
