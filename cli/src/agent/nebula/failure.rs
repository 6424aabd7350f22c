//! Sorts the messages with which nebula 1.6 to 1.11 ends or objects to a reload: a mistake in the configuration stays until the
//! gateway sends another one; a fault of the machine may pass by itself, so that the same configuration is
//! tried again.

/// The cause of a failed start or test of nebula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The content of `nebula.yml`: refused until another one comes.
    Configuration,
    /// Resolver, ports, interfaces, memory, clock: tried again soon.
    Machine,
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `nebula -test`, which only reads the configuration.
    Test,
    /// A reload, after `nebula -test` has accepted the configuration.
    Reload,
    /// A start, likewise.
    Start,
}

/// Cause and reason, the reason as the end of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) cause: Cause,
    pub(crate) reason: &'static str,
}

const RESOLVER: &str = "the resolver may answer later";
const IN_USE: &str = "another program may give it up";
const RIGHTS: &str = "the rights of the process or of a file may change";
const RESOURCES: &str = "the machine may have more room later";
const NETWORK: &str = "the machine's network may come up later";
const MISSING: &str = "the file or device may appear later";
const CLOCK: &str = "the clock of this machine may be wrong";
const SYNTAX: &str = "the configuration is malformed";
const VALUE: &str = "a value in the configuration is not valid";
const OVERLAY: &str = "the configuration names a host outside of its overlay network";
const KEYS: &str = "keys and certificates in the configuration do not fit";

/// Parts of messages in lower case; the first that fits decides. Texts of errno, of Go's resolver and of Go's
/// runtime come early: nebula appends them to messages of its own, which may stand further down.
const RULES: &[(&str, Cause, &str)] = &[
    // These never end in an errno, but quote the configuration.
    ("error while loading firewall rules", Cause::Configuration, VALUE),
    ("error while creating firewall", Cause::Configuration, VALUE),
    // Only a start reads routes: `nebula -test` accepts them all.
    ("in tun.unsafe_routes", Cause::Configuration, VALUE),
    ("in tun.routes", Cause::Configuration, VALUE),
    ("unknown cipher", Cause::Configuration, VALUE),
    ("failed to configure the logger", Cause::Configuration, VALUE),
    ("failed to apply logging config", Cause::Configuration, VALUE),
    ("invalid lighthouse", Cause::Configuration, VALUE),
    ("failed to parse preferred ranges", Cause::Configuration, VALUE),
    // Go's DNSError begins with "lookup NAME"; 1.6 resolves static_host_map in -test, too.
    ("lookup ", Cause::Machine, RESOLVER),
    ("no such host", Cause::Machine, RESOLVER),
    ("failed to resolve", Cause::Machine, RESOLVER),
    ("server misbehaving", Cause::Machine, RESOLVER),
    ("temporary failure in name resolution", Cause::Machine, RESOLVER),
    ("i/o timeout", Cause::Machine, RESOLVER),
    ("deadline exceeded", Cause::Machine, RESOLVER),
    ("connection refused", Cause::Machine, RESOLVER),
    ("did not end within", Cause::Machine, RESOLVER),
    ("address already in use", Cause::Machine, IN_USE),
    ("device or resource busy", Cause::Machine, IN_USE),
    ("text file busy", Cause::Machine, IN_USE),
    ("file exists", Cause::Machine, IN_USE),
    ("operation not permitted", Cause::Machine, RIGHTS),
    ("permission denied", Cause::Machine, RIGHTS),
    ("read-only file system", Cause::Machine, RIGHTS),
    ("cannot allocate memory", Cause::Machine, RESOURCES),
    ("out of memory", Cause::Machine, RESOURCES),
    ("failed to create new os thread", Cause::Machine, RESOURCES),
    ("too many open files", Cause::Machine, RESOURCES),
    ("no buffer space available", Cause::Machine, RESOURCES),
    ("no space left on device", Cause::Machine, RESOURCES),
    ("disk quota exceeded", Cause::Machine, RESOURCES),
    ("resource temporarily unavailable", Cause::Machine, RESOURCES),
    ("interrupted system call", Cause::Machine, RESOURCES),
    ("input/output error", Cause::Machine, RESOURCES),
    // Go's runtime: threads or memory are refused. nebula itself ends with 1.
    ("fatal error: ", Cause::Machine, RESOURCES),
    ("exit status: 2", Cause::Machine, RESOURCES),
    // The program or a library of it cannot be read, as in the middle of an upgrade.
    ("exit status: 126", Cause::Machine, MISSING),
    ("exit status: 127", Cause::Machine, MISSING),
    // Killed, for instance by the kernel when memory is short.
    ("signal: ", Cause::Machine, RESOURCES),
    ("cannot assign requested address", Cause::Machine, NETWORK),
    ("address family not supported", Cause::Machine, NETWORK),
    ("protocol not supported", Cause::Machine, NETWORK),
    ("network is down", Cause::Machine, NETWORK),
    ("network is unreachable", Cause::Machine, NETWORK),
    ("no route to host", Cause::Machine, NETWORK),
    ("no such file or directory", Cause::Machine, MISSING),
    ("no such device", Cause::Machine, MISSING),
    // A clock in the past or far in the future makes good certificates invalid.
    ("no valid ca certificates present", Cause::Machine, CLOCK),
    ("expired", Cause::Machine, CLOCK),
    ("not valid yet", Cause::Machine, CLOCK),
    ("failed to load config", Cause::Configuration, SYNTAX),
    ("error occurred while reloading config", Cause::Configuration, SYNTAX),
    ("empty configuration", Cause::Configuration, SYNTAX),
    ("no config files found", Cause::Configuration, SYNTAX),
    ("not in our subnet", Cause::Configuration, OVERLAY),
    ("not in our network", Cause::Configuration, OVERLAY),
    ("does not have a static_host_map entry", Cause::Configuration, OVERLAY),
    ("is not a pair", Cause::Configuration, KEYS),
    ("error while unmarshaling", Cause::Configuration, KEYS),
    ("invalid nebula certificate", Cause::Configuration, KEYS),
    ("encoded in certificate", Cause::Configuration, KEYS),
    ("is a ca certificate", Cause::Configuration, KEYS),
    ("certificate already found", Cause::Configuration, KEYS),
    ("unknown certificate version", Cause::Configuration, KEYS),
    ("v1 and v2", Cause::Configuration, KEYS),
    ("unsupported curve", Cause::Configuration, KEYS),
    ("failed to load ca", Cause::Configuration, KEYS),
    ("failed to load certificate", Cause::Configuration, KEYS),
    ("failed to load pki", Cause::Configuration, KEYS),
    ("could not parse", Cause::Configuration, VALUE),
    ("could not be parsed", Cause::Configuration, VALUE),
    ("unable to parse", Cause::Configuration, VALUE),
    ("failed to parse", Cause::Configuration, VALUE),
    ("error while configuring the sshd", Cause::Configuration, VALUE),
    ("unknown pki.initiating_version", Cause::Configuration, VALUE),
    ("no port number is set", Cause::Configuration, VALUE),
    ("must be one of", Cause::Configuration, VALUE),
];

