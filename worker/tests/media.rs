//! The media process on real files made by `ffmpeg`, judged by `ffprobe`.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

#[path = "media/copies.rs"]
mod copies;
#[path = "media/corpus.rs"]
mod corpus;
#[path = "media/damage.rs"]
mod damage;
#[path = "media/encodes.rs"]
mod encodes;
#[path = "media/photos.rs"]
mod photos;
#[path = "media/pictures.rs"]
mod pictures;
#[path = "media/reference.rs"]
mod reference;
#[path = "media/refusals.rs"]
mod refusals;
#[path = "media/sounds.rs"]
mod sounds;
#[path = "media/subtitles.rs"]
mod subtitles;
#[path = "media/support.rs"]
mod support;
#[path = "media/times.rs"]
mod times;
