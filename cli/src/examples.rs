//! An example of each command, shown below its help and in its manual page.

use clap::Command;

/// Commands and their examples, one a line.
const EXAMPLES: &[(&str, &str)] = &[
    ("ping", "nebulactl ping\nnebulactl ping laptop --count 10"),
    ("login", "nebulactl login ann\npass show nebula | nebulactl login ann --password-file -"),
    ("logout", "nebulactl logout"),
    ("upload", "nebulactl upload film.mkv --wait\nnebulactl upload Holidays/ --parallel 8 --limit-rate 2M"),
    ("ls", "nebulactl ls Holidays\nnebulactl ls --kind film --sort -size"),
    ("get", "nebulactl get film.mkv\nnebulactl get film.mkv --original --output - | ffprobe -"),
    ("mv", "nebulactl mv film.mkv Films/\nnebulactl mv Films/old.mkv Films/new.mkv"),
    ("rm", "nebulactl rm film.mkv\nnebulactl rm film.mkv --permanently --yes"),
    ("trash ls", "nebulactl trash ls"),
    ("trash rm", "nebulactl trash rm film.mkv"),
    ("trash empty", "nebulactl trash empty --yes"),
    ("restore", "nebulactl restore film.mkv\nnebulactl restore film.mkv --as film-2.mkv"),
    ("tag", "nebulactl tag film.mkv seen favourite\nnebulactl tag film.mkv --remove seen"),
    ("play", "nebulactl play film.mkv\nnebulactl play film.mkv --print-url"),
    ("link", "nebulactl link film.mkv\nnebulactl link film.mkv --m3u > film.m3u"),
    (
        "share create",
        "nebulactl share create film.mkv --until 7d\nnebulactl share create Holidays/ --password-file password",
    ),
    ("share ls", "nebulactl share ls"),
    ("share revoke", "nebulactl share revoke 6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c11"),
    ("jobs list", "nebulactl jobs list --state dead\nnebulactl jobs --watch"),
    ("jobs show", "nebulactl jobs show 42 --watch"),
    ("jobs cancel", "nebulactl jobs cancel 42 43"),
    ("jobs retry", "nebulactl jobs retry 42"),
    ("events", "nebulactl events --since 2h\nnebulactl events --follow --action login-failed"),
    ("join", "sudo nebulactl join --code-file code --install\nnebulactl join --project home --name laptop"),
    ("agent", "sudo nebulactl agent\nnebulactl agent --dir ./nebula-laptop --nebula /opt/nebula/nebula"),
    ("status", "sudo nebulactl status\nnebulactl status --json"),
    ("leave", "sudo nebulactl leave"),
    ("project ls", "nebulactl project ls"),
    ("project use", "nebulactl project use home"),
    ("project create", "nebulactl project create lab 10.50.0.0/16\nnebulactl project create films"),
    ("project options", "nebulactl project options\nnebulactl project options inbound=closed mtu=1400"),
    ("pool ls", "nebulactl pool ls --project home"),
    ("pool create", "nebulactl pool create guests 10.42.8.0/24 --reserve-gateway"),
    ("pool resize", "nebulactl pool resize guests 10.42.8.0/23"),
    ("pool enable", "nebulactl pool enable guests"),
    ("pool disable", "nebulactl pool disable guests"),
    ("pool rm", "nebulactl pool rm guests"),
    ("quota ls", "nebulactl quota ls"),
    ("quota set", "nebulactl quota set 500GB --project home\nnebulactl quota set none --account ann"),
    ("account ls", "nebulactl account ls"),
    ("account disable", "nebulactl account disable bob"),
    ("account enable", "nebulactl account enable bob"),
    ("account role", "nebulactl account role bob admin"),
    (
        "account invite",
        "nebulactl account invite --role viewer --note bob\nnebulactl account invite --no-project --role admin",
    ),
    ("account invitations", "nebulactl account invitations --project home"),
    ("account uninvite", "nebulactl account uninvite 6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c11"),
    (
        "account password",
        "nebulactl account password\nnebulactl account password --old-file old --new-file new",
    ),
    ("account totp status", "nebulactl account totp status"),
    ("account totp on", "nebulactl account totp on"),
    ("account totp confirm", "nebulactl account totp confirm 287082"),
    ("account totp off", "nebulactl account totp off"),
    ("account totp remove", "nebulactl account totp remove bob"),
    ("account rm", "nebulactl account rm bob"),
    ("account sessions", "nebulactl account sessions\nnebulactl account sessions bob"),
    ("account end", "nebulactl account end\nnebulactl account end 6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c11"),
    ("account members", "nebulactl account members --project home"),
    ("account add", "nebulactl account add bob --role viewer --project home"),
    ("account remove", "nebulactl account remove bob --project home"),
    (
        "token create",
        "nebulactl token create backup --scope file.write --for 365d > token\nnebulactl token create ci --scope read",
    ),
    ("token ls", "nebulactl token ls"),
    ("token rm", "nebulactl token rm backup"),
    ("device ls", "nebulactl device ls"),
    ("device groups", "nebulactl device groups nas backup media"),
    ("device revoke", "nebulactl device revoke laptop"),
    ("device release", "nebulactl device release laptop"),
    ("rule ls", "nebulactl rule ls"),
    (
        "rule add",
        "nebulactl rule add inbound --protocol tcp --port 22 --for-group backup --peer-device laptop",
    ),
    ("rule rm", "nebulactl rule rm 7"),
    ("route ls", "nebulactl route ls"),
    ("route add", "nebulactl route add 192.168.1.0/24 --via nas"),
    ("route rm", "nebulactl route rm 192.168.1.0/24"),
    ("node ls", "nebulactl node ls"),
    ("node show", "nebulactl node show node1"),
    ("node register", "nebulactl node register node1 --endpoint 192.0.2.20:51820"),
    ("node update", "nebulactl node update node1 --weight 200 --max-peers 1000"),
    ("node enable", "nebulactl node enable node1"),
    ("node drain", "nebulactl node drain node1"),
    ("node disable", "nebulactl node disable node1"),
    ("node rm", "nebulactl node rm node1"),
    ("node interface set", "nebulactl node interface set node1 wg1 --port 51821 --keepalive 25"),
    ("node interface rm", "nebulactl node interface rm node1 wg1"),
    ("node import-key", "sudo nebulactl node import-key /etc/wireguard/wg0.conf"),
    ("node local-device", "nebulactl node local-device nas\nnebulactl node local-device --none"),
    ("node tie", "nebulactl node tie node1 --device node1"),
    ("node untie", "nebulactl node untie node1"),
    ("node secret ls", "nebulactl node secret ls node1"),
    ("node secret make", "nebulactl --json node secret make node1 | ssh node1 nebulactl node secret keep"),
    ("node secret keep", "nebulactl node secret keep --dir /etc/nebula"),
    ("node secret retire", "nebulactl node secret retire node1"),
    ("peer ls", "nebulactl peer ls --node node1"),
    ("peer show", "nebulactl peer show phone"),
    (
        "peer create",
        "nebulactl peer create phone --wait\nnebulactl peer create tablet --reach all --preshared --qr",
    ),
    ("peer update", "nebulactl peer update phone --expires 30d --group family"),
    ("peer move", "nebulactl peer move phone tablet --to node2"),
    ("peer rm", "nebulactl peer rm phone"),
    ("peer enable", "nebulactl peer enable phone"),
    ("peer disable", "nebulactl peer disable phone"),
    ("peer conf", "nebulactl peer conf phone --new-key --out phone.conf"),
    ("peer qr", "nebulactl peer qr phone --key-from phone.conf"),
    ("peer import", "nebulactl peer import /etc/wireguard/wg0.conf --strategy node1"),
    (
        "enrolment create",
        "nebulactl enrolment create --name laptop\nnebulactl enrolment create --uses 5 --group family --lifetime 7d",
    ),
    ("enrolment approve", "nebulactl enrolment approve https://home.example/?approve=REQUEST --name tv"),
    ("enrolment ls", "nebulactl enrolment ls"),
    ("enrolment revoke", "nebulactl enrolment revoke 6b1f9df0-8d8c-4b7e-9a55-0d6f3a1f7c11"),
    ("ca create", "nebulactl ca create --name \"home CA\" --cert ca.crt --key ca.key --years 5"),
    ("ca show", "nebulactl ca show ca.crt"),
    ("ca ls", "nebulactl ca ls"),
    ("ca rotate", "nebulactl ca rotate --to next\nnebulactl ca rotate --show"),
    ("doctor", "nebulactl doctor"),
    (
        "completions",
        "nebulactl completions bash > ~/.local/share/bash-completion/completions/nebulactl\nsudo nebulactl completions --share /usr/local/share",
    ),
    ("man", "nebulactl man ~/.local/share/man/man1"),
];

