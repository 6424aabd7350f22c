//! Tries whether a device encodes the sizes of a film and decodes it.

use ffmpeg_next as ff;

use crate::media::decoder::Decoder;
use crate::media::encode::encoded_packet;
use crate::media::error::MediaError;
use crate::media::hardware::{self, Encoder, Method, TRIAL};
use crate::media::input::Input;
use crate::media::ladder::Size;
use crate::media::probe::Stream;
use crate::media::shape;
use crate::media::source::Source;
use crate::media::video::{self, Limit, TIME_BASE};

/// How the pictures of a film are made.
pub(super) fn choose(input: &Input, picture: &Stream, sizes: &[Size]) -> Result<Method, MediaError> {
    let encode = |by| sizes.iter().try_for_each(|size| encode(by, picture, size));
    Ok(hardware::choose(encode, || decode(input, picture)))
}

/// Encodes some pictures of a size.
fn encode(by: Encoder, picture: &Stream, size: &Size) -> Result<(), MediaError> {
    let failed = |error| MediaError::output(&format!("encode {}x{}", size.width, size.height), error);
    let rate = shape::output_rate(picture);
    let limit = Limit { maxrate: size.maxrate };
    let (mut encoder, memory) =
        video::open_encoder(picture, rate, (size.width, size.height), Some(limit), by)?;
    let step = (f64::from(TIME_BASE.denominator()) / f64::from(rate)) as i64;
    let mut packets = 0;
    for n in 0..TRIAL as i64 {
        let mut black = video::black(ff::format::Pixel::NV12, size.width, size.height);
        black.set_pts(Some(n * step));
        match &memory {
            None => encoder.send_frame(&black),
            Some(memory) => memory.upload(&black).and_then(|uploaded| encoder.send_frame(&uploaded)),
        }
        .map_err(failed)?;
        packets += usize::from(encoded_packet(&mut encoder).map_err(failed)?.is_some());
    }
    encoder.send_eof().map_err(failed)?;
    while encoded_packet(&mut encoder).map_err(failed)?.is_some() {
        packets += 1;
    }
    match packets {
        TRIAL => Ok(()),
        made => Err(MediaError::transient(format!("{} made {made} of {TRIAL} pictures", by.name()))),
    }
}

/// Decodes some pictures of the film.
fn decode(input: &Input, picture: &Stream) -> Result<(), MediaError> {
    let (mut source, _) = Source::open(input)?;
    let mut decoder = Decoder::open_on(&source.stream(picture.index)?, hardware::decoding_device())?;
    let mut frame = ff::frame::Video::empty();
    let mut pictures = 0;
    while let Some(packet) = source.next()? {
        if packet.stream() != picture.index {
            continue;
        }
        decoder.send(Some(&packet));
        while decoder.receive(&mut frame) {
            if frame.format() != ff::format::Pixel::VAAPI {
                return Err(MediaError::permanent("its kind of picture is decoded by the processor"));
            }
            hardware::fetch(&mut frame)?;
            pictures += 1;
        }
        if pictures >= TRIAL {
            return Ok(());
        }
    }
    if pictures > 0 { Ok(()) } else { Err(MediaError::permanent("no picture came out")) }
}
