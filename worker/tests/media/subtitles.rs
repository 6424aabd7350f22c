//! Subtitles as WebVTT, compared with what `ffmpeg` makes of the same stream.

use std::fs;
use std::path::Path;
use std::process::Command;

use nebula_worker::media::{Task, Text, TextTask};

use super::pictures::{attempt, make, run};
use super::support::{Case, H264, TONE, streams};

const PICTURE: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=6";
const LINES: &str = "1\n00:00:00,500 --> 00:00:01,250\nHello <i>there</i>\nand & on\n\n\
    2\n00:00:02,040 --> 00:00:03,000\nSchöne Grüße\n\n3\n00:00:03,500 --> 00:00:05,999\n<b>Ende</b> {\\an8}oben\n";
const STYLED: &str = "[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\n\
    Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
    StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\n\
    Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\n\n[Events]\n\
    Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
    Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\pos(10,10)\\c&H0000FF&}First, with a comma\\Nsecond line\n\
    Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\i1}thought{\\i0} aloud\n";
const CUES: &str = "WEBVTT\n\nNOTE nobody reads this\n\n1\n00:00:00.500 --> 00:00:01.000 line:0\n<v Bob>Hello</v>\n\n\
    00:00:02.000 --> 00:00:03.100\ntwo\nlines\n";

/// Start and end in milliseconds, and the text without tags.
type Cue = (i64, i64, String);

fn cues(text: &str) -> Vec<Cue> {
    let time = |text: &str| {
        let parts: Vec<_> = text.trim().split(['.', ':']).map(|part| part.parse::<i64>().unwrap()).collect();
        let [minutes @ .., seconds, rest] = parts.as_slice() else { panic!("{text}") };
        minutes.iter().fold(0, |all, part| all * 60 + part) * 60_000 + seconds * 1000 + rest
    };
    let mut cues = Vec::new();
    for block in text.split("\n\n").filter(|block| block.contains(" --> ")) {
        let (times, shown) = block.trim_start().split_once('\n').unwrap_or((block, ""));
        let (from, to) = times.split_once(" --> ").unwrap();
        cues.push((time(from), time(to.split(' ').next().unwrap()), without_tags(shown.trim())));
    }
    cues
}

fn without_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut is_tag = false;
    for letter in text.chars() {
        match letter {
            '<' => is_tag = true,
            '>' if is_tag => is_tag = false,
            _ if !is_tag => plain.push(letter),
            _ => {}
        }
    }
    plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

