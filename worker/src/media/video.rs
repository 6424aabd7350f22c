//! A picture stream that is encoded anew: decode, filter, H.264.

use std::f64::consts::PI;

use ff::color::{Primaries, Space, TransferCharacteristic};
use ff::{Rescale, frame, picture};
use ffmpeg_next as ff;

use super::MediaError;
use super::clock::{ticks, to_f64};
use super::decision::{is_hdr, is_interlaced};
use super::decoder::Decoder;
use super::filter::Chain;
use super::mux::Muxer;
use super::probe::Stream;

/// The clock of the encoder: every common frame rate comes out even on it, variable ones lose nothing visible.
const CLOCK: ff::Rational = ff::Rational(1, 90_000);
/// Faster pictures than this cost and do not show.
const MAX_RATE: f64 = 60.0;
/// Seconds between key frames, so that seeking is quick.
const KEY_INTERVAL: f64 = 2.0;

/// Decodes, filters and encodes one picture stream.
pub(super) struct Video {
    track: usize,
    decoder: Decoder,
    encoder: ff::encoder::video::Encoder,
    chain: Option<(Shape, Chain)>,
    spec: String,
    input_clock: ff::Rational,
    offset: i64,
    frame_duration: i64,
    /// The next frame must come after this, on the encoder's clock.
    last: Option<i64>,
}

/// What a filter chain is built for; a stream may change it midway.
#[derive(Clone, Copy, PartialEq)]
struct Shape {
    format: ff::format::Pixel,
    width: u32,
    height: u32,
}

impl Video {
    pub(super) fn new(
        input: &ff::Stream<'_>,
        stream: &Stream,
        start: f64,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let decoder = Decoder::open(input)?;
        let rate = stream.frame_rate;
        let rate = if to_f64(rate) > MAX_RATE + 0.5 { ff::Rational(60, 1) } else { rate };
        let encoder = open_encoder(stream, rate)?;
        let track = muxer.add_encoder(&encoder, CLOCK, stream.language.as_deref())?;
        Ok(Self {
            track,
            decoder,
            encoder,
            chain: None,
            spec: filters(stream, rate),
            input_clock: input.time_base(),
            offset: ticks(start, input.time_base()),
            frame_duration: (1.0 / (to_f64(rate) * to_f64(CLOCK))).round() as i64,
            last: None,
        })
    }

