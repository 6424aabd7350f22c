//! Media files: upload, transcoding, download; disks that are full, outages, and what they leave behind.

mod bucket;
mod companions;
mod content;
mod film;
mod full_disk;
mod hardware;
mod interrupted;
mod kill;
mod laptop;
mod leftovers;
mod library;
mod lock_order;
mod names;
mod outage;
mod pictures;
mod playback;
mod player;
mod quota;
mod resumable;
mod scrub;
mod share;
mod stream;
mod trash;
mod unfinished;