/// Beginnings of messages, in lower case, that nebula logs as errors about single packets and peers. They may
/// come at any time, also during a reload that succeeds.
const TRAFFIC: &[&str] = &[
    "failed to write outgoing",
    "failed to encrypt outgoing packet",
    "failed to segment superpacket",
    "failed to flush tun",
    "failed to send handshake",
    "failed to forward to tun",
    "failed to write to tun",
    "failed to read packets",
    "failed to rebind udp socket",
    "error while reading outbound packet",
    "failed to decrypt",
    "failed to generate index",
    "failed to marshal",
    "error while marshaling for lighthouse",
    "failed to call noise",
    "noise did not arrive at a key",
    // 1.6 to 1.9: each handshake with a peer whose certificate is blocked, expired, or of an authority that is not
    // known yet.
    "invalid certificate from host",
    "failed unmarshal handshake",
    "failed to unmarshal",
    "failed to create handshake machine",
    "failed to initiate handshake",
    "failed to process handshake",
    "failed to add hostinfo",
    "unable to handshake with host",
    "handshake send failed",
    "handshake did not produce",
    "handshake completed without",
    "discarding handshake",
    "no handshake machine",
    "multi-message handshake",
    "refusing to",
    "hostinfo missing remote",
    "dropping tunnel",
    "dropping malformed",
    "invalid lighthouse update",
    "invalid protocol version",
    // 1.10 and newer, while tunnels begin with version 1: each packet to a member by its IPv6 address.
    "can't query lighthouse for v6",
    "can not send hostupdatenotificationack",
    "unexpected relay",
    "relay unexpected state",
    "relay state not found",
    "existing relay mismatch",
    "discarding relay request",
    "relaymanager failed",
    "failed to add relay",
    "failed to update relay",
    "failed to migrate relay",
    "can't find a hostinfo",
    "peerrelay does not have",
    "can not establish v1 relay",
    "can not migrate v1 relay",
    "unknown certificate version found",
    "isvalidsubtype was true",
    "gateway buckets not calculated",
    "sendvia out buffer",
    "netlink error",
    // Somebody else has removed it, which is what was wanted.
    "failed to remove route: no such process",
    "ignoring route update",
    "dns resolution failed for static_map host",
    "graphite export failed",
    "prometheus metrics update failed",
];