    /// Takes one packet in, or the end with `None`, and writes what comes out.
    pub(super) fn packet(
        &mut self,
        packet: Option<&ff::Packet>,
        muxer: &mut Muxer,
    ) -> Result<(), MediaError> {
        self.decoder.send(packet);
        let mut frame = frame::Video::empty();
        while self.decoder.receive(&mut frame) {
            let time = frame.timestamp().map(|time| time - self.offset);
            frame.set_pts(time.or_else(|| self.guess()));
            self.filter(&frame, muxer)?;
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

    fn filter(&mut self, frame: &frame::Video, muxer: &mut Muxer) -> Result<(), MediaError> {
        let shape = Shape { format: frame.format(), width: frame.width(), height: frame.height() };
        if self.chain.as_ref().is_none_or(|(current, _)| *current != shape) {
            if let Some((_, old)) = &mut self.chain {
                old.send(None)?;
            }
            self.encode(muxer)?;
            let chain =
                Chain::new(["buffer", "buffersink"], &shape.arguments(self.input_clock), &self.spec, None)?;
            self.chain = Some((shape, chain));
        }
        if let Some((_, chain)) = &mut self.chain {
            chain.send(Some(frame))?;
        }
        self.encode(muxer)
    }

    /// Moves everything the filters have ready through the encoder.
    fn encode(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        let mut frame = frame::Video::empty();
        while let Some((_, chain)) = &mut self.chain {
            if !chain.receive(&mut frame)? {
                break;
            }
            let time = frame
                .pts()
                .map(|time| time.rescale(chain.time_base(), CLOCK))
                .or_else(|| self.last.map(|last| last + 1));
            let Some(time) = time.filter(|time| self.last.is_none_or(|last| *time > last)) else {
                // The same moment twice: the encoder would refuse it, a viewer would not see it.
                continue;
            };
            self.last = Some(time);
            frame.set_pts(Some(time));
            // The decoder's choice of key frames must not become ours.
            frame.set_kind(picture::Type::None);
            self.encoder.send_frame(&frame).map_err(encode_failed)?;
            self.write(muxer)?;
        }
        Ok(())
    }

    fn write(&mut self, muxer: &mut Muxer) -> Result<(), MediaError> {
        loop {
            let mut packet = ff::Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {
                    if packet.duration() == 0 {
                        packet.set_duration(self.frame_duration);
                    }
                    muxer.write(self.track, packet, CLOCK)?;
                }
                Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => return Ok(()),
                Err(error) => return Err(encode_failed(error)),
            }
        }
    }

    /// A time for a frame that has none: one frame after the last.
    fn guess(&self) -> Option<i64> {
        Some(self.last.map_or(0, |last| (last + self.frame_duration).rescale(CLOCK, self.input_clock)))
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

impl Shape {
    fn arguments(&self, clock: ff::Rational) -> String {
        let format = self.format.descriptor().map_or("yuv420p", |descriptor| descriptor.name());
        format!(
            "video_size={}x{}:pix_fmt={format}:time_base={}/{}",
            self.width,
            self.height,
            clock.numerator(),
            clock.denominator()
        )
    }
}

fn open_encoder(stream: &Stream, rate: ff::Rational) -> Result<ff::encoder::video::Encoder, MediaError> {
    let failed = |error| MediaError::output("open the H.264 encoder", error);
    let codec = ff::encoder::find_by_name("libx264").ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    let (width, height) = output_size(stream);
    encoder.set_width(width);
    encoder.set_height(height);
    encoder.set_format(ff::format::Pixel::YUV420P);
    encoder.set_time_base(CLOCK);
    encoder.set_frame_rate(Some(rate));
    encoder.set_aspect_ratio(output_aspect(stream));
    encoder.set_gop((to_f64(rate) * KEY_INTERVAL).round().max(1.0) as u32);
    // Closed GOPs: a browser that seeks decodes from a key frame on and fails on frames that need earlier ones.
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER | ff::codec::Flags::CLOSED_GOP);
    encoder.set_color_range(ff::color::Range::MPEG);
    let facts = &stream.facts;
    if is_hdr(facts.transfer) {
        encoder.set_colorspace(Space::BT709);
        encoder.set_color_primaries(Primaries::BT709);
        encoder.set_color_transfer_characteristic(TransferCharacteristic::BT709);
    } else if facts.space != Space::RGB {
        encoder.set_colorspace(facts.space);
        encoder.set_color_primaries(facts.primaries);
        encoder.set_color_transfer_characteristic(facts.transfer);
    }
    let mut options = ff::Dictionary::new();
    for (name, value) in [("preset", "veryfast"), ("crf", "22"), ("profile", "high"), ("threads", "auto")] {
        options.set(name, value);
    }
    encoder.open_as_with(codec, options).map_err(failed)
}

/// The filters from a decoded frame to what the encoder takes; the last ones hold the size whatever comes in.
fn filters(stream: &Stream, rate: ff::Rational) -> String {
    let mut chain = Vec::new();
    if is_interlaced(stream.facts.field_order) {
        chain.push("yadif=deint=interlaced".to_owned());
    }
    if is_hdr(stream.facts.transfer) {
        // zscale refuses unknown primaries, and files often leave them out: HDR means BT.2020.
        let transfer = match stream.facts.transfer {
            TransferCharacteristic::ARIB_STD_B67 => "arib-std-b67",
            _ => "smpte2084",
        };
        chain.push(format!("setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc={transfer}"));
        chain
            .push("zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0".to_owned());
        chain.push("zscale=t=bt709:m=bt709:r=tv".to_owned());
    }
    chain.extend(turn(stream.display_matrix.as_deref()).filters.into_iter().map(str::to_owned));
    if rate != stream.frame_rate {
        chain.push(format!("fps={}/{}", rate.numerator(), rate.denominator()));
    }
    let (width, height) = output_size(stream);
    let aspect = output_aspect(stream);
    chain.push(format!("scale={width}:{height}:flags=bicubic:out_range=tv,format=yuv420p"));
    chain.push(format!("setsar={}/{}", aspect.numerator(), aspect.denominator()));
    chain.join(",")
}

/// Width and height as displayed, made even because 4:2:0 shares colour between neighbours.
pub(super) fn output_size(stream: &Stream) -> (u32, u32) {
    let (width, height) = displayed_size(stream);
    let even = |length: u32| (length & !1).max(2);
    (even(width), even(height))
}

/// Width and height after turning.
pub(super) fn displayed_size(stream: &Stream) -> (u32, u32) {
    let (width, height) = (stream.facts.width, stream.facts.height);
    if turn(stream.display_matrix.as_deref()).swaps { (height, width) } else { (width, height) }
}

fn output_aspect(stream: &Stream) -> ff::Rational {
    let aspect = stream.facts.aspect;
    match (aspect.numerator() > 0 && aspect.denominator() > 0, turn(stream.display_matrix.as_deref()).swaps) {
        (false, _) => ff::Rational(1, 1),
        (true, true) => aspect.invert(),
        (true, false) => aspect,
    }
}

/// How a picture is to be turned, as filters.
#[derive(Debug, PartialEq)]
struct Turn {
    filters: Vec<&'static str>,
    /// Width and height change places.
    swaps: bool,
}

/// Reads a display matrix the way `ffmpeg` itself does, quarter turns and flips; other angles are left alone.
fn turn(matrix: Option<&[u8]>) -> Turn {
    let upright = Turn { filters: Vec::new(), swaps: false };
    let Some(matrix) = matrix.and_then(|bytes| bytes.as_chunks::<4>().0.first_chunk::<9>()) else {
        return upright;
    };
    let [a, b, _, c, d, ..] = matrix.map(|bytes| f64::from(i32::from_ne_bytes(bytes)));
    let (x, y) = (a.hypot(c), b.hypot(d));
    if x == 0.0 || y == 0.0 {
        return upright;
    }
    let degrees = ((b / y).atan2(a / x) * 180.0 / PI).rem_euclid(360.0).round() as i32;
    match degrees {
        90 => Turn {
            filters: vec![if c > 0.0 { "transpose=cclock_flip" } else { "transpose=clock" }],
            swaps: true,
        },
        270 => Turn {
            filters: vec![if c < 0.0 { "transpose=clock_flip" } else { "transpose=cclock" }],
            swaps: true,
        },
        180 => Turn {
            filters: [(a < 0.0).then_some("hflip"), (d < 0.0).then_some("vflip")]
                .into_iter()
                .flatten()
                .collect(),
            swaps: false,
        },
        _ if d < 0.0 => Turn { filters: vec!["vflip"], swaps: false },
        _ => upright,
    }
}

fn encode_failed(error: ff::Error) -> MediaError {
    MediaError::output("encode a picture", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Vec<u8> {
        let one = 1 << 16;
        [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
            .iter()
            .flat_map(|n: &i32| n.to_ne_bytes())
            .collect()
    }

    #[test]
    fn quarter_turns_become_filters() {
        let filters = |a, b, c, d| turn(Some(&matrix(a, b, c, d))).filters.join(",");
        assert_eq!(filters(1, 0, 0, 1), "");
        assert_eq!(filters(0, 1, -1, 0), "transpose=clock");
        assert_eq!(filters(0, -1, 1, 0), "transpose=cclock");
        assert_eq!(filters(-1, 0, 0, -1), "hflip,vflip");
        assert_eq!(filters(1, 0, 0, -1), "vflip");
        assert!(turn(Some(&matrix(0, 1, -1, 0))).swaps);
        assert_eq!(turn(Some(&[0; 36])), turn(None));
        assert_eq!(turn(Some(&[1, 2, 3])), turn(None));
    }
}
