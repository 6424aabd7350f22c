//! Rules of iptables-legacy that drop what interfaces forward. The kernel applies them beside those of nft, which does
//! not list them.

use std::path::{Path, PathBuf};

use which::which;

use crate::agent::tool;

/// The programs, and the files that name their tables in use.
const FAMILIES: [(&str, &str); 2] =
    [("iptables", "/proc/net/ip_tables_names"), ("ip6tables", "/proc/net/ip6_tables_names")];

/// Rules in the way of these interfaces, each with the command that helps.
pub(super) async fn in_the_way(interfaces: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (program, tables) in FAMILIES {
        if !has_filter(Path::new(tables)) {
            continue;
        }
        let Some(path) = legacy(program).await else {
            found.push(format!(
                "rules of {program}-legacy may drop what is forwarded, and {program}-legacy is not here to list \
                 them: apt install iptables"
            ));
            continue;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Rules that cannot be listed cannot be judged.
        if let Ok(rules) = tool::run(&path, &["-w", "2", "-S"], "").await {
            found.extend(interfaces.iter().filter_map(|interface| fault(&rules, &name, interface)));
        }
    }
    found
}

/// Asking the program itself would make the table.
fn has_filter(tables: &Path) -> bool {
    std::fs::read_to_string(tables).is_ok_and(|names| names.lines().any(|name| name == "filter"))
}

async fn legacy(program: &str) -> Option<PathBuf> {
    if let Ok(path) = which(format!("{program}-legacy")) {
        return Some(path);
    }
    let path = which(program).ok()?;
    let version = tool::run(&path, &["--version"], "").await.ok()?;
    (!version.contains("nf_tables")).then_some(path)
}

/// A rule that drops the packets of an interface, in the output of `iptables-legacy -S`.
fn fault(rules: &str, program: &str, interface: &str) -> Option<String> {
    let rules: Vec<Vec<&str>> = rules.lines().map(|line| line.split_whitespace().collect()).collect();
    let drops = |rule: &Vec<&str>| {
        matches!(rule[..], ["-P", "FORWARD", "DROP"] | ["-A", "FORWARD", "-j", "DROP" | "REJECT", ..])
    };
    let passes = |option: &str| rules.iter().any(|rule| lets(rule, option, interface));
    if !rules.iter().any(drops) || passes("-i") && passes("-o") {
        return None;
    }
    let has = |chain: &str| rules.iter().any(|rule| matches!(rule[..], ["-N", name] if name == chain));
    if has("ufw-user-forward") || has("ufw6-user-forward") {
        return Some(format!(
            "ufw ({program}) drops what {interface} forwards: ufw route allow in on {interface} && ufw route allow \
             out on {interface}"
        ));
    }
    let (what, chain) =
        if has("DOCKER-USER") { ("Docker", "DOCKER-USER") } else { ("a firewall", "FORWARD") };
    Some(format!(
        "{what} ({program}) drops what {interface} forwards: {program} -I {chain} -i {interface} -j ACCEPT && {program} \
         -I {chain} -o {interface} -j ACCEPT"
    ))
}

/// Whether a rule lets packets pass that come in (`-i`) or go out (`-o`) by this interface, or hands them to another
/// chain.
fn lets(rule: &[&str], option: &str, interface: &str) -> bool {
    let named = rule.windows(2).position(|pair| {
        pair[0] == option
            && (pair[1] == interface
                || pair[1].strip_suffix('+').is_some_and(|start| interface.starts_with(start)))
    });
    let negated = named.is_some_and(|at| at > 0 && rule[at - 1] == "!");
    let verdict = rule.windows(2).find(|pair| matches!(pair[0], "-j" | "-g")).map(|pair| pair[1]);
    named.is_some()
        && !negated
        && verdict.is_some_and(|verdict| !matches!(verdict, "DROP" | "REJECT" | "LOG" | "RETURN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(rules: &str) -> Option<String> {
        fault(rules, "iptables-legacy", "wg0")
    }

    #[test]
    fn each_firewall_is_named_with_its_own_command() {
        assert_eq!(look("-P INPUT DROP\n-P FORWARD ACCEPT\n-A FORWARD -i eth1 -j DROP\n"), None);
        for (rules, command) in [
            (
                "-P FORWARD DROP\n",
                "iptables-legacy -I FORWARD -i wg0 -j ACCEPT && iptables-legacy -I FORWARD -o wg0 -j ACCEPT",
            ),
            (
                "-P FORWARD ACCEPT\n-A FORWARD -j REJECT --reject-with icmp-host-prohibited\n",
                "iptables-legacy -I FORWARD -i wg0 -j ACCEPT",
            ),
            ("-P FORWARD DROP\n-N DOCKER-USER\n", "iptables-legacy -I DOCKER-USER -i wg0 -j ACCEPT"),
            ("-P FORWARD DROP\n-N ufw-user-forward\n", "ufw route allow in on wg0"),
        ] {
            let found = look(rules).unwrap_or_default();
            assert!(found.contains(command), "{rules}: {found}");
        }
    }

    #[test]
    fn a_command_that_was_run_ends_the_complaint() {
        let begin = "-P FORWARD DROP\n-A FORWARD -i wg0 -j ACCEPT\n";
        assert!(look(begin).is_some(), "only one direction");
        assert_eq!(look(&format!("{begin}-A FORWARD -o wg+ -j ACCEPT\n")), None);
        for other in ["-o wg1 -j ACCEPT", "-o wg0 -j DROP", "! -o wg0 -j ACCEPT", "-o wg0 -j LOG"] {
            assert!(look(&format!("{begin}-A FORWARD {other}\n")).is_some(), "{other}");
        }
    }
}
