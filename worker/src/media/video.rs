//! Encoding of video: filter, H.264.

use ff::color::{Primaries, Space, TransferCharacteristic};
use ff::{Rescale, frame, picture};
use ffmpeg_next as ff;

use super::decision::{is_hdr, is_interlaced};
use super::decoder::Decoder;
use super::encode::{Codec, EncodedTrack};
use super::encoder_thread::EncoderThread;
use super::error::MediaError;
use super::ffi::hardware::Pictures;
use super::filter::Chain;
use super::hardware::{self, Encoder};
use super::mux::{Label, Muxer};
use super::probe::Stream;
use super::shape::{Fit, Format, aspect_of, orientation, output_rate, output_size};
use super::threads;

/// Time base of the encoder: all common frame rates are whole numbers of ticks, variable ones lose nothing
/// visible.
pub(super) const TIME_BASE: ff::Rational = ff::Rational(1, 90_000);
/// Seconds between key frames; short, so that seeking is quick.
const KEY_FRAME_INTERVAL: f64 = 2.0;

/// The video part of an [`EncodedTrack`].
pub(super) struct Video {
    encoder: EncoderThread,
    /// The filters before the size is fixed.
    common_filters: String,
    fit: Fit,
    input_time_base: ff::Rational,
    /// On the encoder's clock.
    frame_duration: i64,
    /// Time of the last encoded frame, on the encoder's clock.
    last_pts: Option<i64>,
}

/// A chain of filters for pictures of a format, whose times count in `time_base`.
pub(super) fn chain(format: Format, time_base: ff::Rational, filters: &str) -> Result<Chain, MediaError> {
    let pixel = format.pixel.descriptor().map_or("yuv420p", |descriptor| descriptor.name());
    let arguments = format!(
        "video_size={}x{}:pix_fmt={pixel}:time_base={}/{}",
        format.width,
        format.height,
        time_base.numerator(),
        time_base.denominator()
    );
    Chain::new(["buffer", "buffersink"], &arguments, filters, None)
}

/// Bounds of an encoder beside its quality.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Most bits a second, over two seconds.
    pub(super) maxrate: u32,
}

/// Opens decoder and encoder for a stream of the input, and adds a track to the output.
pub(super) fn open(
    input: &ff::Stream<'_>,
    stream: &Stream,
    start: f64,
    muxer: &mut Muxer,
) -> Result<EncodedTrack<Video>, MediaError> {
    let decoder = Decoder::open(input)?;
    let rate = output_rate(stream);
    let encoder = open_encoder(stream, rate, output_size(stream), None, Encoder::Software)?.0;
    let track = muxer.add_encoder(&encoder, TIME_BASE, Label::of(stream))?;
    let video = Video {
        encoder: EncoderThread::start(encoder)?,
        common_filters: common_filters(stream, rate),
        fit: Fit::new(stream, output_size(stream)),
        input_time_base: input.time_base(),
        frame_duration: (1.0 / (f64::from(rate) * f64::from(TIME_BASE))).round() as i64,
        last_pts: None,
    };
    Ok(EncodedTrack::new(input, start, decoder, track, video))
}

impl Codec for Video {
    type Frame = frame::Video;
    type Format = Format;

    const DRAINS_OLD_CHAIN: bool = true;

    fn empty_frame() -> Self::Frame {
        frame::Video::empty()
    }

    fn input_pts(&mut self, _: &Self::Frame, timestamp: Option<i64>) -> Option<i64> {
        // A frame without a timestamp follows one frame duration after the last.
        let next = |last: i64| (last + self.frame_duration).rescale(TIME_BASE, self.input_time_base);
        Some(timestamp.unwrap_or_else(|| self.last_pts.map_or(0, next)))
    }

    fn format_of(frame: &Self::Frame) -> Format {
        Format::of(frame)
    }

    fn build_chain(&self, format: Format) -> Result<Chain, MediaError> {
        let fit = self.fit.filters(if self.fit.swaps_dimensions { format.rotated() } else { format });
        chain(format, self.input_time_base, &format!("{},{fit}", self.common_filters))
    }

    fn prepare(&mut self, frame: &mut Self::Frame, time_base: ff::Rational) -> bool {
        let pts = frame
            .pts()
            .map(|pts| pts.rescale(time_base, TIME_BASE))
            .or_else(|| self.last_pts.map(|last| last + 1));
        // The encoder refuses two frames of the same time, and a viewer would see only one.
        let Some(pts) = pts.filter(|pts| self.last_pts.is_none_or(|last| *pts > last)) else {
            return false;
        };
        self.last_pts = Some(pts);
        frame.set_pts(Some(pts));
        // Otherwise the encoder would make a key frame wherever the input has one.
        frame.set_kind(picture::Type::None);
        true
    }

