//! Decoding of damaged input: packets that cannot be decoded are counted and skipped.

use ffmpeg_next as ff;

use super::codecs;
use super::error::MediaError;
use super::ffi::hardware::Device;
use super::threads;

/// Errors in a row after which a decoder yields no more frames for a packet.
const MAX_ERRORS: u32 = 1_000;

/// An open decoder with counters.
pub(super) struct Decoder {
    opened: ff::decoder::Opened,
    frames: u64,
    damaged: u64,
}

impl Decoder {
    pub(super) fn open(input: &ff::Stream<'_>) -> Result<Self, MediaError> {
        Self::open_on(input, None)
    }

    /// Decodes only pictures that need no others.
    pub(super) fn open_key_frames(input: &ff::Stream<'_>) -> Result<Self, MediaError> {
        let mut options = codecs::decoder_options();
        options.set("skip_frame", "nokey");
        Self::open_with(input, None, options)
    }

    /// Opens the decoder on a device, which leaves its pictures there if it can decode them.
    pub(super) fn open_on(input: &ff::Stream<'_>, device: Option<&Device>) -> Result<Self, MediaError> {
        Self::open_with(input, device, codecs::decoder_options())
    }

    fn open_with(
        input: &ff::Stream<'_>,
        device: Option<&Device>,
        options: ff::Dictionary<'_>,
    ) -> Result<Self, MediaError> {
        let parameters = input.parameters();
        let codec = parameters.id();
        let failed = |error| MediaError::input(&format!("open the decoder for {}", codec.name()), error);
        let is_video = parameters.medium() == ff::media::Type::Video;
        let mut context = ff::codec::Context::from_parameters(parameters).map_err(failed)?;
        if let Some(device) = device {
            device.decode(&mut context);
        } else if is_video {
            // Frames in parallel.
            context.set_threading(ff::threading::Config {
                kind: ff::threading::Type::Frame,
                count: threads::decoder(),
                safe: true,
            });
        }
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(input.time_base());
        let found = ff::decoder::find(codec).ok_or(ff::Error::DecoderNotFound).map_err(failed)?;
        let opened = decoder.open_as_with(found, options).map_err(failed)?;
        Ok(Self { opened, frames: 0, damaged: 0 })
    }

    /// Takes one packet, or the end of the stream with `None`.
    pub(super) fn send(&mut self, packet: Option<&ff::Packet>) {
        let sent = match packet {
            Some(packet) => self.opened.send_packet(packet),
            None => self.opened.send_eof(),
        };
        if sent.is_err() {
            self.damaged += 1;
        }
    }

    /// Receives the next decoded frame; `false` when more input is needed or nothing is left.
    pub(super) fn receive(&mut self, frame: &mut ff::Frame) -> bool {
        for _ in 0..MAX_ERRORS {
            match self.opened.receive_frame(frame) {
                Ok(()) => {
                    self.frames += 1;
                    return true;
                }
                Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => return false,
                Err(_) => self.damaged += 1,
            }
        }
        false
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Number of packets and frames that could not be decoded.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged
    }
}