fn by_ffmpeg(path: &Path, stream: usize) -> Vec<Cue> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
    let output = command.args(["-map", &format!("0:s:{stream}"), "-f", "webvtt", "-"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cues(&String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn subtitles_have_text_and_times_of_the_film() {
    let case = Case::new();
    for (name, text) in [("lines.srt", LINES), ("styled.ass", STYLED), ("cues.vtt", CUES)] {
        fs::write(case.path(name), text).unwrap();
    }
    for (name, subtitles, encoding, count) in [
        ("srt.mkv", "lines.srt", "-c:s srt", 3),
        ("styled.mkv", "styled.ass", "-c:s copy", 2),
        ("phone.mp4", "lines.srt", "-c:s mov_text", 3),
        ("vtt.webm", "cues.vtt", "-c:s copy", 2),
        ("late.mkv", "lines.srt", "-c:s srt -output_ts_offset 100", 3),
    ] {
        let video = if name.ends_with("webm") { "-c:v libvpx -deadline realtime -cpu-used 8" } else { H264 };
        let film = case.make(name, &format!("{PICTURE} -i {subtitles} -map 0 -map 1 {video} {encoding}"));
        let made = make(&case, &film).await;
        assert_eq!(
            made.pictures.subtitles,
            [("subtitle-0".to_owned(), count)],
            "{name}: {:?}",
            made.pictures
        );
        let text = fs::read_to_string(made.folder.join("subtitle-0.vtt")).unwrap();
        // Pieces of streams are on a clock that is a second ahead.
        assert!(text.starts_with("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:90000\n\n"), "{text}");
        assert_eq!(cues(&text), by_ffmpeg(&film, 0), "{name}: {text}");
    }
}

#[tokio::test]
async fn several_subtitles_keep_language_title_and_meaning() {
    let case = Case::new();
    fs::write(case.path("english.srt"), LINES).unwrap();
    let (german, _, _) = encoding_rs::WINDOWS_1252.encode(LINES);
    fs::write(case.path("german.srt"), german).unwrap();
    let named = "-metadata:s:s:0 language=eng -metadata:s:s:1 language=ger -metadata:s:s:1 title=Erzwungen \
        -disposition:s:1 forced";
    let recipe =
        format!("{PICTURE} -i english.srt -i german.srt -map 0 -map 1 -map 2 {H264} -c:s copy {named}");
    let made = make(&case, &case.make("film.mkv", &recipe)).await;
    let planned: Vec<_> = made
        .plan
        .subtitles
        .iter()
        .map(|one| (one.language.as_deref(), one.label.as_deref(), one.forced))
        .collect();
    assert_eq!(planned, [(Some("eng"), None, false), (Some("ger"), Some("Erzwungen"), true)]);
    let [english, german] =
        [0, 1].map(|n| fs::read_to_string(made.folder.join(format!("subtitle-{n}.vtt"))).unwrap());
    assert_eq!(cues(&german), cues(&english), "an old encoding becomes UTF-8");
    assert_eq!(cues(&german)[1].2, "Schöne Grüße");
}

#[tokio::test]
async fn fonts_are_left_out_and_the_subtitles_stay() {
    let case = Case::new();
    fs::write(case.path("lines.srt"), LINES).unwrap();
    fs::write(case.path("font.ttf"), [7; 2000]).unwrap();
    let fonts: Vec<_> = (0..90)
        .map(|number| {
            format!(
                "-attach font.ttf -metadata:s:t:{number} mimetype=font/ttf -metadata:s:t:{number} filename={number}.ttf"
            )
        })
        .collect();
    let encoding =
        format!("{PICTURE} -f lavfi -i {TONE} -i lines.srt {H264} -c:a aac -c:s srt {}", fonts.join(" "));
    let (_, output) = case.convert(&case.make("fonts.mkv", &encoding)).await.unwrap();
    let kinds: Vec<_> = streams(&output).iter().map(|stream| stream["codec_name"].clone()).collect();
    assert_eq!(kinds, ["h264", "aac", "mov_text"]);
}

#[tokio::test]
async fn subtitles_beside_a_film_are_read_in_every_format_and_encoding() {
    let case = Case::new();
    let (latin, _, _) = encoding_rs::WINDOWS_1252.encode(LINES);
    let wide: Vec<u8> =
        std::iter::once(0xfeff).chain(LINES.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let expected = {
        fs::write(case.path("lines.srt"), LINES).unwrap();
        by_ffmpeg(&case.path("lines.srt"), 0)
    };
    for (name, bytes) in [("utf8", LINES.into()), ("latin", latin.to_vec()), ("wide", wide)] {
        assert_eq!(beside(&case, name, bytes, None).await, expected, "{name}");
    }
    for (name, text) in [("styled.ass", STYLED), ("cues.vtt", CUES)] {
        fs::write(case.path(name), text).unwrap();
        let expected = by_ffmpeg(&case.path(name), 0);
        assert_eq!(beside(&case, &name.replace('.', "-"), text.into(), None).await, expected, "{name}");
    }
}

/// Converts a file of these bytes.
async fn beside(case: &Case, name: &str, bytes: Vec<u8>, frame_rate: Option<f64>) -> Vec<Cue> {
    let (input, folder) = (case.path(name), case.path(&format!("{name}.made")));
    fs::write(&input, bytes).unwrap();
    fs::create_dir(&folder).unwrap();
    let text: Text = run(&input, &folder.join("companion"), Task::Text(TextTask { frame_rate })).await;
    let made = cues(&fs::read_to_string(folder.join("subtitle.vtt")).unwrap());
    assert_eq!(text.cues, made.len(), "{name}: {text:?}");
    made
}

#[tokio::test]
async fn subtitles_that_count_in_pictures_go_by_their_own_rate_or_that_of_the_film() {
    let case = Case::new();
    let lines = "{50}{75}one\n{100}{150}two|lines\n{200}{225}three\n";
    let times = |cues: Vec<Cue>| cues.into_iter().map(|(from, to, _)| (from, to)).collect::<Vec<_>>();
    let by_film = beside(&case, "by-film", lines.into(), Some(50.0)).await;
    assert_eq!(by_film[1].2, "two\nlines");
    assert_eq!(times(by_film), [(1000, 1500), (2000, 3000), (4000, 4500)]);
    let own = beside(&case, "own", format!("{{1}}{{1}}25\n{lines}").into(), Some(50.0)).await;
    assert_eq!(times(own), [(2000, 3000), (4000, 6000), (8000, 9000)]);
}

#[tokio::test]
async fn what_has_no_lines_is_refused_for_good() {
    let case = Case::new();
    let film = fs::read(case.film("film.mkv", H264)).unwrap();
    for (name, bytes) in [
        ("text", b"Nothing that has times.\n".repeat(20)),
        ("empty", b"WEBVTT\n\n".to_vec()),
        ("film", film),
        ("playlist", b"#EXTM3U\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n".to_vec()),
    ] {
        let input = case.path(name);
        fs::write(&input, bytes).unwrap();
        let task = Task::Text(TextTask::default());
        let error = attempt::<Text>(&input, &case.path("companion"), task).await.unwrap_err();
        assert!(error.permanent, "{name}: {error}");
    }
}

/// Subtitles of a Blu-ray: a white bar from second 1 to 3.
fn blu_ray() -> Vec<u8> {
    let part = |seconds: u32, kind: u8, content: &[u8]| {
        let time = (seconds * 90_000).to_be_bytes();
        [b"PG", &time[..], &[0; 4], &[kind], &(content.len() as u16).to_be_bytes(), content].concat()
    };
    let size = [1, 64, 0, 240];
    let composition = |state: u8, objects: u8| [&size[..], &[0x10, 0, 1, state, 0, 0, objects]].concat();
    let window = [1, 0, 0, 100, 0, 200, 0, 64, 0, 16];
    let line = [0, 0x80 | 63, 1, 1, 0, 0];
    let picture = [&[0, 0, 0, 0xc0, 0, 0, 16 * 6 + 4, 0, 64, 0, 16][..], &line.repeat(16)].concat();
    [
        part(1, 0x16, &[&composition(0x80, 1)[..], &[0, 0, 0, 0, 0, 100, 0, 200]].concat()),
        part(1, 0x17, &window),
        part(1, 0x14, &[0, 0, 1, 235, 128, 128, 255]),
        part(1, 0x15, &picture),
        part(1, 0x80, &[]),
        part(3, 0x16, &composition(0, 0)),
        part(3, 0x17, &window),
        part(3, 0x80, &[]),
    ]
    .concat()
}

#[tokio::test]
async fn subtitles_of_pictures_stay_in_the_upload_with_the_reason() {
    let case = Case::new();
    fs::write(case.path("bar.sup"), blu_ray()).unwrap();
    for (name, codec, said) in
        [("pgs.mkv", "copy", "PGS"), ("vobsub.mkv", "dvdsub", "VobSub"), ("dvb.ts", "dvbsub", "DVB")]
    {
        let film = case
            .make(name, &format!("{PICTURE} -fix_sub_duration -i bar.sup -map 0 -map 1 {H264} -c:s {codec}"));
        assert!(streams(&film).iter().any(|stream| stream["codec_type"] == "subtitle"), "{name}");
        let made = make(&case, &film).await;
        assert!(made.plan.subtitles.is_empty() && made.pictures.subtitles.is_empty(), "{name}");
        let reason = format!(
            "was left out: {said} consists of pictures, which browsers do not show; it stays in the upload"
        );
        let warnings = &made.plan.summary.warnings;
        assert!(warnings.iter().any(|warning| warning.ends_with(&reason)), "{name}: {warnings:?}");
        let (summary, output) = case.convert(&film).await.unwrap();
        assert!(summary.warnings.iter().any(|warning| warning.ends_with(&reason)), "{name}: {summary:?}");
        assert!(streams(&output).iter().all(|stream| stream["codec_type"] == "video"), "{name}");
    }
}
