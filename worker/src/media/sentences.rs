//! Sentences for people about an upload: what was done with it, what was left out, and why. No other file words them.

use nebula_media_kind::language;

use super::beside::Text;
use super::codec_name::codec_name;
use super::decision::{Decision, Reason};
use super::hardware::Encoder;
use super::original::{OriginalAudio, OriginalVideo};
use super::pictures::Photo;
use super::plan::MediaPlan;
use super::summary::Summary;

/// Sounds, subtitles or sizes that are named one by one in a sentence.
const MAX_NAMED: usize = 6;

/// Sentences about a film or a recording of this plan, with the outcome in `made`.
pub(crate) fn film(plan: &MediaPlan, made: &Summary) -> Vec<String> {
    let mut all: Vec<String> = plan.original.video.iter().map(|video| picture(video, plan, made)).collect();
    if let Some(sizes) = sizes(plan) {
        all.push(sizes);
    }
    all.extend(sounds(plan, made));
    all.extend(subtitles(plan));
    match plan.chapters.len() {
        0 => {}
        1 => all.push("Its one chapter was kept.".to_owned()),
        count => all.push(format!("Its {count} chapters were kept.")),
    }
    if plan.original.video.is_none() && plan.pictures {
        all.push("Its cover is the poster.".to_owned());
    }
    all.extend(made.warnings.iter().map(|warning| sentence(warning)));
    all
}

/// Sentences about an uploaded picture.
pub(crate) fn photo(photo: &Photo) -> Vec<String> {
    let ((width, height), (wide, high)) = (photo.size, photo.preview);
    let format = codec_name(&photo.format);
    let turned = if photo.is_turned { ", turned as the camera was held" } else { "" };
    vec![format!("The picture ({format}, {width}x{height}) has a preview of {wide}x{high}{turned}.")]
}

/// Sentences about subtitles beside films.
pub(crate) fn text(text: &Text) -> Vec<String> {
    let format = codec_name(&text.format);
    let lines = match text.cues {
        1 => format!("1 line of subtitles ({format}) was"),
        count => format!("{count} lines of subtitles ({format}) were"),
    };
    let done = format!("{lines} converted to WebVTT; films of this name in this folder show them.");
    std::iter::once(done).chain(text.warnings.iter().map(|warning| sentence(warning))).collect()
}

/// A file that stays as it is, and why.
pub(crate) fn unread(nothing: &str, reason: &str) -> Vec<String> {
    vec![sentence(&format!("{nothing}: {reason}"))]
}

/// A reason or a warning as a sentence.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    first.to_uppercase().chain(letters).collect::<String>() + end
}

fn picture(video: &OriginalVideo, plan: &MediaPlan, made: &Summary) -> String {
    let mut kind = format!("{}, {}x{}", codec_name(&video.codec), video.width, video.height);
    if video.bit_depth > 8 {
        kind += &format!(", {} bits", video.bit_depth);
    }
    for (is, word) in [(video.is_hdr, "HDR"), (video.is_interlaced, "interlaced")] {
        if is {
            kind += &format!(", {word}");
        }
    }
    if made.decision != Decision::Transcode {
        return format!("The picture ({kind}) was kept as it is.");
    }
    let size = made.width.zip(made.height);
    let size = size.map_or_else(String::new, |(width, height)| format!(" of {width}x{height}"));
    let reasons: Vec<_> = made.reasons.iter().filter_map(|reason| of_picture(*reason, video)).collect();
    let because = if reasons.is_empty() { String::new() } else { format!(", because {}", joined(&reasons)) };
    let by = match plan.method.encoder {
        Encoder::Software => "",
        Encoder::Vaapi | Encoder::Qsv => " by the device of the machine",
    };
    format!("The picture ({kind}) was converted to H.264{size}{by}{because}.")
}