    fn send(&mut self, frame: Option<&Self::Frame>) -> Result<(), ff::Error> {
        match frame {
            Some(frame) => self.encoder.send(frame)?,
            None => self.encoder.end(),
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<ff::Packet>, ff::Error> {
        self.encoder.receive()
    }

    fn time_base(&self) -> ff::Rational {
        TIME_BASE
    }

    fn complete(&self, packet: &mut ff::Packet) {
        if packet.duration() == 0 {
            packet.set_duration(self.frame_duration);
        }
    }

    fn encode_failed(error: ff::Error) -> MediaError {
        MediaError::output("encode a picture", error)
    }
}

pub(super) fn open_encoder(
    stream: &Stream,
    rate: ff::Rational,
    (width, height): (u32, u32),
    limit: Option<Limit>,
    by: Encoder,
) -> Result<(ff::encoder::video::Encoder, Option<Pictures>), MediaError> {
    let name = by.name();
    let failed = |error| MediaError::output(&format!("open the encoder {name}"), error);
    let device = hardware::device(by)?;
    let codec = ff::encoder::find_by_name(name).ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
    let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().video().map_err(failed)?;
    encoder.set_width(width);
    encoder.set_height(height);
    encoder.set_format(by.format());
    encoder.set_time_base(TIME_BASE);
    encoder.set_frame_rate(Some(rate));
    encoder.set_aspect_ratio(aspect_of(stream, (width, height)));
    encoder.set_gop((f64::from(rate) * KEY_FRAME_INTERVAL).round().max(1.0) as u32);
    // Closed GOPs: a browser that seeks decodes from a key frame on, and fails on frames that refer to
    // earlier ones.
    encoder.set_flags(ff::codec::Flags::GLOBAL_HEADER | ff::codec::Flags::CLOSED_GOP);
    encoder.set_color_range(ff::color::Range::MPEG);
    let input = &stream.parameters;
    if is_hdr(input.transfer) {
        encoder.set_colorspace(Space::BT709);
        encoder.set_color_primaries(Primaries::BT709);
        encoder.set_color_transfer_characteristic(TransferCharacteristic::BT709);
    } else if input.space != Space::RGB {
        encoder.set_colorspace(input.space);
        encoder.set_color_primaries(input.primaries);
        encoder.set_color_transfer_characteristic(input.transfer);
    }
    let mut pictures = None;
    if let Some(device) = device {
        if by == Encoder::Vaapi {
            let memory = device.pictures(width, height).map_err(failed)?;
            memory.serve(&mut encoder);
            pictures = Some(memory);
        } else {
            device.serve(&mut encoder);
        }
        // Key frames only where they are asked for.
        encoder.set_gop(u16::MAX.into());
        encoder.set_max_b_frames(0);
    }
    let options = options(limit, by);
    Ok((encoder.open_as_with(codec, options).map_err(failed)?, pictures))
}

fn options(limit: Option<Limit>, by: Encoder) -> ff::Dictionary<'static> {
    let mut options = ff::Dictionary::new();
    options.set("profile", "high");
    if let Some(Limit { maxrate }) = limit {
        options.set("maxrate", &maxrate.to_string());
        options.set("bufsize", &maxrate.saturating_mul(2).to_string());
    }
    match (by, limit) {
        (Encoder::Software, limit) => {
            options.set("preset", "veryfast");
            options.set("crf", "22");
            options.set("threads", &threads::encoder());
            if limit.is_some() {
                // Key frames only where they are asked for, so that they are at the same moments in all sizes.
                options.set("forced-idr", "1");
                options.set("x264-params", "scenecut=0:keyint=infinite");
            }
        }
        (by, limit) => {
            // Devices reach the quality of the processor at some more bits.
            let rate = limit.map_or(6_000_000, |limit| limit.maxrate / 4 * 3);
            options.set("b", &rate.to_string());
            match by {
                Encoder::Qsv => options.set("forced_idr", "1"),
                _ => options.set("rc_mode", "VBR"),
            }
        }
    }
    options
}

/// The filters that all sizes of a film have in common.
pub(super) fn common_filters(stream: &Stream, rate: ff::Rational) -> String {
    let mut chain = Vec::new();
    if is_interlaced(stream.parameters.field_order) {
        chain.push("yadif=deint=interlaced".to_owned());
    }
    if is_hdr(stream.parameters.transfer) {
        chain.push(tone_mapping(stream.parameters.transfer));
    }
    chain.extend(orientation(stream).filters.into_iter().map(str::to_owned));
    if rate != stream.frame_rate {
        chain.push(format!("fps={}/{}", rate.numerator(), rate.denominator()));
    }
    if chain.is_empty() {
        chain.push("null".to_owned());
    }
    chain.join(",")
}

/// The filters that turn high dynamic range into the colours of common screens.
pub(super) fn tone_mapping(transfer: TransferCharacteristic) -> String {
    // zscale refuses unknown primaries, which files often omit: HDR implies BT.2020.
    let transfer = match transfer {
        TransferCharacteristic::ARIB_STD_B67 => "arib-std-b67",
        _ => "smpte2084",
    };
    format!(
        "setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc={transfer},zscale=t=linear:npl=100,\
         format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv"
    )
}

/// A black picture in 4:2:0.
pub(super) fn black(format: ff::format::Pixel, width: u32, height: u32) -> frame::Video {
    let mut frame = frame::Video::new(format, width, height);
    for plane in 0..frame.planes() {
        frame.data_mut(plane).fill(if plane == 0 { 16 } else { 128 });
    }
    frame
}
