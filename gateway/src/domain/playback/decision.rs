//! Decides what a client plays: of all that it can play, what has been changed least. Pure.

use nebula_api::playback::{Capabilities, PlaybackDecision, PlaybackReason, VideoCapability};

use crate::database::playback::{Original, OriginalAudio, OriginalVideo, Source, Web};

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) decision: PlaybackDecision,
    /// `original`, `web` or `hls`; none if nothing can be played now.
    pub(crate) rendition: Option<&'static str>,
    pub(crate) reasons: Vec<PlaybackReason>,
}

/// Workers make H.264 of 8 bits up to level 5.1, and AAC.
const MADE_LEVEL: f32 = 5.1;

pub(crate) fn decide(source: &Source, client: &Capabilities) -> Decided {
    if !source.is_media {
        // A picture or a text: browsers show it or save it.
        return Decided {
            decision: PlaybackDecision::Direct,
            rendition: Some("original"),
            reasons: Vec::new(),
        };
    }
    let mut reasons = match &source.original {
        Some(original) if client.all_codecs => against_height(original.video.as_ref(), client).collect(),
        Some(original) => against(original, &source.content_type, client),
        None if client.all_codecs => Vec::new(),
        None => vec![PlaybackReason::UploadUnknown],
    };
    if reasons.is_empty() {
        return Decided { decision: PlaybackDecision::Direct, rendition: Some("original"), reasons };
    }
    let has_picture = source.original.as_ref().is_none_or(|original| original.video.is_some());
    let plays_made = plays_made(client, has_picture);
    let web = source.web.as_ref().filter(|web| {
        plays_made
            && plays_mp4(client)
            && client.max_height.is_none_or(|max| web.height.is_none_or(|height| height <= max))
    });
    let streams = source.is_streamed && client.hls && plays_made;
    let found = match web {
        Some(web) if web.decision() != PlaybackDecision::Full => Some((web.decision(), "web")),
        _ if streams => Some((PlaybackDecision::Full, "hls")),
        Some(web) => Some((web.decision(), "web")),
        None => None,
    };
    if let Some((decision, rendition)) = found {
        return Decided { decision, rendition: Some(rendition), reasons };
    }
    let may_come = plays_made
        && (client.hls && has_picture && !source.is_streamed || plays_mp4(client) && source.web.is_none());
    reasons.push(if may_come { PlaybackReason::NotMadeYet } else { PlaybackReason::NothingFits });
    Decided { decision: least(&reasons), rendition: None, reasons }
}

/// The least that would have to be another.
fn least(reasons: &[PlaybackReason]) -> PlaybackDecision {
    use PlaybackReason::{AudioChannels, AudioCodec, Container, NotMadeYet, NothingFits};
    let only = |allowed: &[PlaybackReason]| reasons.iter().all(|reason| allowed.contains(reason));
    if only(&[Container, NotMadeYet, NothingFits]) {
        PlaybackDecision::Remux
    } else if only(&[Container, AudioCodec, AudioChannels, NotMadeYet, NothingFits]) {
        PlaybackDecision::Audio
    } else {
        PlaybackDecision::Full
    }
}

/// All that keeps the client from playing the upload itself.
fn against(original: &Original, content_type: &str, client: &Capabilities) -> Vec<PlaybackReason> {
    let mut reasons = Vec::new();
    if !plays(&client.containers, container(&original.container, content_type)) {
        reasons.push(PlaybackReason::Container);
    }
    if let Some(video) = &original.video {
        against_picture(video, client, &mut reasons);
    }
    // Players begin with the first sound, which is the default one.
    if let Some(audio) = original.audio.first() {
        reasons.extend(against_sound(audio, client));
    }
    reasons
}

