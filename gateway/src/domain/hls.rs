//! Playlists for adaptive streaming (HLS, RFC 8216 and its successor draft): pure text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use nebula_media_kind::language;

use crate::database::hls::{Segments, Variant, VariantKind};

/// Seconds that no segment is longer than, as players are told: it may not change while a playlist grows, and
/// films with few pictures have longer segments than others.
const TARGET_SECONDS: u32 = 6;

/// The playlist that names all variants, or `None` while there is nothing to play. `query` is appended to every
/// URL: the token of a link, or nothing.
pub(crate) fn master(variants: &[Variant], query: &str) -> Option<String> {
    let of = |kind| variants.iter().filter(move |variant| variant.kind == kind);
    let sounds = sound_groups(of(VariantKind::Audio));
    let mut text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n".to_owned();
    let mut names = Names::default();
    for (group, sounds) in &sounds {
        for sound in sounds {
            rendition(&mut text, "AUDIO", group, sound, &mut names, query);
        }
    }
    for subtitles in of(VariantKind::Subtitles) {
        rendition(&mut text, "SUBTITLES", "subtitles", subtitles, &mut names, query);
    }
    let has_subtitles = of(VariantKind::Subtitles).next().is_some();
    let mut has_stream = false;
    for picture in of(VariantKind::Video) {
        for group in groups_or_none(&sounds) {
            stream(&mut text, picture, group, has_subtitles, query);
            has_stream = true;
        }
    }
    if !has_stream {
        // Sounds alone are streams themselves.
        for sound in of(VariantKind::Audio) {
            stream(&mut text, sound, None, false, query);
            has_stream = true;
        }
    }
    has_stream.then_some(text)
}

/// The playlist of one variant. It grows while the film is made, and says so when it is complete.
pub(crate) fn media(variant: &str, segments: &Segments, query: &str) -> String {
    let longest = segments.chunks.iter().flat_map(|(_, durations)| durations).fold(0.0_f32, |a, b| a.max(*b));
    let target = (longest.round() as u32).max(TARGET_SECONDS);
    let kind = if segments.is_complete { "VOD" } else { "EVENT" };
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:{kind}\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{variant}/init.mp4{query}\"\n"
    );
    for (chunk, durations) in &segments.chunks {
        for (segment, seconds) in durations.iter().enumerate() {
            let _ = writeln!(text, "#EXTINF:{seconds:.5},\n{variant}/{chunk}-{segment}.m4s{query}");
        }
    }
    if segments.is_complete {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

/// The playlist of a subtitle: one file for the whole film.
pub(crate) fn subtitles(name: &str, seconds: f64, query: &str) -> String {
    let seconds = seconds.max(1.0);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{seconds:.5},\n{name}.vtt{query}\n#EXT-X-ENDLIST\n",
        seconds.round() as u64
    )
}

/// A group for each number of channels: players choose a group by what they can play, and a sound within it.
fn sound_groups<'a>(sounds: impl Iterator<Item = &'a Variant>) -> BTreeMap<String, Vec<&'a Variant>> {
    let mut groups: BTreeMap<String, Vec<&Variant>> = BTreeMap::new();
    for sound in sounds {
        groups.entry(format!("sound{}", sound.channels.unwrap_or(2))).or_default().push(sound);
    }
    groups
}

type SoundGroup<'a> = (&'a String, &'a Vec<&'a Variant>);

fn groups_or_none<'a>(groups: &'a BTreeMap<String, Vec<&'a Variant>>) -> Vec<Option<SoundGroup<'a>>> {
    if groups.is_empty() { vec![None] } else { groups.iter().map(Some).collect() }
}

/// Names that are taken, by type and group.
type Names = std::collections::HashSet<(String, String)>;

