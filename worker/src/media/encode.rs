//! A stream that is encoded anew: decode, filter, encode. The part that audio and video have in common.

use std::ops::DerefMut;

use ffmpeg_next as ff;

use super::clock::ticks;
use super::decoder::Decoder;
use super::error::MediaError;
use super::filter::{Chain, Filters};
use super::mux::Sink;

/// The differences between audio and video.
pub(super) trait Codec {
    /// A decoded frame.
    type Frame: DerefMut<Target = ff::Frame>;
    /// Properties of frames that a filter chain is built for; a stream may change them midway.
    type Format: Copy + PartialEq;

    /// Whether a chain that is replaced is drained first.
    const DRAINS_OLD_CHAIN: bool;

    fn empty_frame() -> Self::Frame;

    /// The presentation time of a decoded frame on the input's clock; `timestamp` is its own, if it has one.
    /// `None` skips the frame.
    fn input_pts(&mut self, frame: &Self::Frame, timestamp: Option<i64>) -> Option<i64>;

    fn format_of(frame: &Self::Frame) -> Self::Format;

    fn build_chain(&self, format: Self::Format) -> Result<Chain, MediaError>;

    /// Prepares a filtered frame, whose times count in `time_base`, for the encoder; `false` drops it.
    fn prepare(&mut self, frame: &mut Self::Frame, time_base: ff::Rational) -> bool;

    /// Takes one frame, or the end of the stream with `None`.
    fn send(&mut self, frame: Option<&Self::Frame>) -> Result<(), ff::Error>;

    /// The next packet that is ready. After the end of the stream, `None` when it was the last.
    fn receive(&mut self) -> Result<Option<ff::Packet>, ff::Error>;

    /// Time base of the encoder.
    fn time_base(&self) -> ff::Rational;

    /// Completes an encoded packet.
    fn complete(&self, packet: &mut ff::Packet);

    fn encode_failed(error: ff::Error) -> MediaError;
}

/// Decodes, filters and encodes one stream.
pub(super) struct EncodedTrack<C: Codec> {
    track: usize,
    decoder: Decoder,
    filters: Filters<C::Format>,
    /// Start of the output on the input's clock.
    offset: i64,
    codec: C,
}

impl<C: Codec> EncodedTrack<C> {
    /// `start` is the second on the input's clock that becomes zero; `track` is the index in the output.
    pub(super) fn new(input: &ff::Stream<'_>, start: f64, decoder: Decoder, track: usize, codec: C) -> Self {
        Self { track, decoder, filters: Filters::new(), offset: ticks(start, input.time_base()), codec }
    }

    /// Takes one packet, or the end of the stream with `None`, and writes all packets that come out.
    pub(super) fn packet(
        &mut self,
        packet: Option<&ff::Packet>,
        sink: &mut dyn Sink,
    ) -> Result<(), MediaError> {
        self.decoder.send(packet);
        let mut frame = C::empty_frame();
        while self.decoder.receive(&mut frame) {
            let timestamp = frame.timestamp().map(|timestamp| timestamp - self.offset);
            let Some(pts) = self.codec.input_pts(&frame, timestamp) else { continue };
            frame.set_pts(Some(pts));
            self.filter(&frame, sink)?;
        }
        if packet.is_none() {
            self.filters.send(None)?;
            self.encode(sink)?;
            self.codec.send(None).map_err(C::encode_failed)?;
            self.write(sink)?;
        }
        Ok(())
    }

    fn filter(&mut self, frame: &C::Frame, sink: &mut dyn Sink) -> Result<(), MediaError> {
        let format = C::format_of(frame);
        if self.filters.need_chain_for(&format) {
            if C::DRAINS_OLD_CHAIN {
                self.filters.send(None)?;
                self.encode(sink)?;
            }
            self.filters.replace(format, self.codec.build_chain(format)?);
        }
        self.filters.send(Some(frame))?;
        self.encode(sink)
    }

    /// Moves all frames that the filters have ready through the encoder.
    fn encode(&mut self, sink: &mut dyn Sink) -> Result<(), MediaError> {
        let mut frame = C::empty_frame();
        while let Some(time_base) = self.filters.receive(&mut frame)? {
            if self.codec.prepare(&mut frame, time_base) {
                self.codec.send(Some(&frame)).map_err(C::encode_failed)?;
                self.write(sink)?;
            }
        }
        Ok(())
    }

    /// Writes all packets that the encoder has ready.
    fn write(&mut self, sink: &mut dyn Sink) -> Result<(), MediaError> {
        while let Some(mut packet) = self.codec.receive().map_err(C::encode_failed)? {
            self.codec.complete(&mut packet);
            sink.write(self.track, packet, self.codec.time_base())?;
        }
        Ok(())
    }

    pub(super) fn decoder(&self) -> &Decoder {
        &self.decoder
    }
}

/// The next packet that an encoder has ready; `None` when it needs more frames, or has ended.
pub(super) fn encoded_packet(encoder: &mut ff::encoder::Encoder) -> Result<Option<ff::Packet>, ff::Error> {
    let mut packet = ff::Packet::empty();
    match encoder.receive_packet(&mut packet) {
        Ok(()) => Ok(Some(packet)),
        Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => Ok(None),
        Err(error) => Err(error),
    }
}