fn against_picture(video: &OriginalVideo, client: &Capabilities, reasons: &mut Vec<PlaybackReason>) {
    use PlaybackReason::{
        VideoBitDepth, VideoCodec, VideoHdr, VideoInterlaced, VideoLevel, VideoPixelFormat, VideoProfile,
    };
    // A client may have several entries of a codec, such as one for each profile: one that fits is enough.
    let entries = client.video.iter().filter(|known| known.codec.eq_ignore_ascii_case(&video.codec));
    let faults = entries.map(|known| {
        let lists = known.profiles.as_ref().zip(video.profile.as_ref());
        let is_listed = lists.map(|(profiles, profile)| plays(profiles, profile));
        let level = video.level.map(|level| level_of(&video.codec, level));
        let is_above = level.zip(known.max_level).is_some_and(|(level, max)| level > max + 0.01);
        [
            (is_listed == Some(false), VideoProfile),
            (is_above, VideoLevel),
            (video.bit_depth > known.max_bit_depth.unwrap_or(8), VideoBitDepth),
            (!video.is_420 && is_listed != Some(true), VideoPixelFormat),
        ]
        .into_iter()
        .filter_map(|(applies, reason)| applies.then_some(reason))
        .collect::<Vec<_>>()
    });
    reasons.extend(faults.min_by_key(Vec::len).unwrap_or_else(|| vec![VideoCodec]));
    reasons.extend(against_height(Some(video), client));
    for (applies, reason) in [
        (video.is_interlaced && !client.interlaced, VideoInterlaced),
        (video.is_hdr && !client.hdr, VideoHdr),
    ] {
        if applies {
            reasons.push(reason);
        }
    }
}

fn against_height(
    video: Option<&OriginalVideo>,
    client: &Capabilities,
) -> impl Iterator<Item = PlaybackReason> {
    let is_above = video.zip(client.max_height).is_some_and(|(video, max)| video.height > max);
    is_above.then_some(PlaybackReason::VideoHeight).into_iter()
}

fn against_sound(audio: &OriginalAudio, client: &Capabilities) -> Option<PlaybackReason> {
    let mut entries =
        client.audio.iter().filter(|known| known.codec.eq_ignore_ascii_case(&audio.codec)).peekable();
    if entries.peek().is_none() {
        return Some(PlaybackReason::AudioCodec);
    }
    let fits = entries.any(|known| known.max_channels.is_none_or(|max| audio.channels <= max));
    (!fits).then_some(PlaybackReason::AudioChannels)
}

/// Whether the client plays what workers make.
fn plays_made(client: &Capabilities, has_picture: bool) -> bool {
    let fits = |known: &VideoCapability| {
        known.codec.eq_ignore_ascii_case("h264")
            && known.profiles.as_ref().is_none_or(|profiles| plays(profiles, "High"))
            && known.max_level.is_none_or(|max| max > MADE_LEVEL - 0.01)
    };
    client.all_codecs
        || client.audio.iter().any(|known| known.codec.eq_ignore_ascii_case("aac"))
            && (!has_picture || client.video.iter().any(fits))
}

fn plays_mp4(client: &Capabilities) -> bool {
    client.all_codecs || plays(&client.containers, "mp4")
}

fn plays(list: &[String], name: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The name by which clients know a container. One demuxer reads several, which the content type tells apart.
fn container<'a>(demuxer: &'a str, content_type: &str) -> &'a str {
    match demuxer.split(',').next().unwrap_or_default() {
        "matroska" if content_type.ends_with("/webm") => "webm",
        "mov" if content_type != "video/quicktime" => "mp4",
        name => name,
    }
}

/// A level as people write it: each codec counts in its own way.
fn level_of(codec: &str, level: i32) -> f32 {
    match codec {
        "hevc" => level as f32 / 30.0,
        "av1" => (2 + level / 4) as f32 + (level % 4) as f32 / 10.0,
        _ => level as f32 / 10.0,
    }
}

impl Web {
    fn decision(&self) -> PlaybackDecision {
        match self.decision.as_str() {
            "remux" => PlaybackDecision::Remux,
            "audio" => PlaybackDecision::Audio,
            _ => PlaybackDecision::Full,
        }
    }
}

#[cfg(test)]
mod tests;
