//! Posters and small pictures to seek by, compared with the film as `ffmpeg` shows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nebula_worker::child::{Launcher, Source, Work};
use nebula_worker::media::{MediaError, MediaPlan, Pictures, PicturesTask, Task};
use serde::de::DeserializeOwned;

use super::support::{Case, H264, streams};

/// Side of the small pictures that are compared.
const SIDE: usize = 16;
/// Ten seconds of black before the film begins.
const LATE: &str = "-f lavfi -i color=black:size=320x240:rate=25:duration=10 \
    -f lavfi -i testsrc2=size=320x240:rate=25:duration=6 -filter_complex [0][1]concat";
const MEASURED: &str = "-f lavfi -i testsrc=size=160x90:rate=25:duration=21";

/// The files that a task wrote.
pub(crate) struct Made {
    pub(crate) plan: MediaPlan,
    pub(crate) pictures: Pictures,
    pub(crate) folder: PathBuf,
}

pub(crate) async fn run<T: DeserializeOwned>(input: &Path, output: &Path, task: Task) -> T {
    attempt(input, output, task).await.unwrap_or_else(|error| panic!("{}: {error}", input.display()))
}

pub(crate) async fn attempt<T: DeserializeOwned>(
    input: &Path,
    output: &Path,
    task: Task,
) -> Result<T, MediaError> {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_nebula-worker"), Duration::from_secs(60));
    let work = Work { task: &task, input: Source::File(input), pieces: None, output, room: None };
    launcher.run(work, |_| {}).await
}

/// Plans a file, then makes what the plan says.
pub(crate) async fn make(case: &Case, input: &Path) -> Made {
    let folder = case.path(&format!("{}.made", input.file_name().unwrap().display()));
    fs::create_dir(&folder).unwrap();
    let plan: MediaPlan = run(input, &folder.join("plan"), Task::Plan).await;
    let task = Task::Pictures(PicturesTask { subtitles: plan.subtitles.clone() });
    let pictures = run(input, &folder.join("pictures"), task).await;
    Made { plan, pictures, folder }
}