/// Adds the examples to the help of each command.
pub(crate) fn add(tree: Command) -> Command {
    add_below(tree, "")
}

fn add_below(mut command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|below| below.get_name().to_owned()).collect();
    for name in names {
        let path = format!("{path} {name}").trim_start().to_owned();
        command = command.mut_subcommand(name, |below| add_below(below, &path));
    }
    let Some((_, lines)) = EXAMPLES.iter().find(|(of, _)| *of == path) else { return command };
    let heading = if lines.contains('\n') { "Examples" } else { "Example" };
    let examples = format!("{heading}:\n  {}", lines.replace('\n', "\n  "));
    let text = match command.get_after_help() {
        Some(notes) => format!("{notes}\n\n{examples}"),
        None => examples,
    };
    command.after_help(text)
}

#[cfg(test)]
mod tests {
    use clap::{ArgMatches, CommandFactory};

    use super::*;
    use crate::arguments::Arguments;

    /// Paths of the commands that do something by themselves.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        for below in command.get_subcommands() {
            let path = format!("{path} {}", below.get_name()).trim_start().to_owned();
            assert!(below.get_about().is_some(), "{path} has no help");
            if below.has_subcommands() {
                leaves(below, &path, found);
            } else {
                found.push(path);
            }
        }
    }

    fn path_of(matches: &ArgMatches) -> String {
        match matches.subcommand() {
            Some((name, below)) => format!("{name} {}", path_of(below)).trim_end().to_owned(),
            None => String::new(),
        }
    }

    /// The words of each call of nebulactl in a line.
    fn calls(line: &str) -> Vec<Vec<String>> {
        let line = line.split(" > ").next().unwrap();
        let words = |call: &str| {
            let quoted = call.split('"').enumerate();
            let words = quoted.flat_map(|(index, part)| match index % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect(),
                _ => vec![part.to_owned()],
            });
            let words = words.map(|word| word.replace("REQUEST", &"0f".repeat(32)));
            words.skip_while(|word| word != "nebulactl").collect::<Vec<String>>()
        };
        line.split(" | ").map(words).filter(|words| !words.is_empty()).collect()
    }

    #[test]
    fn every_command_has_help_and_examples_and_every_example_has_a_command() {
        let mut commands = Vec::new();
        leaves(&Arguments::command(), "", &mut commands);
        let examples: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        for command in &commands {
            assert!(examples.contains(&command.as_str()), "{command} has no example");
        }
        for example in examples {
            assert!(commands.iter().any(|command| command == example), "there is no command {example}");
        }
    }

    #[test]
    fn examples_are_calls_of_their_command_that_parse() {
        for (path, lines) in EXAMPLES {
            for line in lines.lines() {
                let parsed = calls(line).into_iter().map(|words| {
                    Arguments::command()
                        .try_get_matches_from(&words)
                        .unwrap_or_else(|error| panic!("{line}: {error}"))
                });
                let paths: Vec<String> = parsed.map(|matches| path_of(&matches)).collect();
                // The list is the default of jobs.
                let fits = |of: &String| of == path || format!("{of} list") == *path;
                assert!(paths.iter().any(fits), "{line} is not {path}: {paths:?}");
            }
        }
    }

    #[test]
    fn help_ends_with_the_examples() {
        let mut tree = add(Arguments::command());
        let upload = tree.find_subcommand_mut("upload").unwrap().render_help().to_string();
        let (notes, examples) =
            (upload.find("goes on where it stopped").unwrap(), upload.find("Examples:\n  neb").unwrap());
        assert!(notes < examples, "{upload}");
    }
}
