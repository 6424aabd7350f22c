//! An encoder of pictures in a thread of its own: the next pictures are decoded and fitted while it works.

use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use ff::encoder::video::Encoder;
use ff::frame;
use ffmpeg_next as ff;

use super::encode::encoded_packet;
use super::error::MediaError;
use super::ffi;

/// Pictures that wait for the encoder; one of 2160p takes 12 MB.
const WAITING: usize = 2;

/// The caller's end.
pub(super) struct EncoderThread {
    /// None after the last picture.
    pictures: Option<SyncSender<frame::Video>>,
    packets: Receiver<Result<ff::Packet, ff::Error>>,
}

impl EncoderThread {
    /// The thread ends after the last picture, after an error, and when the caller's end is dropped.
    pub(super) fn start(mut encoder: Encoder) -> Result<Self, MediaError> {
        let (pictures, waiting) = sync_channel::<frame::Video>(WAITING);
        let (ready, packets) = channel();
        let work = move || {
            let encode = || {
                for picture in waiting {
                    encoder.send_frame(&picture)?;
                    drop(picture);
                    while let Some(packet) = encoded_packet(&mut encoder)? {
                        let _ = ready.send(Ok(packet));
                    }
                }
                encoder.send_eof()?;
                while let Some(packet) = encoded_packet(&mut encoder)? {
                    let _ = ready.send(Ok(packet));
                }
                Ok(())
            };
            if let Err(error) = encode() {
                let _ = ready.send(Err(error));
            }
        };
        let failed = |error| MediaError::transient(format!("cannot start the thread of an encoder: {error}"));
        thread::Builder::new().name("encoder".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { pictures: Some(pictures), packets })
    }

    /// Hands over a picture, which is not copied; waits while there is enough to do. An error of the encoder comes
    /// instead of the next packet.
    pub(super) fn send(&mut self, picture: &frame::Video) -> Result<(), ff::Error> {
        let shared = ffi::share(picture)?;
        if let Some(pictures) = &self.pictures {
            let _ = pictures.send(shared);
        }
        Ok(())
    }

    /// There are no more pictures.
    pub(super) fn end(&mut self) {
        self.pictures = None;
    }

    /// The next packet that is ready. After the end, waits for all: `None` is the last answer.
    pub(super) fn receive(&mut self) -> Result<Option<ff::Packet>, ff::Error> {
        let received = match self.pictures {
            Some(_) => self.packets.try_recv(),
            None => self.packets.recv().map_err(|RecvError| TryRecvError::Disconnected),
        };
        received.map_or(Ok(None), |packet| packet.map(Some))
    }
}