fn of_picture(reason: Reason, video: &OriginalVideo) -> Option<String> {
    Some(match reason {
        Reason::VideoCodec => format!("not every browser plays {}", codec_name(&video.codec)),
        Reason::VideoProfile => match &video.profile {
            Some(profile) => format!("browsers do not play its profile {profile}"),
            None => "browsers do not play its profile".to_owned(),
        },
        Reason::VideoLevel => "hardware decoders do not play its level".to_owned(),
        Reason::VideoPixelFormat => "browsers play only 8 bits and 4:2:0".to_owned(),
        Reason::VideoInterlaced => "browsers show interlaced pictures as combs".to_owned(),
        Reason::VideoHdr => "HDR looks washed out on most screens".to_owned(),
        Reason::ContainerTimestamps => "its container does not say when a picture is shown".to_owned(),
        Reason::Damaged => "it is damaged".to_owned(),
        Reason::AudioCodec | Reason::AudioProfile => return None,
    })
}

fn sizes(plan: &MediaPlan) -> Option<String> {
    let names: Vec<_> = plan.variants.iter().filter_map(|size| size.name.strip_prefix('v')).collect();
    let names: Vec<_> = names.iter().map(|name| format!("{name}p")).collect();
    (!names.is_empty()).then(|| format!("Streams have it in {}.", joined(&names)))
}

