//! Decides for each stream between copy and encoding: the least work after which every browser plays the
//! result.

use std::fmt;

use ff::FieldOrder;
use ff::codec::{Id, Profile, profile};
use ff::color::TransferCharacteristic;
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::probe::{Probe, Stream};
use super::shape::MAX_LEVEL;

/// How much of a file has to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// All packets are copied into the new container.
    Remux,
    /// Video is copied, audio is encoded.
    Audio,
    /// Video is encoded.
    Transcode,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Remux => "remux",
            Self::Audio => "audio",
            Self::Transcode => "transcode",
        })
    }
}

/// Why a stream cannot be copied. Programs read the serialised names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// Not H.264.
    VideoCodec,
    /// A profile beyond High, which browsers do not decode.
    VideoProfile,
    /// A level beyond 5.1, which hardware decoders refuse.
    VideoLevel,
    /// More than 8 bits, or colour not subsampled as 4:2:0.
    VideoPixelFormat,
    /// Interlaced, which browsers show as combs.
    VideoInterlaced,
    /// High dynamic range, which looks washed out on most screens.
    VideoHdr,
    /// The container stores no presentation times.
    ContainerTimestamps,
    /// Not AAC. MP3 in MP4 is allowed, but not every browser plays it.
    AudioCodec,
    /// AAC, but not of the low-complexity profile.
    AudioProfile,
    /// Its content is damaged, which players of a copy do not get over.
    Damaged,
}

/// The decision for each stream of a probe, in its order.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) decision: Decision,
    pub(super) reasons: Vec<Reason>,
    pub(super) copy_video: bool,
    pub(super) copy_audio: Vec<bool>,
}

pub(super) fn decide(probe: &Probe) -> Plan {
    let video =
        probe.video.as_ref().map(|stream| video_reasons(probe.lacks_times, stream)).unwrap_or_default();
    let audio: Vec<_> = probe.audio.iter().map(audio_reason).collect();
    let decision = match (video.is_empty(), audio.iter().all(Option::is_none)) {
        (true, true) => Decision::Remux,
        (true, false) => Decision::Audio,
        (false, _) => Decision::Transcode,
    };
    let copy_video = video.is_empty();
    let copy_audio = audio.iter().map(Option::is_none).collect();
    let mut reasons = video;
    for reason in audio.into_iter().flatten() {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Plan { decision, reasons, copy_video, copy_audio }
}

/// Encodes all of a damaged file.
pub(super) fn encode_all(probe: &Probe) -> Plan {
    let mut plan = decide(probe);
    plan.decision = if probe.video.is_some() { Decision::Transcode } else { Decision::Audio };
    plan.reasons.push(Reason::Damaged);
    plan.copy_video = false;
    plan.copy_audio.fill(false);
    plan
}

fn video_reasons(lacks_times: bool, stream: &Stream) -> Vec<Reason> {
    let parameters = &stream.parameters;
    if stream.codec != Id::H264 {
        return vec![Reason::VideoCodec];
    }
    let playable = matches!(
        parameters.profile,
        Profile::H264(
            profile::H264::Baseline
                | profile::H264::ConstrainedBaseline
                | profile::H264::Main
                | profile::H264::High
        )
    );
    let reasons = [
        (!playable, Reason::VideoProfile),
        (parameters.level > MAX_LEVEL, Reason::VideoLevel),
        (!parameters.is_yuv420p, Reason::VideoPixelFormat),
        (is_interlaced(parameters.field_order), Reason::VideoInterlaced),
        (is_hdr(parameters.transfer), Reason::VideoHdr),
        (lacks_times, Reason::ContainerTimestamps),
    ];
    reasons.into_iter().filter_map(|(applies, reason)| applies.then_some(reason)).collect()
}

fn audio_reason(stream: &Stream) -> Option<Reason> {
    match (stream.codec, stream.parameters.profile) {
        (Id::AAC, Profile::AAC(profile::AAC::Low)) => None,
        (Id::AAC, _) => Some(Reason::AudioProfile),
        _ => Some(Reason::AudioCodec),
    }
}

/// Unknown counts as progressive, which nearly all files are that do not name the order.
pub(super) fn is_interlaced(order: FieldOrder) -> bool {
    !matches!(order, FieldOrder::Unknown | FieldOrder::Progressive)
}

pub(super) fn is_hdr(transfer: TransferCharacteristic) -> bool {
    matches!(transfer, TransferCharacteristic::SMPTE2084 | TransferCharacteristic::ARIB_STD_B67)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::ffi::StreamParameters;
    use super::*;

    pub(in super::super) fn stream(codec: Id, profile: Profile) -> Stream {
        Stream {
            index: 0,
            codec,
            parameters: StreamParameters {
                profile,
                profile_name: None,
                level: 40,
                width: 1280,
                height: 720,
                is_yuv420p: true,
                bit_depth: 8,
                is_420: true,
                field_order: FieldOrder::Progressive,
                space: ff::color::Space::BT709,
                primaries: ff::color::Primaries::BT709,
                transfer: TransferCharacteristic::BT709,
                aspect: ff::Rational(1, 1),
                sample_rate: 48_000,
                channels: 2,
            },
            language: None,
            title: None,
            is_forced: false,
            frame_rate: ff::Rational(25, 1),
            display_matrix: None,
        }
    }

    fn plan(video: Option<Stream>, audio: Vec<Stream>) -> Plan {
        let format = "matroska,webm".to_owned();
        let probe = Probe {
            format,
            may_jump: false,
            lacks_times: false,
            duration: None,
            start: 0.0,
            video,
            audio,
            subtitles: Vec::new(),
            cover: None,
            chapters: Vec::new(),
            warnings: Vec::new(),
        };
        decide(&probe)
    }

    fn h264() -> Stream {
        stream(Id::H264, Profile::H264(profile::H264::High))
    }

    #[test]
    fn streams_that_browsers_play_are_copied() {
        let aac = stream(Id::AAC, Profile::AAC(profile::AAC::Low));
        let plan = plan(Some(h264()), vec![aac, stream(Id::AAC, Profile::AAC(profile::AAC::Low))]);
        assert_eq!(plan.decision, Decision::Remux);
        assert!(plan.reasons.is_empty() && plan.copy_video && plan.copy_audio == [true, true]);
    }

    #[test]
    fn audio_that_browsers_play_is_not_encoded() {
        let aac = stream(Id::AAC, Profile::AAC(profile::AAC::Low));
        let plan = plan(Some(h264()), vec![aac, stream(Id::OPUS, Profile::Unknown)]);
        assert_eq!((plan.decision, plan.reasons), (Decision::Audio, vec![Reason::AudioCodec]));
        assert_eq!(plan.copy_audio, [true, false]);
    }

    #[test]
    fn all_reasons_against_a_copy_are_named() {
        let mut video = stream(Id::H264, Profile::H264(profile::H264::High10));
        video.parameters.is_yuv420p = false;
        video.parameters.field_order = FieldOrder::TT;
        let plan = plan(Some(video), vec![stream(Id::AAC, Profile::AAC(profile::AAC::HE))]);
        assert_eq!(plan.decision, Decision::Transcode);
        let expected =
            [Reason::VideoProfile, Reason::VideoPixelFormat, Reason::VideoInterlaced, Reason::AudioProfile];
        assert_eq!(plan.reasons, expected);
    }

    #[test]
    fn reasons_and_decisions_have_stable_names() {
        assert_eq!(serde_json::to_string(&Reason::VideoPixelFormat).unwrap(), "\"videoPixelFormat\"");
        assert_eq!(serde_json::to_string(&Decision::Remux).unwrap(), "\"remux\"");
    }
}
