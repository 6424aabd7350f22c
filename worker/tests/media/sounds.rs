//! Sound: its kinds, which of several plays, chapters.

use std::fs;

use nebula_worker::media::Decision;

use super::reference::assert_equals_ffmpeg;
use super::support::{Case, H264, PICTURE, TONE, assert_plays_in_browsers, ffprobe, streams};

#[tokio::test]
async fn every_kind_of_sound_file_is_heard() {
    let case = Case::new();
    for (name, encoding) in [
        ("a.mp3", "-c:a libmp3lame"),
        ("a.flac", "-c:a flac"),
        ("a.wav", "-c:a pcm_s16le -ar 96000"),
        ("float.wav", "-c:a pcm_f32le"),
        ("field.wav", "-rf64 always"),
        ("a.w64", "-c:a pcm_s16le"),
        ("memo.aiff", "-c:a pcm_s16be"),
        ("a.caf", "-c:a pcm_s16be"),
        ("a.au", "-c:a pcm_mulaw -ar 8000"),
        ("a.opus", "-c:a libopus"),
        ("a.ogg", "-c:a libvorbis"),
        ("speech.ogg", "-c:a libspeex -ar 16000"),
        ("a.wma", "-c:a wmav2"),
        ("a.wv", "-c:a wavpack"),
        ("a.tta", "-c:a tta"),
        ("lossless.m4a", "-c:a alac"),
        ("a.voc", "-c:a pcm_u8 -ar 22050"),
        ("a.mka", "-c:a libopus"),
        ("mono.mp3", "-c:a libmp3lame -ac 1 -ar 22050"),
        ("five.flac", "-c:a flac -ac 5"),
        ("six.m4a", "-c:a aac -ac 6"),
        ("eight.flac", "-c:a flac -ac 8"),
    ] {
        let input = case.make(name, &format!("-f lavfi -i {TONE} {encoding}"));
        assert_equals_ffmpeg(&case, &input).await;
    }
}

#[tokio::test]
async fn covers_are_no_films() {
    let case = Case::new();
    case.make("cover.png", "-f lavfi -i testsrc=size=64x64 -frames:v 1");
    for (name, encoding) in
        [("a.mp3", "-c:a libmp3lame -id3v2_version 3"), ("a.flac", "-c:a flac"), ("a.m4a", "-c:a aac")]
    {
        let encoding = format!(
            "-f lavfi -i {TONE} -i cover.png -map 0 -map 1 -c:v png -disposition:v attached_pic {encoding}"
        );
        let (summary, output) = case.convert(&case.make(name, &encoding)).await.unwrap();
        assert_eq!((summary.video_codec, summary.audio_tracks), (None, 1), "{name}");
        assert_plays_in_browsers(&output, 4.0);
    }
}

/// Frequency of the first sound.
fn hertz(output: &std::path::Path) -> f64 {
    let wave = std::process::Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(output)
        .args(["-map", "0:a:0", "-ac", "1", "-ar", "8000", "-t", "2", "-f", "s16le", "-"])
        .output()
        .unwrap()
        .stdout;
    let samples: Vec<i16> = wave.as_chunks::<2>().0.iter().map(|bytes| i16::from_le_bytes(*bytes)).collect();
    let rising = samples.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    rising as f64 * 8000.0 / samples.len() as f64
}

/// A film with a picture and two sounds, of 300 and 1000 Hz.
const TWO_SOUNDS: &str = "-f lavfi -i sine=frequency=300:sample_rate=48000:duration=4 \
                          -f lavfi -i sine=frequency=1000:sample_rate=48000:duration=4";

