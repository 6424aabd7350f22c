//! Clients and uploads in combination.

use serde_json::{Value, json};

use super::*;

/// A browser: MP4 and WebM, H.264 and VP9 of 8 bits, AAC and Opus, streams.
fn browser() -> Value {
    json!({
        "containers": ["mp4", "webm", "mp3"],
        "video": [
            {"codec": "h264", "profiles": ["Constrained Baseline", "Main", "High"], "maxLevel": 5.2},
            {"codec": "vp9"},
        ],
        "audio": [{"codec": "aac", "maxChannels": 6}, {"codec": "opus"}, {"codec": "mp3"}],
        "hls": true,
    })
}

/// A film of H.264 and AAC in Matroska, whose MP4 is a remux.
fn film() -> Value {
    json!({
        "isMedia": true, "contentType": "video/x-matroska", "isStreamed": true,
        "original": {
            "container": "matroska,webm",
            "video": {"codec": "h264", "profile": "High", "level": 41, "bitDepth": 8, "is420": true, "width": 1920,
                      "height": 1080, "isInterlaced": false, "isHdr": false},
            "audio": [{"codec": "aac", "profile": "LC", "channels": 2}],
        },
        "web": {"decision": "remux", "height": 1080},
    })
}

/// The value with some of its parts replaced: `("original.video.level", 52)`.
fn with(mut value: Value, changes: &[(&str, Value)]) -> Value {
    for (path, change) in changes {
        let place = format!("/{}", path.replace('.', "/"));
        if let Some(there) = value.pointer_mut(&place) {
            *there = change.clone();
        } else {
            value[*path] = change.clone();
        }
    }
    value
}

fn decided(film: Value, client: Value) -> (String, Option<&'static str>, Vec<String>) {
    let source: Source = serde_json::from_value(film).unwrap();
    let client: Capabilities = serde_json::from_value(client).unwrap();
    let Decided { decision, rendition, reasons } = decide(&source, &client);
    let name = |value: Value| value.as_str().unwrap().to_owned();
    (name(json!(decision)), rendition, reasons.into_iter().map(|reason| name(json!(reason))).collect())
}