/// Whether an error of a running nebula is about a packet or a peer, and not about the configuration.
pub(super) fn is_about_traffic(message: &str) -> bool {
    let message = message.to_lowercase();
    TRAFFIC.iter().any(|start| message.starts_with(start))
}

/// Judges the message with which nebula ended. Unknown messages of a test are about the configuration, which
/// is all that a test reads. Those of a reload or a start are about the machine, because the test has passed
/// before.
pub(crate) fn judge(stage: Stage, message: &str) -> Judgement {
    let message = message.to_lowercase();
    let known = RULES.iter().find(|(text, ..)| message.contains(text));
    let (cause, reason) = known.map_or(
        match stage {
            Stage::Test => (Cause::Configuration, "this release of nebula does not accept it"),
            Stage::Reload => (Cause::Machine, "a nebula that runs does not take it over"),
            Stage::Start => (Cause::Machine, "nebula accepts the configuration, but this machine does not"),
        },
        |(_, cause, reason)| (*cause, *reason),
    );
    Judgement { cause, reason }
}

/// Whether a start failed because the interface's name belongs to something else.
pub(crate) fn is_interface_taken(message: &str) -> bool {
    let message = message.to_lowercase();
    // EINVAL: an interface of this name exists and is no TUN.
    let taken = ["device or resource busy", "invalid argument", "file exists"];
    message.contains("failed to get a tun/tap device") && taken.iter().any(|errno| message.contains(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of nebula 1.6.1 and 1.11, as the agent reads them from the log.
    const MACHINE: &[(Stage, &str)] = &[
        (
            Stage::Test,
            "Static host address could not be parsed: lookup lh.test on 192.0.2.53:53: no such host",
        ),
        (Stage::Test, "Static host address could not be parsed: lookup lh.test: i/o timeout"),
        (Stage::Test, "Unable to lookup lighthouse.advertise_addrs entry: lookup a: server misbehaving"),
        (Stage::Start, "Failed to resolve listen.host: lookup nas.lan: Temporary failure in name resolution"),
        (Stage::Test, "Failed to load ca from config: no valid CA certificates present"),
        (Stage::Test, "Failed to load PKI from config: no valid CA certificates present"),
        (Stage::Test, "Failed to load certificate from config: nebula certificate for this host is expired"),
        (Stage::Test, "Could not load client cert: unable to read pki.key file a: too many open files"),
        (Stage::Test, "nebula -test ended with signal: 9 (SIGKILL)"),
        (Stage::Test, "nebula -test did not end within 30 s"),
        (Stage::Test, "fatal error: runtime: cannot allocate memory"),
        (Stage::Test, "fatal error: failed to reserve page summary memory"),
        (Stage::Test, "runtime/cgo: pthread_create failed: Resource temporarily unavailable"),
        (Stage::Test, "nebula -test ended with exit status: 2"),
        (Stage::Test, "nebula -test ended with exit status: 127"),
        (Stage::Start, "Error while running: permission denied"),
        (Stage::Start, "Failed to get a tun/tap device: device or resource busy"),
        (Stage::Start, "Failed to get a tun/tap device: operation not permitted"),
        (Stage::Start, "Failed to get a tun/tap device: no such file or directory"),
        (Stage::Start, "Failed to open udp listener: unable to bind to socket: address already in use"),
        (
            Stage::Start,
            "Failed to open udp listener: unable to open socket: address family not supported by protocol",
        ),
        (
            Stage::Start,
            "Failed to open udp listener: unable to bind to socket: cannot assign requested address",
        ),
        (Stage::Start, "failed to set mtu 0 on route 192.0.2.0/24; file exists"),
        (Stage::Start, "Failed to start stats emitter: listen tcp 127.0.0.1:9: bind: address already in use"),
        (Stage::Start, "nebula did not say that it has reloaded"),
        (Stage::Reload, "failed to reload tun device: no such device"),
        (Stage::Reload, "Failed to remove route: operation not permitted"),
        (Stage::Reload, "Failed to reload DNS responder from config: bind: address already in use"),
        (Stage::Reload, "a message of a release to come"),
    ];

    const CONFIGURATION: &[(Stage, &str)] = &[
        (Stage::Test, "failed to load config: yaml: line 2: mapping values are not allowed in this context"),
        (Stage::Test, "static_host_map key is not in our subnet, invalid"),
        (Stage::Test, "Static host address could not be parsed: address 192.0.2.1: missing port in address"),
        (
            Stage::Test,
            "Error while loading firewall rules: firewall.inbound rule #0; proto was not understood",
        ),
        (Stage::Test, "Failed to load certificate from config: private key is not a pair with public key"),
        (Stage::Test, "Could not parse tun.unsafe_routes: entry 1.via in tun.unsafe_routes is not present"),
        (Stage::Test, "Failed to start: unknown cipher: rot13"),
        (Stage::Start, "Failed to start: unknown cipher: rot13"),
        (
            Stage::Start,
            "Failed to get a tun/tap device: entry 1.route in tun.unsafe_routes is contained within the network \
             attached to the certificate; route: 10.99.0.128/25, network: 10.99.0.2/24",
        ),
        (
            Stage::Start,
            "Could not parse tun.unsafe_routes: entry 1.metric in tun.unsafe_routes is not an integer: \
             strconv.ParseInt: parsing \"file exists\": invalid syntax",
        ),
        (
            Stage::Test,
            "Error while loading firewall rules: firewall.inbound rule #0; port was not a number; `lookup `",
        ),
        (Stage::Test, "unknown cipher: connection refused"),
        (Stage::Test, "failed to apply logging config: not a valid logging level: \"signal: 9\""),
        (Stage::Test, "Failed to parse preferred ranges: invalid CIDR address: no such host"),
        (Stage::Test, "lighthouse.am_lighthouse enabled on node but no port number is set in config"),
        (Stage::Test, "lighthouse 10.42.0.1 does not have a static_host_map entry"),
        (Stage::Test, "Could not load client cert: v1 and v2 curve are not the same, ignoring"),
        (Stage::Test, "a message of a release to come"),
        (Stage::Reload, "Error while creating firewall during reload: firewall.inbound rule #0; no port"),
        (Stage::Reload, "Could not refresh client cert: private key is not a pair with public key"),
        (Stage::Reload, "Error occurred while reloading config: yaml: line 2: did not find expected key"),
    ];

    #[test]
    fn faults_of_the_machine_may_pass_and_mistakes_in_the_configuration_stay() {
        for (messages, cause) in [(MACHINE, Cause::Machine), (CONFIGURATION, Cause::Configuration)] {
            for (stage, message) in messages {
                let judged = judge(*stage, message);
                assert_eq!(judged.cause, cause, "{stage:?}: {message}: {}", judged.reason);
            }
        }
    }

    #[test]
    fn rules_are_in_lower_case_and_none_hides_another() {
        assert!(TRAFFIC.iter().all(|text| *text == text.to_lowercase()));
        for (at, (text, ..)) in RULES.iter().enumerate() {
            assert_eq!(*text, text.to_lowercase());
            assert!(!is_about_traffic(text), "{text}");
            let hides = RULES[..at].iter().find(|(before, ..)| text.contains(before));
            assert!(hides.is_none(), "{text} is never reached: {hides:?}");
        }
    }

    /// Errors of 1.6.1, 1.9.7 and 1.11 that come while nebula runs, whatever it was configured with.
    const RUNNING: &[&str] = &[
        "Invalid certificate from host: certificate is in the block list",
        "Noise did not arrive at a key",
        "Error while marshaling for lighthouse update",
        "Error while marshaling for lighthouse v1 update",
        "HostInfo missing remote relay index",
        "Failed to write outgoing batch: sendmmsg: network is unreachable",
        "Failed to rebind udp socket: bad file descriptor",
        "SendVia out buffer not large enough for relay",
        "netlink error: no buffer space available",
        "Failed to remove route: no such process",
        "Can't query lighthouse for v6 address using a v1 protocol",
        "Unable to handshake with host because no certificate is available",
        "Failed to initiate handshake: noise WriteMessage: invalid counter",
        "Handshake did not produce a peer certificate",
        "Discarding handshake with an invalid message index",
        "Failed to add HostInfo to HostMap",
        "Invalid lighthouse update: proto: illegal wireType 7",
        "Can not send HostUpdateNotificationAck for a ipv6 vpn ip in a v1 message",
    ];

    #[test]
    fn an_error_about_a_peer_is_no_objection_to_a_reload() {
        assert!(RUNNING.iter().all(|message| is_about_traffic(message)));
        let about_it = CONFIGURATION.iter().chain(MACHINE).filter(|(stage, _)| *stage == Stage::Reload);
        assert!(about_it.clone().count() > 3 && about_it.clone().all(|(_, text)| !is_about_traffic(text)));
    }

    #[test]
    fn a_taken_interface_is_told_from_a_missing_right() {
        for (message, taken) in [
            ("nebula ended: Failed to get a tun/tap device: device or resource busy", true),
            ("nebula ended: Failed to get a tun/tap device: invalid argument", true),
            ("nebula ended: Failed to get a tun/tap device: operation not permitted", false),
            ("nebula ended: Failed to open udp listener: device or resource busy", false),
        ] {
            assert_eq!(is_interface_taken(message), taken, "{message}");
        }
    }
}
