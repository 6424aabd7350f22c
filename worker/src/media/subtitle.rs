//! Text subtitles, turned into the timed text that MP4 players know.

use ffmpeg_next as ff;

use super::clock::ticks;
use super::ffi::{self, Caption};
use super::mux::Muxer;
use super::probe::Stream;
use super::{MediaError, probe};

/// Subtitle decoders and encoders count in milliseconds.
const CLOCK: ff::Rational = ff::Rational(1, 1_000);
/// Bytes of one encoded caption; mov_text carries its length in 16 bits.
const MAX_CAPTION: usize = 65_536;

/// Decodes one text stream and encodes it as mov_text.
pub(super) struct Subtitle {
    track: usize,
    decoder: ff::decoder::Subtitle,
    encoder: ff::encoder::subtitle::Encoder,
    buffer: Vec<u8>,
    input_clock: ff::Rational,
    offset: i64,
    damaged: u64,
}

impl Subtitle {
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
            .open_as_with(found, probe::decoder_options())
            .and_then(ff::decoder::Opened::subtitle)
            .map_err(failed)?;

        let codec =
            ff::encoder::find(ff::codec::Id::MOV_TEXT).ok_or(ff::Error::EncoderNotFound).map_err(failed)?;
        let mut encoder = ff::codec::Context::new_with_codec(codec).encoder().subtitle().map_err(failed)?;
        encoder.set_time_base(CLOCK);
        ffi::copy_subtitle_header(&decoder, &mut encoder).map_err(failed)?;
        let encoder = encoder.open_as(codec).map_err(failed)?;
        let track = muxer.add_encoder(&encoder, CLOCK, stream.language.as_deref())?;
        let input_clock = input.time_base();
        let offset = ticks(start, input_clock);
        Ok(Self { track, decoder, encoder, buffer: vec![0; MAX_CAPTION], input_clock, offset, damaged: 0 })
    }

    /// Takes one packet in and writes the caption in it; what cannot be read is counted and left out.
    pub(super) fn packet(&mut self, packet: &ff::Packet, muxer: &mut Muxer) -> Result<(), MediaError> {
        let Some(time) = packet.pts().or(packet.dts()) else {
            self.damaged += 1;
            return Ok(());
        };
        let mut caption = Caption::empty();
        match self.decoder.decode(packet, caption.get()) {
            Ok(true) => {}
            // Nothing to show, such as a WebVTT note.
            Ok(false) => return Ok(()),
            Err(_) => {
                self.damaged += 1;
                return Ok(());
            }
        }
        // Encoders want times relative to the packet; those of the decoded caption are, unless unknown.
        let (start, end) = (caption.get().start(), caption.get().end());
        let shown = if end > start && end != u32::MAX {
            i64::from(end - start)
        } else {
            self.milliseconds(packet.duration())
        };
        caption.get().set_start(0);
        let Ok(size) = caption.encode(&mut self.encoder, &mut self.buffer) else {
            self.damaged += 1;
            return Ok(());
        };
        if size == 0 {
            return Ok(());
        }
        let mut made = ff::Packet::copy(&self.buffer[..size]);
        let begins = self.milliseconds(time - self.offset) + i64::from(start);
        made.set_pts(Some(begins.max(0)));
        made.set_dts(Some(begins.max(0)));
        made.set_duration(shown.max(1));
        made.set_flags(ff::packet::Flags::KEY);
        muxer.write(self.track, made, CLOCK)
    }

    fn milliseconds(&self, time: i64) -> i64 {
        ff::Rescale::rescale(&time, self.input_clock, CLOCK)
    }

    /// Captions that could not be read.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }
}
