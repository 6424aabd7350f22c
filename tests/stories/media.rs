//! Media files: upload, transcoding, download.

mod film;
