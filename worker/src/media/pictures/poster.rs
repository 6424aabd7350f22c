//! The poster: which picture it is, and writing it.

use std::path::Path;

use ff::frame;
use ffmpeg_next as ff;

use super::super::decoder::Decoder;
use super::super::error::MediaError;
use super::super::input::Input;
use super::super::probe::Stream;
use super::super::{ffi, open};
use super::jpeg;
use super::still::Still;

/// Pixels of its longer side.
const LONGEST: u32 = 1280;
const COARSENESS: i32 = 3;
/// Brightness below which a pixel counts as black.
const BLACK: u8 = 28;
/// Spread of brightness, and difference between neighbours, beyond which a picture is no better.
const MAX_SPREAD: f64 = 60.0;
const MAX_DETAIL: f64 = 12.0;
/// Score of a picture that is neither black nor empty.
pub(super) const GOOD: f64 = 0.2;
/// Parts of a film that show titles and credits, and how much less their pictures count.
const OPENING: f64 = 0.04;
const CREDITS: f64 = 0.9;
const LESS: f64 = 0.6;

/// How well a small picture shows what there is, from 0 to 1: contrast and detail, nothing for what is black.
/// `place` is where in the film it is, from 0 to 1.
pub(super) fn score(tile: &frame::Video, place: Option<f64>) -> f64 {
    let (width, height) = (tile.width() as usize, tile.height() as usize);
    let (stride, luma) = (tile.stride(0), tile.data(0));
    let rows: Vec<&[u8]> = (0..height).map(|y| &luma[y * stride..y * stride + width]).collect();
    let count = (width * height) as f64;
    let all = || rows.iter().flat_map(|row| row.iter());
    let mean = all().map(|pixel| f64::from(*pixel)).sum::<f64>() / count;
    let spread = (all().map(|pixel| (f64::from(*pixel) - mean).powi(2)).sum::<f64>() / count).sqrt();
    let black = all().filter(|pixel| **pixel < BLACK).count() as f64 / count;
    let across = rows.iter().flat_map(|row| row.windows(2)).map(|pair| pair[0].abs_diff(pair[1]));
    let down =
        rows.windows(2).flat_map(|pair| pair[0].iter().zip(pair[1])).map(|(one, other)| one.abs_diff(*other));
    let detail = across.chain(down).map(f64::from).sum::<f64>() / (2.0 * count);
    let seen = (spread / MAX_SPREAD).min(1.0) * (0.3 + 0.7 * (detail / MAX_DETAIL).min(1.0)) * (1.0 - black);
    match place {
        Some(place) if !(OPENING..CREDITS).contains(&place) => seen * LESS,
        _ => seen,
    }
}

/// Writes a picture of the film; answers its size.
pub(super) fn write(picture: &frame::Video, stream: &Stream, path: &Path) -> Result<(u32, u32), MediaError> {
    let poster = Still::new(stream, LONGEST).render(picture)?;
    jpeg::write(&poster, COARSENESS, path)?;
    Ok((poster.width(), poster.height()))
}

/// Writes the cover of a recording of sound; `None` when it cannot be decoded.
pub(super) fn write_cover(
    input: &Input,
    cover: &Stream,
    path: &Path,
) -> Result<Option<(u32, u32)>, MediaError> {
    let input = open::open(input)?;
    let Some(stream) = input.stream(cover.index) else { return Ok(None) };
    let Some(packet) = ffi::attached_picture(&stream) else { return Ok(None) };
    let mut decoder = Decoder::open(&stream)?;
    decoder.send(Some(&packet));
    decoder.send(None);
    let mut picture = frame::Video::empty();
    if decoder.receive(&mut picture) { write(&picture, cover, path).map(Some) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(pixel: impl Fn(usize, usize) -> u8) -> frame::Video {
        let mut tile = frame::Video::new(ff::format::Pixel::YUV420P, 160, 90);
        let stride = tile.stride(0);
        for (y, row) in tile.data_mut(0).chunks_mut(stride).take(90).enumerate() {
            row.iter_mut().enumerate().for_each(|(x, place)| *place = pixel(x, y));
        }
        tile
    }

    #[test]
    fn a_scene_counts_more_than_black_than_blur_than_credits() {
        let scene = score(&tile(|x, y| (40 + (x * 7 + y * 13) % 180) as u8), Some(0.5));
        let black = score(&tile(|_, _| 4), Some(0.5));
        let grey = score(&tile(|_, _| 128), Some(0.5));
        let blurred = score(&tile(|x, _| (40 + x) as u8), Some(0.5));
        let title = score(&tile(|x, y| if (x / 8 + y / 8) % 9 == 0 { 240 } else { 3 }), Some(0.5));
        assert!(scene > GOOD && black < 0.01 && grey < 0.01, "{scene} {black} {grey}");
        assert!(scene > blurred && scene > title, "{scene} {blurred} {title}");
        assert!(score(&tile(|x, y| (40 + (x * 7 + y * 13) % 180) as u8), Some(0.97)) < scene);
    }
}
