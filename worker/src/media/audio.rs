//! Encoding of audio: resample, AAC.

use ff::{ChannelLayout, frame};
use ffmpeg_next as ff;

use super::clock::ticks;
use super::decoder::Decoder;
use super::encode::{Codec, EncodedTrack};
use super::error::MediaError;
use super::filter::Chain;
use super::mux::Muxer;
use super::probe::Stream;

/// Sample rates of AAC, up to the highest that browsers play without resampling.
const SAMPLE_RATES: [u32; 9] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
/// Bits per second for two channels; hardly anybody hears a difference from the original.
const BIT_RATE: usize = 160_000;

/// The audio part of an [`EncodedTrack`].
pub(super) struct Audio {
    encoder: ff::encoder::audio::Encoder,
    sample_rate: u32,
    input_time_base: ff::Rational,
    /// Time of the next frame on the input's clock, for frames without a timestamp.
    next_pts: i64,
}

/// The properties of frames that a filter chain is built for.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Format {
    sample: ff::format::Sample,
    rate: u32,
    layout: u64,
}

/// Opens decoder and encoder for a stream of the input, and adds a track to the output.
pub(super) fn open(
    input: &ff::Stream<'_>,
    stream: &Stream,
    start: f64,
    muxer: &mut Muxer,
) -> Result<EncodedTrack<Audio>, MediaError> {
    let decoder = Decoder::open(input)?;
    let wanted = stream.parameters.sample_rate;
    let sample_rate = if SAMPLE_RATES.contains(&wanted) { wanted } else { SAMPLE_RATES[0] };
    let encoder = open_encoder(sample_rate)?;
    let track = muxer.add_encoder(&encoder, time_base(sample_rate), stream.language.as_deref())?;
    let audio = Audio { encoder, sample_rate, input_time_base: input.time_base(), next_pts: 0 };
    Ok(EncodedTrack::new(input, start, decoder, track, audio))
}

impl Codec for Audio {
    type Frame = frame::Audio;
    type Format = Format;

    /// The last frame of AAC alone may be short. What a replaced chain holds is less than a frame of 21 ms:
    /// it is lost.
    const DRAINS_OLD_CHAIN: bool = false;

    fn empty_frame() -> Self::Frame {
        frame::Audio::empty()
    }

    fn input_pts(&mut self, frame: &Self::Frame, timestamp: Option<i64>) -> Option<i64> {
        if frame.samples() == 0 || frame.rate() == 0 {
            return None;
        }
        let pts = timestamp.unwrap_or(self.next_pts);
        let seconds = frame.samples() as f64 / f64::from(frame.rate());
        self.next_pts = pts + ticks(seconds, self.input_time_base);
        Some(pts)
    }

    fn format_of(frame: &Self::Frame) -> Format {
        let known = frame.channel_layout();
        let layout =
            if known.is_empty() { ChannelLayout::default(i32::from(frame.channels())) } else { known };
        Format { sample: frame.format(), rate: frame.rate(), layout: layout.bits() }
    }

    fn build_chain(&self, format: Format) -> Result<Chain, MediaError> {
        let arguments = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout=0x{:x}",
            self.input_time_base.numerator(),
            self.input_time_base.denominator(),
            format.rate,
            format.sample.name(),
            format.layout,
        );
        // async=1 fills gaps with silence and cuts overlaps, so that audio stays in sync with the video.
        let spec = format!(
            "aresample={rate}:async=1,aformat=sample_fmts=fltp:sample_rates={rate}:channel_layouts=stereo",
            rate = self.sample_rate
        );
        Chain::new(["abuffer", "abuffersink"], &arguments, &spec, Some(self.encoder.frame_size()))
    }

    fn prepare(&mut self, _: &mut Self::Frame, _: ff::Rational) -> bool {
        true
    }

    fn encoder(&mut self) -> &mut ff::encoder::Encoder {
        &mut self.encoder
    }

    fn time_base(&self) -> ff::Rational {
        time_base(self.sample_rate)
    }

    fn complete(&self, _: &mut ff::Packet) {}

    fn encode_failed(error: ff::Error) -> MediaError {
        MediaError::output("encode sound", error)
    }
}

fn open_encoder(sample_rate: u32) -> Result<ff::encoder::audio::Encoder, MediaError> {
    let failed = |error| MediaError::output("open the AAC encoder", error);
    let codec = ff::encoder::find_by_name("aac").ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().audio().map_err(failed)?;
    encoder.set_rate(sample_rate.cast_signed());
    encoder.set_format(ff::format::Sample::F32(ff::format::sample::Type::Planar));
    encoder.set_channel_layout(ChannelLayout::STEREO);
    encoder.set_bit_rate(BIT_RATE);
    encoder.set_time_base(time_base(sample_rate));
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
    encoder.open_as(codec).map_err(failed)
}

/// One tick per sample.
fn time_base(sample_rate: u32) -> ff::Rational {
    ff::Rational(1, sample_rate.cast_signed())
}
