//! Files as the panels and scripts write them.

use super::*;

/// Name, key, addresses, disabled.
fn peers(text: &str) -> Vec<(String, String, String, bool)> {
    let conf = parse(text);
    let peers = conf.peers.into_iter().map(|peer| {
        let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
        let text = Option::unwrap_or_default;
        (text(peer.name), text(peer.public_key), addresses.join(" "), peer.disabled)
    });
    peers.collect()
}

fn peer(name: &str, key: &str, addresses: &str) -> (String, String, String, bool) {
    (name.into(), key.into(), addresses.into(), false)
}

#[test]
fn names_inside_and_before_a_peer_are_told_apart() {
    let inside = "[Interface]\nAddress = 10.8.0.1/24\n\n[Peer]\n#Name# = one\nPublicKey = A=\nAllowedIPs = 10.8.0.2/32\n\n\
                  [Peer]\nPublicKey = B=\nAllowedIPs = 10.8.0.3/32,fd00::3/128\n# Name = two\n\n[Peer]\nPublicKey = C=\n";
    let expected = [peer("one", "A=", "10.8.0.2"), peer("two", "B=", "10.8.0.3 fd00::3"), peer("", "C=", "")];
    assert_eq!(peers(inside), expected);
    let before = "# Client: one (id)\n[Peer]\nPublicKey = A=\n\n# ID: 7\n# Name: two\n# Email: x\n[Peer]\nPublicKey = B=\n\
                  ### Client three\n[Peer]\nPublicKey = C=\n";
    assert_eq!(peers(before), [peer("one", "A=", ""), peer("two", "B=", ""), peer("three", "C=", "")]);
}

#[test]
fn a_bare_comment_names_the_peer_whose_header_is_above_it() {
    let algo = "[Peer]\n# phone\nPublicKey = A=\nAllowedIPs = 10.8.0.2/32\n# added in 2021\n\n[Peer]\nPublicKey = B=\n";
    assert_eq!(peers(algo), [peer("phone", "A=", "10.8.0.2"), peer("", "B=", "")]);
}

#[test]
fn one_word_between_a_blank_line_and_a_header_names_the_peer() {
    let by_hand = "[Interface]\nListenPort = 1\n\n# laptop\n[Peer]\nPublicKey = A=\n\n# added in 2021\n[Peer]\nPublicKey = B=\n\
                   # x\n[Peer]\nPublicKey = C=\n\n# tv\n\n[Peer]\nPublicKey = D=\n";
    assert_eq!(
        peers(by_hand),
        [peer("laptop", "A=", ""), peer("", "B=", ""), peer("", "C=", ""), peer("", "D=", "")]
    );
}

#[test]
fn a_disabled_peer_of_pivpn_stays_disabled() {
    let pivpn = "### begin phone ###\n[Peer]\nPublicKey = A=\nPresharedKey = S=\nAllowedIPs = 10.6.0.2/32\n### end phone ###\n\
                 #[disabled] ### begin tv ###\n#[disabled] [Peer]\n#[disabled] PublicKey = B=\n\
                 #[disabled] AllowedIPs = 10.6.0.3/32\n#[disabled] ### end tv ###\n";
    let [phone, tv]: [ServerPeer; 2] = parse(pivpn).peers.try_into().unwrap();
    assert_eq!(
        (phone.name.as_deref(), phone.disabled, phone.preshared_key.is_some()),
        (Some("phone"), false, true)
    );
    assert_eq!((tv.name.as_deref(), tv.disabled, tv.preshared_key.is_some()), (Some("tv"), true, false));
    assert_eq!(tv.addresses, ["10.6.0.3".parse::<IpAddr>().unwrap()]);
}

#[test]
fn private_keys_are_reported_and_never_kept() {
    let text = "[Interface]\nPrivateKey = SECRET1=\n\n[Peer]\n# friendly_name = phone\n# -WGP- PrivateKey: SECRET2=\nPublicKey = A=\n";
    let conf = parse(text);
    let lines: Vec<usize> = conf.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 6]);
    assert!(!format!("{conf:?}").contains("SECRET"), "{conf:?}");
    assert_eq!(conf.peers[0].name.as_deref(), Some("phone"));
}

#[test]
fn networks_behind_a_peer_and_malformed_addresses_are_reported() {
    let conf = parse("[Peer]\nPublicKey = A=\nAllowedIPs = 10.8.0.2/32, 192.168.7.0/24, nonsense\n");
    assert_eq!(conf.peers[0].addresses.len(), 1);
    let texts: Vec<&str> = conf.problems.iter().map(|problem| problem.text.as_str()).collect();
    assert!(
        texts[0].starts_with("192.168.7.0/24 is a network") && texts[1].contains("no addresses"),
        "{texts:?}"
    );
}

#[test]
fn other_case_windows_line_ends_and_comments_behind_values_are_read() {
    let text = "\u{feff}[peer] # x\r\npublickey=A= # key\r\nALLOWEDIPS=10.8.0.2/32\r\n";
    assert_eq!(peers(text), [peer("", "A=", "10.8.0.2")]);
}
