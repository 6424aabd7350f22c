//! Previews of uploaded pictures, compared with the pictures as `ffmpeg` shows them.

use std::fs;
use std::path::{Path, PathBuf};

use nebula_worker::media::{Photo, Task};

use super::pictures::{attempt, difference, run, seen, size};
use super::support::Case;

/// A picture without an ending, as the store keeps it; libav recognises it by its bytes.
fn picture(case: &Case, name: &str, arguments: &str) -> PathBuf {
    let made = case.make(name, &format!("-f lavfi -i {arguments} -frames:v 1"));
    let path = case.path(&name.replace('.', "-"));
    fs::rename(made, &path).unwrap();
    path
}

/// Notes in a JPEG how the camera was held.
fn hold(path: &Path, orientation: u8) {
    let mut note = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    note.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut bytes = fs::read(path).unwrap();
    bytes.splice(2..2, note);
    fs::write(path, bytes).unwrap();
}

async fn preview(input: &Path) -> (Photo, PathBuf) {
    let folder = input.with_extension("made");
    fs::create_dir(&folder).unwrap();
    let photo: Photo = run(input, &folder.join("companion"), Task::Photo).await;
    (photo, folder.join("poster.jpg"))
}

#[tokio::test]
async fn pictures_of_all_usual_kinds_have_a_preview_in_their_colours() {
    let case = Case::new();
    let bars = "smptebars=size=1600x1000";
    for (name, encoding, format) in [
        ("a.jpg", "-q:v 2 -pix_fmt yuvj420p", "mjpeg"),
        ("a.png", "", "png"),
        ("a.webp", "-c:v libwebp -q:v 95", "webp"),
        ("a.gif", "", "gif"),
        ("a.bmp", "", "bmp"),
        ("a.tiff", "", "tiff"),
        ("a.avif", "-c:v libaom-av1 -still-picture 1 -cpu-used 8 -crf 20", "av1"),
    ] {
        let input = picture(&case, name, &format!("{bars} {encoding}"));
        let (photo, poster) = preview(&input).await;
        assert_eq!(
            (photo.size, photo.preview, photo.is_turned),
            ((1600, 1000), (1280, 800), false),
            "{name}"
        );
        assert_eq!((photo.format.as_str(), size(&poster)), (format, (1280, 800)), "{name}");
        let apart = difference(&seen(&poster, 0.0, ""), &seen(&input, 0.0, ""));
        assert!(apart < 5.0, "{name}: the colours differ by {apart}");
    }
}

#[tokio::test]
async fn a_preview_is_upright_however_the_camera_was_held() {
    let case = Case::new();
    for (orientation, filter) in [
        (1, ""),
        (2, "hflip,"),
        (3, "hflip,vflip,"),
        (4, "vflip,"),
        (5, "transpose=cclock_flip,"),
        (6, "transpose=clock,"),
        (7, "transpose=clock_flip,"),
        (8, "transpose=cclock,"),
    ] {
        let input = picture(&case, &format!("{orientation}.jpg"), "testsrc=size=640x360 -q:v 2");
        let plain = seen(&input, 0.0, filter);
        hold(&input, orientation);
        let (photo, poster) = preview(&input).await;
        let turned = orientation > 4;
        assert_eq!(photo.preview, if turned { (360, 640) } else { (640, 360) }, "{orientation}");
        let apart = difference(&seen(&poster, 0.0, ""), &plain);
        assert!(apart < 6.0, "{orientation}: the pictures differ by {apart}");
    }
}

#[tokio::test]
async fn pictures_that_cannot_be_read_say_so_for_good() {
    let case = Case::new();
    let heic = [&[0, 0, 0, 24][..], b"ftypheic\0\0\0\0mif1heic", &[0; 600]].concat();
    let cut = fs::read(picture(&case, "cut.png", "smptebars=size=64x64")).unwrap()[..40].to_vec();
    let film = fs::read(case.film("film.mkv", "-c:v ffv1")).unwrap();
    let playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile:///etc/passwd\n".to_vec();
    for (name, bytes) in [("heic", heic), ("cut", cut), ("film", film), ("playlist", playlist)] {
        let input = case.path(name);
        fs::write(&input, bytes).unwrap();
        let error = attempt::<Photo>(&input, &case.path("companion"), Task::Photo).await.unwrap_err();
        assert!(error.permanent, "{name}: {error}");
    }
}