/// One picture in red, green and blue, after these filters.
pub(crate) fn seen(path: &Path, at: f64, filters: &str) -> Vec<u8> {
    // In red, green and blue before it is reduced: swscale mixes colours when it does both at once.
    let filters = format!("{filters}format=gbrp,scale={SIDE}:{SIDE}:flags=area,format=rgb24");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin"]);
    // A single picture has no place to seek to.
    if at > 0.0 {
        command.args(["-ss", &at.to_string()]);
    }
    command.arg("-i").arg(path);
    let output = command.args(["-frames:v", "1", "-vf", &filters, "-f", "rawvideo", "-"]).output().unwrap();
    assert_eq!(output.stdout.len(), SIDE * SIDE * 3, "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn difference(one: &[u8], other: &[u8]) -> f64 {
    let all = one.iter().zip(other).map(|(one, other)| f64::from(one.abs_diff(*other)));
    all.sum::<f64>() / one.len() as f64
}

fn brightness(picture: &[u8]) -> f64 {
    picture.iter().map(|level| f64::from(*level)).sum::<f64>() / picture.len() as f64
}

pub(crate) fn size(path: &Path) -> (u64, u64) {
    let stream = &streams(path)[0];
    assert_eq!(stream["codec_name"], "mjpeg");
    (stream["width"].as_u64().unwrap(), stream["height"].as_u64().unwrap())
}

#[tokio::test]
async fn the_poster_of_a_film_that_begins_black_is_not_black() {
    let case = Case::new();
    for (name, encoding) in [
        ("usual.mkv", H264),
        // No key frame but the first one, which is black.
        ("rare.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 9999 -sc_threshold 0"),
    ] {
        let made = make(&case, &case.make(name, &format!("{LATE} {encoding}"))).await;
        assert_eq!(made.pictures.poster, Some((320, 240)), "{name}: {:?}", made.pictures);
        let poster = seen(&made.folder.join("poster.jpg"), 0.0, "");
        assert!(brightness(&poster) > 60.0, "{name}: {}", brightness(&poster));
    }
}

#[tokio::test]
async fn posters_have_shape_and_colours_of_the_film() {
    let case = Case::new();
    let bars = "-f lavfi -i smptehdbars=size=1280x720:rate=25:duration=3";
    let tagged = "-vf scale=out_color_matrix=bt709 -color_primaries bt709 -color_trc bt709 -colorspace bt709";
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error:";
    let hdr = format!("{x265}colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc -pix_fmt yuv420p10le");
    let untagged = "-vf scale=out_color_matrix=bt709,setparams=colorspace=unknown";
    let television = "-f lavfi -i smptebars=size=720x576:rate=25:duration=3 -vf setsar=64/45";
    let hd = "scale=in_color_matrix=bt709:out_range=pc,";
    let tone_mapped = "setparams=color_primaries=bt2020:colorspace=bt2020nc:color_trc=smpte2084,\
        zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv,\
        scale=in_color_matrix=bt709:out_range=pc,";
    for (name, recipe, filters, expected) in [
        ("tagged.mkv", format!("{bars} {tagged} {H264}"), hd, (1280, 720)),
        ("untagged.mkv", format!("{bars} {untagged} {H264}"), hd, (1280, 720)),
        ("large.mkv", format!("{} {tagged} {H264}", bars.replace("1280x720", "2560x1440")), hd, (1280, 720)),
        ("television.mkv", format!("{television} {H264}"), "", (1024, 576)),
        (
            "interlaced.ts",
            format!("{television} -c:v mpeg2video -q:v 3 -flags +ildct+ilme -top 1"),
            "",
            (1024, 576),
        ),
        ("hdr.mkv", format!("{bars} {hdr}"), tone_mapped, (1280, 720)),
    ] {
        let film = case.make(name, &recipe);
        let made = make(&case, &film).await;
        let poster = made.folder.join("poster.jpg");
        assert_eq!(size(&poster), expected, "{name}: {:?}", made.pictures);
        let apart = difference(&seen(&poster, 0.0, ""), &seen(&film, 1.0, filters));
        assert!(apart < 4.0, "{name}: the colours differ by {apart}");
    }
}

#[tokio::test]
async fn a_turned_film_has_upright_pictures() {
    let case = Case::new();
    case.make("lying.mp4", &format!("-f lavfi -i testsrc=size=320x180:rate=25:duration=4 {H264}"));
    let turned = case.make("turned.mp4", "-i lying.mp4 -c copy -metadata:s:v rotate=90");
    let made = make(&case, &turned).await;
    assert_eq!(size(&made.folder.join("poster.jpg")), (180, 320));
    let sprites = made.pictures.sprites.unwrap();
    assert_eq!((sprites.width, sprites.height), (90, 160));
    // ffmpeg turns it, too.
    let apart = difference(
        &seen(&made.folder.join("sprites-0.jpg"), 0.0, "crop=90:160:0:0,"),
        &seen(&turned, 0.0, ""),
    );
    assert!(apart < 12.0, "the pictures differ by {apart}");
}

#[tokio::test]
async fn small_pictures_are_those_of_the_film_at_their_time() {
    let case = Case::new();
    for (name, encoding) in [
        ("each-second.mkv", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -bf 2 -g 25"),
        ("late.ts", "-c:v mpeg2video -q:v 3 -g 12 -output_ts_offset 100"),
        ("no-times.avi", "-c:v mpeg4 -q:v 3 -g 20 -bf 2"),
        ("all-keys.mov", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
        (
            "hidden-references.webm",
            "-c:v libvpx-vp9 -deadline good -cpu-used 8 -g 30 -auto-alt-ref 1 -lag-in-frames 8",
        ),
    ] {
        let film = case.make(name, &format!("{MEASURED} {encoding}"));
        let made = make(&case, &film).await;
        let sprites = made.pictures.sprites.unwrap_or_else(|| panic!("{name}: {:?}", made.pictures));
        assert!(
            sprites.pictures >= 9 && sprites.pictures <= 12 && sprites.sheets == 1,
            "{name}: {sprites:?}"
        );
        assert_eq!((sprites.width, sprites.height), (160, 90));
        let index = fs::read_to_string(made.folder.join("sprites.vtt")).unwrap();
        let cues: Vec<_> = index.split("\n\n").skip(1).collect();
        assert_eq!(cues.len(), sprites.pictures as usize, "{name}");
        // Of the first ones, of one in the middle, and of the last.
        for cue in [0, 1, cues.len() / 2, cues.len() - 1].map(|place| cues[place]) {
            let (times, place) = cue.split_once('\n').unwrap();
            let clock: Vec<f64> =
                times.split(" --> ").next().unwrap().split(':').map(|part| part.parse().unwrap()).collect();
            let at = clock[0] * 3600.0 + clock[1] * 60.0 + clock[2];
            let place = place.trim().strip_prefix("sprites/0.jpg#xywh=").unwrap();
            let [x, y, width, height] = *place.split(',').collect::<Vec<_>>() else { panic!("{place}") };
            let tile =
                seen(&made.folder.join("sprites-0.jpg"), 0.0, &format!("crop={width}:{height}:{x}:{y},"));
            let apart = difference(&tile, &seen(&film, at, ""));
            assert!(apart < 8.0, "{name}: the picture of {at} s differs by {apart}");
        }
    }
}

#[tokio::test]
async fn recordings_of_sound_have_their_cover_as_poster() {
    let case = Case::new();
    let cover = case.make("cover.png", "-f lavfi -i smptebars=size=600x600 -frames:v 1");
    let inputs = format!("-f lavfi -i sine=duration=2 -i {}", cover.display());
    for (name, encoding) in [
        ("song.mp3", "-map 0 -map 1 -c:a libmp3lame -c:v mjpeg -q:v 2 -pix_fmt yuvj420p -id3v2_version 3"),
        ("song.m4a", "-map 0 -map 1 -c:a aac -c:v png -disposition:v attached_pic"),
        ("song.flac", "-map 0 -map 1 -c:a flac -c:v png -disposition:v attached_pic"),
    ] {
        let made = make(&case, &case.make(name, &format!("{inputs} {encoding}"))).await;
        assert!(made.plan.pictures && made.pictures.sprites.is_none(), "{name}");
        let poster = made.folder.join("poster.jpg");
        assert_eq!(size(&poster), (600, 600), "{name}: {:?}", made.pictures);
        let apart = difference(&seen(&poster, 0.0, ""), &seen(&cover, 0.0, ""));
        assert!(apart < 4.0, "{name}: the cover differs by {apart}");
    }
    let plain = make(&case, &case.make("plain.mp3", "-f lavfi -i sine=duration=2")).await;
    assert!(!plain.plan.pictures && plain.pictures.poster.is_none());
}

#[tokio::test]
async fn damage_costs_pictures_and_nothing_else() {
    let case = Case::new();
    let film = case.make("film.mkv", &format!("{MEASURED} {H264}"));
    let mut bytes = fs::read(&film).unwrap();
    let (from, to) = (bytes.len() * 4 / 10, bytes.len() * 6 / 10);
    bytes[from..to].iter_mut().enumerate().for_each(|(n, byte)| *byte = ((n * 7919) >> 3) as u8);
    let damaged = case.path("damaged.mkv");
    fs::write(&damaged, bytes).unwrap();
    let made = make(&case, &damaged).await;
    assert!(made.pictures.poster.is_some(), "{:?}", made.pictures);
    assert!(made.pictures.sprites.is_some_and(|sprites| sprites.pictures >= 4), "{:?}", made.pictures);
}
