//! Media files: upload, transcoding, download; disks that are full, outages, and what they leave behind.

mod content;
mod film;
mod full_disk;
mod interrupted;
mod leftovers;
mod names;
mod outage;
mod player;
mod quota;
mod resumable;
mod share;
mod stream;