fn sounds(plan: &MediaPlan, made: &Summary) -> Vec<String> {
    let named = |index: usize, sound: &OriginalAudio| {
        let planned = plan.sounds.iter().find(|planned| planned.name == format!("a{index}"));
        let language = planned.and_then(|sound| sound.language.as_deref());
        let language = language.map(|code| language::name(code).unwrap_or(code));
        // Many tracks are titled with their language.
        let title = planned.and_then(|sound| sound.label.as_deref()).filter(|title| Some(*title) != language);
        let (codec, channels) = (codec_name(&sound.codec), channels(sound.channels));
        let words = [language, title, Some(&codec), Some(&channels)];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let is_kept = |sound: &OriginalAudio| {
        made.decision != Decision::Transcode && sound.codec == "aac" && sound.profile.as_deref() == Some("LC")
    };
    let all = plan.original.audio.iter().enumerate();
    let (kept, converted): (Vec<_>, Vec<_>) = all.partition(|(_, sound)| is_kept(sound));
    let list = |sounds: &[(usize, &OriginalAudio)]| {
        let names: Vec<_> = sounds.iter().map(|(index, sound)| named(*index, sound)).collect();
        counted(&names, "sound")
    };
    let mut sentences = Vec::new();
    match kept.len() {
        0 => {}
        1 => sentences.push(format!("{} was kept as it is.", list(&kept))),
        _ => sentences.push(format!("{} were kept as they are.", list(&kept))),
    }
    match converted.len() {
        0 => {}
        1 => sentences.push(format!("{} was converted to AAC in stereo.", list(&converted))),
        _ => sentences.push(format!("{} were converted to AAC in stereo.", list(&converted))),
    }
    match plan.sounds.iter().filter(|sound| sound.channels > 2).count() {
        0 => {}
        1 => sentences.push("Streams have its surround sound, too.".to_owned()),
        count => sentences.push(format!("Streams have surround sound, too, {count} times.")),
    }
    sentences
}

fn subtitles(plan: &MediaPlan) -> Option<String> {
    let named = |subtitle: &super::webvtt::Subtitle| {
        let language = subtitle.language.as_deref().map(|code| language::name(code).unwrap_or(code));
        let words = [language, subtitle.label.as_deref(), subtitle.forced.then_some("forced")];
        let words: Vec<_> = words.into_iter().flatten().collect();
        if words.is_empty() { "no language named".to_owned() } else { words.join(" ") }
    };
    let names: Vec<_> = plan.subtitles.iter().map(named).collect();
    match names.len() {
        0 => None,
        1 => Some(format!("{} was kept as text.", counted(&names, "subtitle"))),
        _ => Some(format!("{} were kept as text.", counted(&names, "subtitle"))),
    }
}

/// "The sound (English AAC stereo)", "3 sounds (…)".
fn counted(names: &[String], noun: &str) -> String {
    let shown = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = if names.len() > MAX_NAMED { "; …" } else { "" };
    match names.len() {
        1 => format!("The {noun} ({shown})"),
        count => format!("{count} {noun}s ({shown}{more})"),
    }
}

/// "one, two and three".
fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn channels(count: u32) -> String {
    match count {
        1 => "mono".to_owned(),
        2 => "stereo".to_owned(),
        6 => "5.1".to_owned(),
        8 => "7.1".to_owned(),
        count => format!("{count} channels"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(change: impl FnOnce(&mut serde_json::Value)) -> MediaPlan {
        let mut plan = json!({
            "duration": 10.0, "frameRate": 25.0, "web": "join", "pictures": true, "chunks": [],
            "variants": [{"name": "v1080", "width": 1920, "height": 1080, "maxrate": 1},
                         {"name": "v480", "width": 854, "height": 480, "maxrate": 1}],
            "sounds": [{"name": "a0", "stream": 1, "language": "ger", "label": "German", "channels": 2,
                        "default": true},
                       {"name": "s0", "stream": 1, "language": "ger", "channels": 6, "default": false}],
            "subtitles": [{"name": "subtitle-0", "stream": 2, "language": "eng", "forced": true}],
            "chapters": [],
            "original": {
                "container": "matroska,webm",
                "video": {"codec": "hevc", "profile": "Main 10", "level": 123, "bitDepth": 10, "is420": true,
                          "width": 1920, "height": 1080, "isInterlaced": false, "isHdr": true},
                "audio": [{"codec": "ac3", "profile": null, "channels": 6}]},
            "summary": {"decision": "transcode", "reasons": ["videoCodec", "videoHdr", "audioCodec"],
                        "durationSeconds": 10.0, "width": 1920, "height": 1080, "videoCodec": "h264",
                        "audioCodec": "aac", "audioTracks": 1, "subtitles": ["eng"],
                        "warnings": ["subtitle stream 3 was left out: PGS consists of pictures"]},
        });
        change(&mut plan);
        serde_json::from_value(plan).unwrap()
    }

    #[test]
    fn a_converted_film_tells_what_was_done_and_why_and_what_is_missing() {
        let plan = plan(|_| {});
        assert_eq!(
            film(&plan, &plan.summary),
            [
                "The picture (HEVC, 1920x1080, 10 bits, HDR) was converted to H.264 of 1920x1080, because not every \
             browser plays HEVC and HDR looks washed out on most screens.",
                "Streams have it in 1080p and 480p.",
                "The sound (German AC-3 5.1) was converted to AAC in stereo.",
                "Streams have its surround sound, too.",
                "The subtitle (English forced) was kept as text.",
                "Subtitle stream 3 was left out: PGS consists of pictures.",
            ]
        );
    }

    #[test]
    fn what_is_copied_was_kept_as_it_is() {
        let plan = plan(|plan| {
            plan["variants"] = json!([]);
            plan["sounds"] = json!([]);
            plan["subtitles"] = json!([]);
            plan["chapters"] =
                json!([{"start": 0.0, "end": 5.0, "title": "One"}, {"start": 5.0, "end": 10.0, "title": ""}]);
            plan["original"]["video"] = json!(null);
            plan["original"]["audio"] =
                json!([{"codec": "aac", "profile": "LC", "channels": 2}, {"codec": "mp3", "channels": 1}]);
            plan["summary"]["decision"] = json!("audio");
            plan["summary"]["warnings"] = json!([]);
        });
        assert_eq!(
            film(&plan, &plan.summary),
            [
                "The sound (AAC stereo) was kept as it is.",
                "The sound (MP3 mono) was converted to AAC in stereo.",
                "Its 2 chapters were kept.",
                "Its cover is the poster.",
            ]
        );
    }

    #[test]
    fn a_reason_becomes_a_sentence() {
        assert_eq!(
            sentence("the file is damaged: 3 packets were skipped"),
            "The file is damaged: 3 packets were skipped."
        );
        assert_eq!((sentence("Done."), sentence("")), ("Done.".to_owned(), String::new()));
    }
}
