//! Kinds of files that people have, each compared with what the `ffmpeg` program makes of it.

use super::reference::assert_equals_ffmpeg;
use super::support::{Case, H264};

/// Two seconds are enough for two groups of pictures.
const PICTURE: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2";
const TONE: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000:duration=2";

async fn all(kinds: &[(&str, &str)]) {
    let case = Case::new();
    for (name, encoding) in kinds {
        let input = case.make(name, &format!("{PICTURE} {TONE} {}", encoding.replace("H264", H264)));
        assert_equals_ffmpeg(&case, &input).await;
    }
}

#[tokio::test]
async fn containers_of_today() {
    all(&[
        ("h264.mkv", "H264 -c:a aac"),
        ("h264.mp4", "H264 -c:a aac"),
        ("fragmented.mp4", "H264 -c:a aac -movflags frag_keyframe+empty_moov"),
        ("h264.ts", "H264 -c:a aac"),
        ("camera.m2ts", "H264 -c:a ac3 -f mpegts -mpegts_m2ts_mode 1"),
        ("h264.flv", "H264 -c:a aac"),
        ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libvorbis"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus"),
        ("av1.mkv", "-c:v libsvtav1 -preset 12 -c:a libopus"),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error -tag:v hvc1 -c:a eac3"),
        (
            "ten-bit.mkv",
            "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le -c:a flac",
        ),
        ("444.mkv", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p -c:a libopus"),
    ])
    .await;
}

#[tokio::test]
async fn containers_of_cameras_and_studios() {
    all(&[
        ("prores.mov", "-c:v prores_ks -c:a pcm_s24le"),
        ("dnx.mxf", "-s 1280x720 -c:v dnxhd -b:v 90M -pix_fmt yuv422p -c:a pcm_s16le"),
        ("mpeg2.mxf", "-c:v mpeg2video -q:v 4 -c:a pcm_s16le"),
        ("tape.dv", "-target pal-dv"),
        ("motion.avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p -c:a pcm_s16le"),
        ("lossless.mkv", "-c:v ffv1 -c:a flac"),
        ("lossless.avi", "-c:v huffyuv -c:a pcm_s16le"),
        ("raw.nut", "-c:v rawvideo -pix_fmt yuv420p -c:a pcm_s16le"),
        ("raw.y4m", "-map 0:v -pix_fmt yuv420p"),
        ("phone.3gp", "-s 176x144 -c:v h263 -c:a aac -ar 8000"),
    ])
    .await;
}

#[tokio::test]
async fn containers_of_the_past() {
    all(&[
        ("MOV00048.MPG", "-c:v mpeg1video -q:v 4 -c:a mp2 -ar 44100 -f mpeg"),
        ("VTS_01_1.VOB", "-c:v mpeg2video -q:v 4 -c:a ac3 -f vob"),
        ("holiday.wmv", "-c:v wmv2 -q:v 4 -c:a wmav2"),
        ("old.asf", "-c:v wmv1 -q:v 4 -c:a wmav1"),
        ("divx.avi", "-c:v mpeg4 -q:v 4 -c:a libmp3lame"),
        ("old.avi", "-c:v msmpeg4v2 -q:v 4 -c:a adpcm_ms"),
        ("old.flv", "-c:v flv -q:v 4 -c:a libmp3lame -ar 44100"),
        ("theora.ogv", "-c:v libtheora -q:v 6 -c:a libvorbis"),
        ("real.rm", "-c:v rv10 -q:v 4 -c:a ac3"),
        ("tv.wtv", "-c:v mpeg2video -q:v 4 -c:a mp2"),
        ("old.mov", "-c:v svq1 -q:v 4 -c:a adpcm_ima_qt"),
        ("cinepak.avi", "-c:v cinepak -s 160x120 -c:a pcm_u8"),
    ])
    .await;
}

#[tokio::test]
async fn streams_without_a_container() {
    all(&[
        ("stream.264", "-map 0:v H264 -bf 0"),
        ("stream.hevc", "-map 0:v -c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=0"),
        ("stream.m2v", "-map 0:v -c:v mpeg2video -q:v 4 -bf 0"),
        ("stream.ivf", "-map 0:v -c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("sound.ac3", "-map 1:a -c:a ac3"),
        ("sound.eac3", "-map 1:a -c:a eac3"),
        ("sound.dts", "-map 1:a -c:a dca -strict -2"),
        ("sound.thd", "-map 1:a -c:a truehd -strict -2"),
        ("sound.aac", "-map 1:a -c:a aac"),
        ("sound.mp2", "-map 1:a -c:a mp2"),
    ])
    .await;
}

#[tokio::test]
async fn shapes() {
    let case = Case::new();
    let plain = case.make("plain.mkv", &format!("{PICTURE} {TONE} {H264} -c:a aac"));
    let vp9 = case.make("vp9.mkv", &format!("{PICTURE} -c:v libvpx-vp9 -deadline realtime -cpu-used 8"));
    for (name, source, change) in [
        ("wide.mkv", &plain, "-c copy -aspect 16:9"),
        ("wide.mp4", &plain, "-c copy -aspect 16:9"),
        ("wide.mov", &plain, "-c:v mpeg4 -q:v 3 -c:a aac -aspect 16:9"),
        ("wide-vp9.mkv", &vp9, "-c copy -aspect 16:9"),
        ("wide-dvd.ts", &plain, "-c:v mpeg2video -q:v 3 -c:a mp2 -aspect 16:9"),
        ("turned.mp4", &plain, "-c copy -metadata:s:v rotate=90"),
        ("turned-wide.mp4", &plain, "-c:v mpeg4 -q:v 3 -c:a aac -aspect 16:9 -metadata:s:v rotate=90"),
        ("silent.mp4", &plain, "-c copy -an"),
        ("upright.mkv", &plain, "-vf scale=240:426 -c:v mpeg4 -q:v 3 -c:a aac"),
    ] {
        let input = case.make(name, &format!("-i {} {change}", source.display()));
        assert_equals_ffmpeg(&case, &input).await;
    }
}
