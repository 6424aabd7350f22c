//! Encoding of audio: resample, AAC.

use ff::{ChannelLayout, frame};
use ffmpeg_next as ff;

use super::clock::ticks;
use super::decoder::Decoder;
use super::encode::{Codec, EncodedTrack, encoded_packet};
use super::error::MediaError;
use super::filter::Chain;
use super::probe::Stream;

/// Sample rates of AAC, up to the highest that browsers play without resampling.
const SAMPLE_RATES: [u32; 9] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
/// Bits per second for two channels; hardly anybody hears a difference from the original.
const BIT_RATE: usize = 160_000;

/// The audio part of an [`EncodedTrack`].
pub(super) struct Audio {
    encoder: ff::encoder::audio::Encoder,
    sample_rate: u32,
    layout: ChannelLayout,
    input_time_base: ff::Rational,
    /// Time of the next frame on the input's clock, for frames without a timestamp.
    next_pts: i64,
}

/// The properties of frames that a filter chain is built for.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Format {
    sample: ff::format::Sample,
    rate: u32,
    /// 0 when nobody knows where the channels belong.
    layout: u64,
    channels: u16,
}

/// Opens decoder and encoder for a stream of the input; `add` adds a track of the encoder to the output and answers
/// its index.
pub(super) fn open(
    input: &ff::Stream<'_>,
    stream: &Stream,
    start: f64,
    channels: u32,
    add: impl FnOnce(&ff::encoder::audio::Encoder, ff::Rational) -> Result<usize, MediaError>,
) -> Result<EncodedTrack<Audio>, MediaError> {
    let decoder = Decoder::open(input)?;
    let wanted = stream.parameters.sample_rate;
    let sample_rate = if SAMPLE_RATES.contains(&wanted) { wanted } else { SAMPLE_RATES[0] };
    let layout = layout(channels);
    let encoder = open_encoder(sample_rate, layout)?;
    let track = add(&encoder, time_base(sample_rate))?;
    let audio = Audio { encoder, sample_rate, layout, input_time_base: input.time_base(), next_pts: 0 };
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
        let (known, channels) = (frame.channel_layout(), frame.channels());
        let layout = if known.is_empty() { ChannelLayout::default(i32::from(channels)) } else { known };
        Format { sample: frame.format(), rate: frame.rate(), layout: layout.bits(), channels }
    }

    fn build_chain(&self, format: Format) -> Result<Chain, MediaError> {
        let arguments = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout={}",
            self.input_time_base.numerator(),
            self.input_time_base.denominator(),
            format.rate,
            format.sample.name(),
            match format.layout {
                0 => format!("{}C", format.channels),
                layout => format!("0x{layout:x}"),
            },
        );
        // Of channels without a place the first two are heard.
        let mix = if format.layout == 0 { "pan=stereo|c0=c0|c1=c1," } else { "" };
        // async=1 fills gaps with silence and cuts overlaps, so that audio stays in sync with the video.
        let spec = format!(
            "{mix}aresample={rate}:async=1,aformat=sample_fmts=fltp:sample_rates={rate}:channel_layouts=0x{layout:x}",
            rate = self.sample_rate,
            layout = self.layout.bits()
        );
        Chain::new(["abuffer", "abuffersink"], &arguments, &spec, Some(self.encoder.frame_size()))
    }

    fn prepare(&mut self, _: &mut Self::Frame, _: ff::Rational) -> bool {
        true
    }

    fn send(&mut self, frame: Option<&Self::Frame>) -> Result<(), ff::Error> {
        match frame {
            Some(frame) => self.encoder.send_frame(frame),
            None => self.encoder.send_eof(),
        }
    }

    fn receive(&mut self) -> Result<Option<ff::Packet>, ff::Error> {
        encoded_packet(&mut self.encoder)
    }

    fn time_base(&self) -> ff::Rational {
        time_base(self.sample_rate)
    }

    fn complete(&self, _: &mut ff::Packet) {}

    fn encode_failed(error: ff::Error) -> MediaError {
        MediaError::output("encode sound", error)
    }
}

/// The layouts that are made: stereo, or as many channels as AAC has a common layout for.
fn layout(channels: u32) -> ChannelLayout {
    match channels {
        6 => ChannelLayout::_5POINT1_BACK,
        8 => ChannelLayout::_7POINT1,
        _ => ChannelLayout::STEREO,
    }
}

fn open_encoder(sample_rate: u32, layout: ChannelLayout) -> Result<ff::encoder::audio::Encoder, MediaError> {
    let failed = |error| MediaError::output("open the AAC encoder", error);
    let codec = ff::encoder::find_by_name("aac").ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().audio().map_err(failed)?;
    encoder.set_rate(sample_rate.cast_signed());
    encoder.set_format(ff::format::Sample::F32(ff::format::sample::Type::Planar));
    encoder.set_channel_layout(layout);
    encoder.set_bit_rate(BIT_RATE / 2 * usize::try_from(layout.channels()).unwrap_or(2).max(2));
    encoder.set_time_base(time_base(sample_rate));
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
    encoder.open_as(codec).map_err(failed)
}

/// One tick per sample.
fn time_base(sample_rate: u32) -> ff::Rational {
    ff::Rational(1, sample_rate.cast_signed())
}