fn rendition(text: &mut String, kind: &str, group: &str, variant: &Variant, names: &mut Names, query: &str) {
    let language = variant.language.as_deref().map(language::tag);
    let name = unique(names, group, &shown_name(variant));
    let _ = write!(text, "#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{name}\"");
    if let Some(language) = language {
        let _ = write!(text, ",LANGUAGE=\"{language}\"");
    }
    let yes = |value| if value { "YES" } else { "NO" };
    let is_default = variant.is_default && !variant.is_forced;
    let _ = write!(text, ",DEFAULT={},AUTOSELECT=YES", yes(is_default));
    if kind == "SUBTITLES" {
        let _ = write!(text, ",FORCED={}", yes(variant.is_forced));
    } else if let Some(channels) = variant.channels {
        let _ = write!(text, ",CHANNELS=\"{channels}\"");
    }
    let _ = writeln!(text, ",URI=\"{}.m3u8{query}\"", variant.name);
}

fn stream(
    text: &mut String,
    picture: &Variant,
    sounds: Option<SoundGroup<'_>>,
    has_subtitles: bool,
    query: &str,
) {
    let with = |own: u64, of: fn(&Variant) -> u64| {
        own + sounds.iter().flat_map(|(_, sounds)| sounds.iter().map(|sound| of(sound))).max().unwrap_or(0)
    };
    let mut codecs: Vec<&str> = picture.codecs.iter().map(String::as_str).collect();
    for codec in sounds.iter().flat_map(|(_, sounds)| sounds.iter().filter_map(|s| s.codecs.as_deref())) {
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
        with(picture.peak_bandwidth, |sound| sound.peak_bandwidth),
        with(picture.average_bandwidth, |sound| sound.average_bandwidth),
        codecs.join(",")
    );
    if let (Some(width), Some(height)) = (picture.width, picture.height) {
        let _ = write!(text, ",RESOLUTION={width}x{height}");
    }
    if let Some(rate) = picture.frame_rate {
        let _ = write!(text, ",FRAME-RATE={rate:.3}");
    }
    if let Some((group, _)) = sounds {
        let _ = write!(text, ",AUDIO=\"{group}\"");
    }
    if has_subtitles {
        text.push_str(",SUBTITLES=\"subtitles\"");
    }
    let _ = writeln!(text, "\n{}.m3u8{query}", picture.name);
}

/// The title that the upload gives, else the language, else the kind of sound.
fn shown_name(variant: &Variant) -> String {
    let plain =
        |text: &str| text.chars().filter(|c| *c != '"' && !c.is_control()).take(60).collect::<String>();
    let label = variant.label.as_deref().map(plain).filter(|label| !label.trim().is_empty());
    let language = || variant.language.as_deref().and_then(language::name).map(str::to_owned);
    label.or_else(language).unwrap_or_else(|| match variant.kind {
        VariantKind::Subtitles => "Subtitles".to_owned(),
        _ => "Sound".to_owned(),
    })
}

