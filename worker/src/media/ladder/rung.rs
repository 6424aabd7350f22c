//! One size of a chunk: fitted, encoded and written.

use std::path::Path;

use ff::{Rescale, frame, picture};
use ffmpeg_next as ff;

use super::{FRAGMENTS, KEY_FRAME_SECONDS, Size};
use crate::media::clock::ticks;
use crate::media::encoder_thread::EncoderThread;
use crate::media::error::MediaError;
use crate::media::ffi::hardware::Pictures;
use crate::media::filter::Filters;
use crate::media::hardware::Encoder;
use crate::media::piece::{self, Piece, PieceWriter};
use crate::media::probe::Stream;
use crate::media::shape::{self, Fit};
use crate::media::video::{self, Limit, TIME_BASE};

/// One size.
pub(super) struct Rung {
    name: String,
    fit: Fit,
    filters: Filters<shape::Format>,
    size: (u32, u32),
    encoder: EncoderThread,
    by: Encoder,
    /// Memory of the device that encodes, if the encoder wants its pictures there.
    pictures: Option<Pictures>,
    writer: PieceWriter,
    last_pts: Option<i64>,
    frame_duration: i64,
}

impl Rung {
    pub(super) fn open(
        folder: &Path,
        n: u32,
        size: &Size,
        stream: &Stream,
        rate: ff::Rational,
        by: Encoder,
    ) -> Result<Self, MediaError> {
        let dimensions = (size.width, size.height);
        let limit = Limit { maxrate: size.maxrate };
        let (encoder, pictures) = video::open_encoder(stream, rate, dimensions, Some(limit), by)?;
        let path = piece::draft(folder, &size.name, n);
        let writer =
            PieceWriter::create(path, &ff::codec::Parameters::from(&*encoder), TIME_BASE, &FRAGMENTS)?;
        Ok(Self {
            name: size.name.clone(),
            fit: Fit::new(stream, dimensions),
            filters: Filters::new(),
            size: dimensions,
            encoder: EncoderThread::start(encoder)?,
            by,
            pictures,
            writer,
            last_pts: None,
            frame_duration: ticks(1.0 / f64::from(rate), TIME_BASE),
        })
    }

    pub(super) fn encode(&mut self, frame: &frame::Video, time_base: ff::Rational) -> Result<(), MediaError> {
        let format = shape::Format::of(frame);
        if self.filters.need_chain_for(&format) {
            self.drain_filters()?;
            let filters = self.fit.filters(format) + self.by.filters();
            self.filters.replace(format, video::chain(format, time_base, &filters)?);
        }
        self.filters.send(Some(frame))?;
        self.encode_ready()
    }

    fn drain_filters(&mut self) -> Result<(), MediaError> {
        self.filters.send(None)?;
        self.encode_ready()
    }

    fn encode_ready(&mut self) -> Result<(), MediaError> {
        let mut frame = frame::Video::empty();
        while let Some(time_base) = self.filters.receive(&mut frame)? {
            let Some(pts) = frame.pts().map(|pts| pts.rescale(time_base, TIME_BASE)) else { continue };
            if self.last_pts.is_none_or(|last| pts > last) {
                self.encode_picture(&mut frame, pts)?;
            }
        }
        Ok(())
    }

    pub(super) fn encode_picture(&mut self, frame: &mut frame::Video, pts: i64) -> Result<(), MediaError> {
        frame.set_pts(Some(pts));
        frame.set_kind(if self.begins_group(pts) { picture::Type::I } else { picture::Type::None });
        self.last_pts = Some(pts);
        match &self.pictures {
            None => self.encoder.send(frame),
            Some(memory) => memory.upload(frame).and_then(|uploaded| self.encoder.send(&uploaded)),
        }
        .map_err(encode_failed)?;
        self.write_ready()
    }

    /// A black picture for the encoder.
    pub(super) fn black(&self) -> frame::Video {
        let format = match self.by {
            Encoder::Software => ff::format::Pixel::YUV420P,
            Encoder::Vaapi | Encoder::Qsv => ff::format::Pixel::NV12,
        };
        video::black(format, self.size.0, self.size.1)
    }

    /// Whether a multiple of the interval lies between the last picture and this one.
    fn begins_group(&self, pts: i64) -> bool {
        let interval = KEY_FRAME_SECONDS * i64::from(TIME_BASE.denominator());
        self.last_pts.is_none_or(|last| pts.div_euclid(interval) > last.div_euclid(interval))
    }

    /// There are no more pictures. The encoder goes on with those that it has, beside those of the other sizes.
    pub(super) fn end(&mut self) -> Result<(), MediaError> {
        self.drain_filters()?;
        self.encoder.end();
        Ok(())
    }

    fn write_ready(&mut self) -> Result<(), MediaError> {
        while let Some(mut packet) = self.encoder.receive().map_err(encode_failed)? {
            if packet.duration() == 0 {
                packet.set_duration(self.frame_duration);
            }
            self.writer.write(packet, TIME_BASE)?;
        }
        Ok(())
    }

    /// Writes what is left, after the end.
    pub(super) fn finish(mut self, n: u32) -> Result<Option<Piece>, MediaError> {
        self.write_ready()?;
        self.writer.finish(&self.name, n)
    }
}

fn encode_failed(error: ff::Error) -> MediaError {
    MediaError::output("encode a picture", error)
}
