//! Text subtitles, encoded as mov_text, the timed text of MP4.

use ffmpeg_next as ff;

use super::charset::Charset;
use super::clock::ticks;
use super::codecs;
use super::error::MediaError;
use super::ffi::{self, OwnedSubtitle};
use super::mux::{Label, Muxer, Sink};
use super::probe::Stream;

/// Subtitle decoders and encoders count in milliseconds.
const TIME_BASE: ff::Rational = ff::Rational(1, 1_000);
/// Bytes of one encoded subtitle; mov_text stores the length in 16 bits.
const MAX_ENCODED: usize = 65_536;

/// Decodes one text stream and encodes it as mov_text.
pub(super) struct SubtitleTrack {
    track: usize,
    decoder: ff::decoder::Subtitle,
    encoder: ff::encoder::subtitle::Encoder,
    buffer: Vec<u8>,
    input_time_base: ff::Rational,
    offset: i64,
    /// `None` where packets are more than text.
    charset: Option<Charset>,
    damaged: u64,
}

impl SubtitleTrack {
    pub(super) fn new(
        input: &ff::Stream<'_>,
        stream: &Stream,
        start: f64,
        muxer: &mut Muxer,
    ) -> Result<Self, MediaError> {
        let failed = |error| MediaError::input(&format!("open subtitle stream {}", stream.index), error);
        let context = ff::codec::Context::from_parameters(input.parameters()).map_err(failed)?;
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(input.time_base());
        let found = ff::decoder::find(stream.codec).ok_or(ff::Error::DecoderNotFound).map_err(failed)?;
        let decoder = decoder
            .open_as_with(found, codecs::decoder_options())
            .and_then(ff::decoder::Opened::subtitle)
            .map_err(failed)?;

        let codec =
            ff::encoder::find(ff::codec::Id::MOV_TEXT).ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().subtitle().map_err(failed)?;
        encoder.set_time_base(TIME_BASE);
        ffi::copy_subtitle_header(&decoder, &mut encoder).map_err(failed)?;
        let encoder = encoder.open_as(codec).map_err(failed)?;
        let track = muxer.add_encoder(&encoder, TIME_BASE, Label::of(stream))?;
        let input_time_base = input.time_base();
        let offset = ticks(start, input_time_base);
        Ok(Self {
            track,
            decoder,
            encoder,
            buffer: vec![0; MAX_ENCODED],
            input_time_base,
            offset,
            charset: (stream.codec != ff::codec::Id::MOV_TEXT).then(Charset::new),
            damaged: 0,
        })
    }

    /// Encodes and writes the subtitle in one packet; packets that cannot be read are counted and skipped.
    pub(super) fn packet(&mut self, packet: &ff::Packet, sink: &mut dyn Sink) -> Result<(), MediaError> {
        let Some(time) = packet.pts().or(packet.dts()) else {
            self.damaged += 1;
            return Ok(());
        };
        // The decoder refuses what is not UTF-8.
        let text = self.charset.as_mut().zip(packet.data()).and_then(|(charset, data)| charset.convert(data));
        let converted = text.map(|text| {
            let mut converted = ff::Packet::copy(text.as_bytes());
            converted.set_pts(packet.pts());
            converted.set_dts(packet.dts());
            converted.set_duration(packet.duration());
            converted
        });
        let packet = converted.as_ref().unwrap_or(packet);
        let mut subtitle = OwnedSubtitle::empty();
        match self.decoder.decode(packet, subtitle.get()) {
            Ok(true) => {}
            // The packet shows nothing, such as a WebVTT note.
            Ok(false) => return Ok(()),
            Err(_) => {
                self.damaged += 1;
                return Ok(());
            }
        }
        // Encoders take times relative to the packet; those of the decoded subtitle are, unless unknown.
        let (start, end) = (subtitle.get().start(), subtitle.get().end());
        let duration = if end > start && end != u32::MAX {
            i64::from(end - start)
        } else {
            self.milliseconds(packet.duration())
        };
        subtitle.get().set_start(0);
        let Ok(size) = subtitle.encode(&mut self.encoder, &mut self.buffer) else {
            self.damaged += 1;
            return Ok(());
        };
        if size == 0 {
            return Ok(());
        }
        let mut encoded = ff::Packet::copy(&self.buffer[..size]);
        let pts = self.milliseconds(time - self.offset) + i64::from(start);
        encoded.set_pts(Some(pts.max(0)));
        encoded.set_dts(Some(pts.max(0)));
        encoded.set_duration(duration.max(1));
        encoded.set_flags(ff::packet::Flags::KEY);
        sink.write(self.track, encoded, TIME_BASE)
    }

    fn milliseconds(&self, time: i64) -> i64 {
        ff::Rescale::rescale(&time, self.input_time_base, TIME_BASE)
    }

    /// Number of packets that could not be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }
}