type Changes<'a> = &'a [(&'a str, Value)];

#[track_caller]
fn check(film_changes: Changes<'_>, client_changes: Changes<'_>, expected: (&str, Option<&str>, &[&str])) {
    let (decision, rendition, reasons) = decided(with(film(), film_changes), with(browser(), client_changes));
    assert_eq!(
        (decision.as_str(), rendition),
        (expected.0, expected.1),
        "{film_changes:?} {client_changes:?}: {reasons:?}"
    );
    assert_eq!(reasons, expected.2, "{film_changes:?} {client_changes:?}");
}

#[test]
fn what_is_changed_least_is_played() {
    let mp4 = || ("original.container", json!("mov,mp4,m4a,3gp,3g2,mj2"));
    let full = || ("web", json!({"decision": "transcode", "height": 1080}));
    for (film, expected) in [
        (vec![mp4()], ("direct", Some("original"), &[][..])),
        (vec![], ("remux", Some("web"), &["container"])),
        (vec![mp4(), ("contentType", json!("video/quicktime"))], ("remux", Some("web"), &["container"])),
        (vec![("contentType", json!("video/webm"))], ("direct", Some("original"), &[])),
        (
            vec![mp4(), ("original.audio.0.codec", json!("ac3")), ("web.decision", json!("audio"))],
            ("audio", Some("web"), &["audioCodec"]),
        ),
        (vec![mp4(), ("original.audio.0.channels", json!(8))], ("remux", Some("web"), &["audioChannels"])),
        (
            vec![mp4(), ("original.video.codec", json!("hevc")), full()],
            ("full", Some("hls"), &["videoCodec"]),
        ),
        (
            vec![
                mp4(),
                ("original.video.profile", json!("High 10")),
                ("original.video.bitDepth", json!(10)),
                full(),
            ],
            ("full", Some("hls"), &["videoProfile", "videoBitDepth"]),
        ),
        (vec![mp4(), ("original.video.level", json!(60)), full()], ("full", Some("hls"), &["videoLevel"])),
        (
            vec![
                mp4(),
                ("original.video.isInterlaced", json!(true)),
                ("original.video.isHdr", json!(true)),
                full(),
            ],
            ("full", Some("hls"), &["videoInterlaced", "videoHdr"]),
        ),
        (
            vec![
                ("original.video.codec", json!("vp9")),
                ("original.video.profile", json!("Profile 1")),
                ("original.video.is420", json!(false)),
                ("contentType", json!("video/webm")),
                full(),
            ],
            ("full", Some("hls"), &["videoPixelFormat"]),
        ),
        (vec![("original", json!(null))], ("remux", Some("web"), &["uploadUnknown"])),
    ] {
        check(&film, &[], expected);
    }
}

#[test]
fn what_the_client_cannot_play_is_not_chosen() {
    let full = || ("web", json!({"decision": "transcode", "height": 1080}));
    let no_hls = || ("hls", json!(false));
    for (film, client, expected) in [
        (vec![full()], vec![no_hls()], ("full", Some("web"), &["container"][..])),
        (vec![], vec![("maxHeight", json!(720))], ("full", Some("hls"), &["container", "videoHeight"])),
        (
            vec![],
            vec![("maxHeight", json!(720)), no_hls()],
            ("full", None, &["container", "videoHeight", "nothingFits"]),
        ),
        (
            vec![],
            vec![("video", json!([{"codec": "vp9"}]))],
            ("full", None, &["container", "videoCodec", "nothingFits"]),
        ),
        (
            vec![],
            vec![("video.0.maxLevel", json!(4.0))],
            ("full", None, &["container", "videoLevel", "nothingFits"]),
        ),
        // A television that plays everything but this container's sound.
        (
            vec![("original.audio.0.codec", json!("dts"))],
            vec![("containers", json!(["matroska", "mp4"]))],
            ("remux", Some("web"), &["audioCodec"]),
        ),
        (vec![], vec![("containers", json!(["Matroska"]))], ("direct", Some("original"), &[])),
    ] {
        check(&film, &client, expected);
    }
    let nothing = decided(film(), json!({}));
    assert_eq!(nothing.1, None);
    assert_eq!(nothing.2, ["container", "videoCodec", "audioCodec", "nothingFits"]);
}

#[test]
fn a_client_that_decodes_everything_gets_the_upload_unless_its_picture_is_too_high() {
    let player = json!({"allCodecs": true, "hls": true});
    let strange = [
        ("original.video.codec", json!("vc1")),
        ("original.video.is420", json!(false)),
        ("original.audio.0.codec", json!("truehd")),
    ];
    for film in [with(film(), &strange), with(film(), &[("original", json!(null))])] {
        assert_eq!(decided(film, player.clone()), ("direct".to_owned(), Some("original"), vec![]));
    }
    let small = with(player, &[("maxHeight", json!(720))]);
    let reasons = vec!["videoHeight".to_owned()];
    assert_eq!(decided(film(), small), ("full".to_owned(), Some("hls"), reasons));
}

#[test]
fn before_anything_is_made_it_is_said_what_will_be_and_that_it_is_not_yet() {
    let not_made = || vec![("web", json!(null)), ("isStreamed", json!(false))];
    check(&not_made(), &[], ("remux", None, &["container", "notMadeYet"]));
    let mut sound = not_made();
    sound.push(("original.audio.0.codec", json!("ac3")));
    check(&sound, &[], ("audio", None, &["container", "audioCodec", "notMadeYet"]));
    let mut streamed = vec![("web", json!(null)), ("original.video.codec", json!("mpeg2video"))];
    check(&streamed, &[], ("full", Some("hls"), &["container", "videoCodec"]));
    streamed[1] = ("original", json!(null));
    check(&streamed, &[("hls", json!(false))], ("full", None, &["uploadUnknown", "notMadeYet"]));
}

#[test]
fn sounds_and_other_files_have_no_picture_to_ask_for() {
    let sound = json!({"container": "flac", "video": null, "audio": [{"codec": "flac", "channels": 2}]});
    let film = [("original", sound), ("isStreamed", json!(false)), ("web", json!({"decision": "audio"}))];
    let only_sound = [("video", json!([]))];
    check(&film, &only_sound, ("audio", Some("web"), &["container", "audioCodec"]));
    check(&[("isMedia", json!(false))], &[], ("direct", Some("original"), &[]));
}

#[test]
fn levels_are_compared_as_people_write_them() {
    for (codec, level, expected) in [("h264", 51, 5.1), ("hevc", 153, 5.1), ("av1", 13, 5.1), ("av1", 8, 4.0)]
    {
        assert!((level_of(codec, level) - expected).abs() < 0.001, "{codec} {level}");
    }
}
