//! Small pictures of a film on sheets, with an index that says where on which sheet each moment is.

use std::fmt::Write as _;
use std::path::Path;

use ff::frame;
use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::super::error::MediaError;
use super::super::piece::write_file;
use super::super::webvtt::timestamp;
use super::jpeg;

/// Pictures across and down a sheet.
const COLUMNS: usize = 10;
const ROWS: usize = 10;
const COARSENESS: i32 = 6;
/// Seconds for which the last picture stands, at least.
const MIN_LAST: f64 = 1.0;

/// Sheets of small pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sprites {
    /// Number of sheets.
    pub sheets: u32,
    /// Number of pictures.
    pub pictures: u32,
    /// Pixels of a picture.
    pub width: u32,
    /// Pixels of a picture.
    pub height: u32,
    /// Seconds between two pictures, at least.
    pub interval: f64,
}

/// Writes the sheets and their index; `None` when there is no picture.
pub(super) fn write(
    tiles: &[(f64, frame::Video)],
    interval: f64,
    folder: &Path,
) -> Result<Option<Sprites>, MediaError> {
    let Some((_, first)) = tiles.first() else { return Ok(None) };
    let (width, height) = (first.width(), first.height());
    let sheets = tiles.chunks(COLUMNS * ROWS);
    let count = sheets.len() as u32;
    for (number, sheet) in sheets.enumerate() {
        jpeg::write(
            &joined(sheet, width, height),
            COARSENESS,
            &folder.join(format!("sprites-{number}.jpg")),
        )?;
    }
    let seconds: Vec<f64> = tiles.iter().map(|(seconds, _)| *seconds).collect();
    write_file(&folder.join("sprites.vtt"), index(&seconds, interval, width, height).as_bytes())?;
    Ok(Some(Sprites { sheets: count, pictures: tiles.len() as u32, width, height, interval }))
}

/// WebVTT whose cues name a part of a sheet, as players take it: a picture stands until the next one.
fn index(seconds: &[f64], interval: f64, width: u32, height: u32) -> String {
    let mut text = "WEBVTT\n".to_owned();
    for (place, from) in seconds.iter().enumerate() {
        // Before the first key frame there is nothing better to show.
        let from = if place == 0 { 0.0 } else { *from };
        let to = seconds.get(place + 1).copied().unwrap_or(from + interval.max(MIN_LAST));
        let (sheet, place) = (place / (COLUMNS * ROWS), place % (COLUMNS * ROWS));
        let (x, y) = ((place % COLUMNS) as u32 * width, (place / COLUMNS) as u32 * height);
        let (from, to) = (timestamp(milliseconds(from)), timestamp(milliseconds(to)));
        let _ = write!(text, "\n{from} --> {to}\nsprites/{sheet}.jpg#xywh={x},{y},{width},{height}\n");
    }
    text
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round().max(0.0) as u64
}

/// One picture of all pictures of a sheet, row by row.
fn joined(tiles: &[(f64, frame::Video)], width: u32, height: u32) -> frame::Video {
    let (columns, rows) = (tiles.len().min(COLUMNS) as u32, tiles.len().div_ceil(COLUMNS) as u32);
    let mut sheet = frame::Video::new(ff::format::Pixel::YUV420P, columns * width, rows * height);
    sheet.set_color_range(ff::color::Range::JPEG);
    for (plane, empty) in [(0, 0), (1, 128), (2, 128)] {
        sheet.data_mut(plane).fill(empty);
    }
    for (place, (_, tile)) in tiles.iter().enumerate() {
        for plane in 0..3 {
            let part = if plane == 0 { 1 } else { 2 };
            let (width, height) = ((width / part) as usize, (height / part) as usize);
            let (from, to) = (tile.stride(plane), sheet.stride(plane));
            let begin = (place / COLUMNS) * height * to + (place % COLUMNS) * width;
            let source = tile.data(plane);
            let target = &mut sheet.data_mut(plane)[begin..];
            for row in 0..height {
                target[row * to..row * to + width].copy_from_slice(&source[row * from..row * from + width]);
            }
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_names_each_moment_once_without_a_gap() {
        let seconds: Vec<f64> = (0..101).map(|n| f64::from(n) * 2.0 + 0.08).collect();
        let text = index(&seconds, 2.0, 160, 90);
        assert!(text.starts_with(
            "WEBVTT\n\n00:00:00.000 --> 00:00:02.080\nsprites/0.jpg#xywh=0,0,160,90\n\n\
             00:00:02.080 --> 00:00:04.080\nsprites/0.jpg#xywh=160,0,160,90\n"
        ));
        assert!(text.contains("sprites/0.jpg#xywh=0,90,160,90") && text.contains("xywh=1440,810,160,90"));
        assert!(text.ends_with("00:03:20.080 --> 00:03:22.080\nsprites/1.jpg#xywh=0,0,160,90\n"), "{text}");
    }

    #[test]
    fn pictures_lie_where_the_index_says() {
        let tiles: Vec<_> = (0..12_u8)
            .map(|n| {
                let mut tile = frame::Video::new(ff::format::Pixel::YUV420P, 16, 10);
                (0..3).for_each(|plane| tile.data_mut(plane).fill(n * 10 + plane as u8));
                (f64::from(n), tile)
            })
            .collect();
        let sheet = joined(&tiles, 16, 10);
        assert_eq!((sheet.width(), sheet.height()), (160, 20));
        let at = |plane: usize, x: usize, y: usize| sheet.data(plane)[y * sheet.stride(plane) + x];
        assert_eq!((at(0, 0, 0), at(0, 31, 9), at(0, 0, 10), at(0, 31, 19)), (0, 10, 100, 110));
        assert_eq!((at(1, 8, 4), at(2, 8, 9), at(0, 40, 15)), (11, 112, 0));
    }
}
