//! A sound stream that is encoded anew: decode, resample, AAC.

use ff::{ChannelLayout, frame};
use ffmpeg_next as ff;

use super::MediaError;
use super::clock::ticks;
use super::decoder::Decoder;
use super::filter::Chain;
use super::mux::Muxer;
use super::probe::Stream;

/// The sample rates AAC knows, up to the highest that browsers play without resampling.
const RATES: [u32; 9] = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];
/// Bits per second for two channels: transparent for nearly everyone.
const BIT_RATE: usize = 160_000;

/// Decodes, resamples and encodes one sound stream.
pub(super) struct Audio {
    track: usize,
    decoder: Decoder,
    encoder: ff::encoder::audio::Encoder,
    chain: Option<(Shape, Chain)>,
    rate: u32,
    input_clock: ff::Rational,
    offset: i64,
    /// When the next frame is due on the input's clock, for frames that do not say.
    due: i64,
}

/// What a filter chain is built for; a stream may change it midway.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    format: ff::format::Sample,
    rate: u32,
    layout: u64,
}

impl Audio {
    pub(super) fn new(
        input: &ff::Stream<'_>,
        stream: &Stream,
        start: f64,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let decoder = Decoder::open(input)?;
        let rate = RATES.into_iter().find(|rate| *rate == stream.facts.sample_rate).unwrap_or(48_000);
        let encoder = open_encoder(rate)?;
        let track = muxer.add_encoder(&encoder, clock(rate), stream.language.as_deref())?;
        Ok(Self {
            track,
            decoder,
            encoder,
            chain: None,
            rate,
            input_clock: input.time_base(),
            offset: ticks(start, input.time_base()),
            due: 0,
        })
    }

    /// Takes one packet in, or the end with `None`, and writes what comes out.
    pub(super) fn packet(
        &mut self,
        packet: Option<&ff::Packet>,
        muxer: &mut Muxer,
    ) -> Result<(), MediaError> {
        self.decoder.send(packet);
        let mut frame = frame::Audio::empty();
        while self.decoder.receive(&mut frame) {
            if frame.samples() == 0 || frame.rate() == 0 {
                continue;
            }
            let time = frame.timestamp().map_or(self.due, |time| time - self.offset);
            self.due = time + ticks(frame.samples() as f64 / f64::from(frame.rate()), self.input_clock);
            frame.set_pts(Some(time));
            self.filter(&mut frame)?;
            self.encode(muxer)?;
        }
        if packet.is_none() {
            if let Some((_, chain)) = &mut self.chain {
                chain.send(None)?;
            }
            self.encode(muxer)?;
            self.encoder.send_eof().map_err(encode_failed)?;
            self.write(muxer)?;
        }
        Ok(())
    }

    fn filter(&mut self, frame: &mut frame::Audio) -> Result<(), MediaError> {
        let known = frame.channel_layout();
        let layout =
            if known.is_empty() { ChannelLayout::default(i32::from(frame.channels())) } else { known };
        let shape = Shape { format: frame.format(), rate: frame.rate(), layout: layout.bits() };
        if self.chain.as_ref().is_none_or(|(current, _)| *current != shape) {
            // A change midway drops what is less than one AAC frame, 21 ms: only the last one may be short.
            self.chain = Some((shape, self.build(shape)?));
        }
        match &mut self.chain {
            Some((_, chain)) => chain.send(Some(frame)),
            None => Ok(()),
        }
    }

    fn build(&self, shape: Shape) -> Result<Chain, MediaError> {
        let arguments = format!(
            "time_base={}/{}:sample_rate={}:sample_fmt={}:channel_layout=0x{:x}",
            self.input_clock.numerator(),
            self.input_clock.denominator(),
            shape.rate,
            shape.format.name(),
            shape.layout,
        );
        // async=1 fills holes with silence and cuts overlaps, so that sound stays with the picture.
        let spec = format!(
            "aresample={rate}:async=1,aformat=sample_fmts=fltp:sample_rates={rate}:channel_layouts=stereo",
            rate = self.rate
        );
        Chain::new(["abuffer", "abuffersink"], &arguments, &spec, Some(self.encoder.frame_size()))
    }

    /// Moves everything the filters have ready through the encoder.
    fn encode(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        let mut frame = frame::Audio::empty();
        while let Some((_, chain)) = &mut self.chain {
            if !chain.receive(&mut frame)? {
                break;
            }
            self.encoder.send_frame(&frame).map_err(encode_failed)?;
            self.write(muxer)?;
        }
        Ok(())
    }

    fn write(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        loop {
            let mut packet = ff::Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => muxer.write(self.track, packet, clock(self.rate))?,
                Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(encode_failed(error)),
            }
        }
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

fn open_encoder(rate: u32) -> Result<ff::encoder::audio::Encoder, MediaError> {
    let failed = |error| MediaError::output("open the AAC encoder", error);
    let codec = ff::encoder::find_by_name("aac").ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().audio().map_err(failed)?;
    encoder.set_rate(rate.cast_signed());
    encoder.set_format(ff::format::Sample::F32(ff::format::sample::Type::Planar));
    encoder.set_channel_layout(ChannelLayout::STEREO);
    encoder.set_bit_rate(BIT_RATE);
    encoder.set_time_base(clock(rate));
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER);
    encoder.open_as(codec).map_err(failed)
}

fn clock(rate: u32) -> ff::Rational {
    ff::Rational(1, rate.cast_signed())
}

fn encode_failed(error: ff::Error) -> MediaError {
    MediaError::output("encode sound", error)
}
