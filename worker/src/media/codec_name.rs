//! Codecs as people name them.

/// The name that people know a codec by.
pub(super) fn codec_name(name: &str) -> String {
    let known = match name {
        "h264" => "H.264",
        "hevc" => "HEVC",
        "av1" => "AV1",
        "mpeg1video" => "MPEG-1",
        "mpeg2video" => "MPEG-2",
        "mpeg4" => "MPEG-4",
        "vc1" => "VC-1",
        "prores" => "ProRes",
        "mjpeg" => "JPEG",
        "theora" => "Theora",
        "aac_latm" => "AAC",
        "ac3" => "AC-3",
        "eac3" => "E-AC-3",
        "dts" => "DTS",
        "truehd" => "TrueHD",
        "opus" => "Opus",
        "vorbis" => "Vorbis",
        "webp" => "WebP",
        "subrip" | "srt" => "SubRip",
        "webvtt" => "WebVTT",
        "microdvd" => "MicroDVD",
        "subviewer" => "SubViewer",
        "hdmv_pgs_subtitle" => "PGS",
        "dvd_subtitle" => "VobSub",
        "dvb_subtitle" => "DVB",
        "dvb_teletext" => "teletext",
        name if name.starts_with("pcm_") => "PCM",
        name => return name.to_uppercase(),
    };
    known.to_owned()
}