#[tokio::test]
async fn the_film_is_heard_and_not_its_commentary() {
    let case = Case::new();
    for (name, flags) in [
        ("flag.mkv", "-disposition:a:0 0 -disposition:a:1 default"),
        ("comment.mkv", "-disposition:a:0 comment+default -disposition:a:1 0"),
        ("title.mkv", "-metadata:s:a:0 title=Commentary -disposition:a:0 default"),
        ("handler.mp4", "-metadata:s:a:0 handler_name=Commentary"),
        ("blind.ts", "-disposition:a:0 visual_impaired -disposition:a:1 0"),
    ] {
        let encoding = format!(
            "-f lavfi -i {PICTURE} {TWO_SOUNDS} -map 0 -map 1 -map 2 {H264} -c:a aac {flags} \
                                -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -metadata:s:a:1 title=Film"
        );
        let (summary, output) = case.convert(&case.make(name, &encoding)).await.unwrap();
        assert_eq!((summary.decision, summary.audio_tracks), (Decision::Remux, 2), "{name}");
        let sounds: Vec<_> =
            streams(&output).into_iter().filter(|stream| stream["codec_type"] == "audio").collect();
        assert_eq!(sounds[0]["tags"]["language"], "deu", "{name}");
        assert_eq!(
            (&sounds[0]["disposition"]["default"], &sounds[1]["disposition"]["default"]),
            (&1.into(), &0.into())
        );
        assert!(hertz(&output) > 900.0, "{name}");
    }
}

#[tokio::test]
async fn the_sound_belongs_to_the_programme_of_the_picture() {
    let case = Case::new();
    let encoding = format!(
        "-f lavfi -i {PICTURE} {TWO_SOUNDS} -map 1 -map 0 -map 2 -c:v mpeg2video -q:v 3 -c:a mp2 \
                            -program program_num=1:title=radio:st=0 -program program_num=2:title=television:st=1:st=2"
    );
    let (summary, output) = case.convert(&case.make("transponder.ts", &encoding)).await.unwrap();
    assert_eq!(summary.audio_tracks, 1);
    assert!(summary.warnings.iter().any(|warning| warning.contains("another programme")), "{summary:?}");
    assert!(hertz(&output) > 900.0);
}

#[tokio::test]
async fn a_track_of_an_unknown_kind_is_left_out_and_named() {
    let case = Case::new();
    let encoding = format!("-f lavfi -i {PICTURE} -f lavfi -i {TONE} -map 0 -map 1 -map 1 {H264} -c:a aac");
    // The second sound, as a telephone writes it beside one that everybody plays: known by a name alone that is
    // newer than the decoders.
    let known = fs::read(case.make("telephone.mov", &encoding)).unwrap();
    for (name, new) in [("spatial.mov", *b"apac"), ("tomorrow.mov", *b"zzz9")] {
        let mut bytes = known.clone();
        let places: Vec<_> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"mp4a").collect();
        for at in &places[places.len() / 2..] {
            bytes[*at..at + 4].copy_from_slice(&new);
        }
        let description = bytes.windows(4).rposition(|window| window == b"esds").unwrap();
        bytes[description..description + 4].copy_from_slice(b"dapa");
        let input = case.path(name);
        fs::write(&input, bytes).unwrap();
        let (summary, output) = case.convert(&input).await.unwrap();
        assert_eq!(summary.audio_tracks, 1, "{name}: {summary:?}");
        assert!(
            summary.warnings.iter().any(|warning| warning.contains("audio stream 2 was left out")),
            "{name}: {summary:?}"
        );
        assert_plays_in_browsers(&output, 4.0);
    }
}

#[tokio::test]
async fn chapters_and_titles_are_kept() {
    let case = Case::new();
    fs::write(
        case.path("chapters.txt"),
        ";FFMETADATA1\ntitle=Book\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=One\n\
         [CHAPTER]\nTIMEBASE=1/1000\nSTART=2000\nEND=4000\ntitle=Zwölf\n",
    )
    .unwrap();
    let book = format!("-f lavfi -i {TONE} -i chapters.txt -map_metadata 1 -map_chapters 1 -c:a aac -f ipod");
    let film = format!(
        "-f lavfi -i {PICTURE} -f lavfi -i {TONE} -i chapters.txt -map 0 -map 1 -map_metadata 2 \
                        -map_chapters 2 -c:v mpeg4 -c:a ac3"
    );
    for (name, encoding) in [("book.m4b", book), ("film.mkv", film)] {
        let (_, output) = case.convert(&case.make(name, &encoding)).await.unwrap();
        let found = ffprobe(&output, "-show_chapters -show_format");
        let title = |n: usize| found["chapters"][n]["tags"]["title"].as_str().unwrap_or_default().to_owned();
        assert_eq!([title(0), title(1)], ["One", "Zwölf"], "{name}: {found}");
        assert_eq!(found["chapters"][1]["start_time"], "2.000000");
        assert_eq!(found["format"]["tags"]["title"], "Book");
    }
}