/// The name, with a number if it is taken: two renditions of a group must differ in it.
fn unique(names: &mut Names, group: &str, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name} {number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| names.insert((group.to_owned(), name.clone())))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(name: &str, kind: VariantKind) -> Variant {
        Variant {
            name: name.to_owned(),
            kind,
            codecs: None,
            width: None,
            height: None,
            frame_rate: None,
            language: None,
            label: None,
            channels: None,
            is_default: false,
            is_forced: false,
            peak_bandwidth: 0,
            average_bandwidth: 0,
        }
    }

    fn picture(height: u32, peak: u64) -> Variant {
        Variant {
            codecs: Some("avc1.640028".into()),
            width: Some(height * 16 / 9),
            height: Some(height),
            frame_rate: Some(25.0),
            peak_bandwidth: peak,
            average_bandwidth: peak / 2,
            ..variant(&format!("v{height}"), VariantKind::Video)
        }
    }

    fn sound(name: &str, language: &str, channels: u32) -> Variant {
        Variant {
            codecs: Some("mp4a.40.2".into()),
            language: Some(language.into()),
            channels: Some(channels),
            peak_bandwidth: 200_000,
            average_bandwidth: 128_000,
            ..variant(name, VariantKind::Audio)
        }
    }

    #[test]
    fn a_film_with_sounds_and_subtitles_has_a_stream_for_each_size_and_number_of_channels() {
        let german = Variant { is_default: true, ..sound("a0", "ger", 2) };
        let subtitles =
            Variant { language: Some("eng".into()), ..variant("subtitle-0", VariantKind::Subtitles) };
        let all = [german, sound("a1", "eng", 6), picture(1080, 5_000_000), picture(480, 900_000), subtitles];
        let expected = "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound2\",NAME=\"German\",LANGUAGE=\"de\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a0.m3u8?t=1\"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound6\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"6\",URI=\"a1.m3u8?t=1\"
#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subtitles\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"subtitle-0.m3u8?t=1\"
#EXT-X-STREAM-INF:BANDWIDTH=5200000,AVERAGE-BANDWIDTH=2628000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=1920x1080,FRAME-RATE=25.000,AUDIO=\"sound2\",SUBTITLES=\"subtitles\"
v1080.m3u8?t=1
#EXT-X-STREAM-INF:BANDWIDTH=5200000,AVERAGE-BANDWIDTH=2628000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=1920x1080,FRAME-RATE=25.000,AUDIO=\"sound6\",SUBTITLES=\"subtitles\"
v1080.m3u8?t=1
#EXT-X-STREAM-INF:BANDWIDTH=1100000,AVERAGE-BANDWIDTH=578000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=853x480,FRAME-RATE=25.000,AUDIO=\"sound2\",SUBTITLES=\"subtitles\"
v480.m3u8?t=1
#EXT-X-STREAM-INF:BANDWIDTH=1100000,AVERAGE-BANDWIDTH=578000,CODECS=\"avc1.640028,mp4a.40.2\",RESOLUTION=853x480,FRAME-RATE=25.000,AUDIO=\"sound6\",SUBTITLES=\"subtitles\"
v480.m3u8?t=1
";
        assert_eq!(master(&all, "?t=1").unwrap(), expected);
    }

    #[test]
    fn names_of_sounds_differ_and_break_no_attribute() {
        let hostile = |name| Variant { label: Some("a\"b\n#EXT".into()), ..sound(name, "x\"y", 2) };
        let text = master(&[hostile("a0"), hostile("a1"), picture(480, 1)], "").unwrap();
        assert!(
            text.contains("NAME=\"ab#EXT\",LANGUAGE=\"xy\"") && text.contains("NAME=\"ab#EXT 2\""),
            "{text}"
        );
        assert_eq!(master(&[], ""), None, "nothing can be played yet");
        let music = master(&[sound("a0", "eng", 2)], "").unwrap();
        assert!(music.contains("BANDWIDTH=200000") && music.ends_with("a0.m3u8\n"), "{music}");
    }

    #[test]
    fn a_playlist_grows_as_an_event_and_ends_as_a_whole() {
        let mut segments = Segments { chunks: vec![(0, vec![4.0, 4.0]), (1, vec![2.5])], is_complete: false };
        let growing = media("v480", &segments, "");
        assert!(growing.contains("PLAYLIST-TYPE:EVENT") && !growing.contains("ENDLIST"), "{growing}");
        assert!(
            growing.contains("#EXTINF:4.00000,\nv480/0-1.m4s\n#EXTINF:2.50000,\nv480/1-0.m4s\n"),
            "{growing}"
        );
        segments.is_complete = true;
        let whole = media("v480", &segments, "?token=x");
        assert!(
            whole.contains("URI=\"v480/init.mp4?token=x\"") && whole.contains("1-0.m4s?token=x\n"),
            "{whole}"
        );
        assert!(whole.contains("PLAYLIST-TYPE:VOD") && whole.ends_with("#EXT-X-ENDLIST\n"), "{whole}");
        assert!(whole.starts_with("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n"), "{whole}");
    }
}
