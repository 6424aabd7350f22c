//! The containers that are read. Each holds its own media: playlists and scripts (hls, dash, concat, sdp) open other
//! files, and libav recognises them by content, so they are left out on purpose.

/// A kind of file that libav's demuxer of this name reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Container {
    /// A word for people.
    pub name: &'static str,
    /// Names of the demuxers, separated by commas.
    pub demuxers: &'static str,
    /// Extensions that no other kind of file has: content that contradicts them is refused.
    pub extensions: &'static [&'static str],
    /// Extensions that other kinds of files have too, such as TypeScript and device trees: only the bytes decide.
    pub shared_extensions: &'static [&'static str],
}

const fn container(
    name: &'static str,
    demuxers: &'static str,
    extensions: &'static [&'static str],
    shared_extensions: &'static [&'static str],
) -> Container {
    Container { name, demuxers, extensions, shared_extensions }
}

/// All of them, the common ones first.
pub const CONTAINERS: &[Container] = &[
    container("Matroska", "matroska,webm", &["mkv", "mk3d", "mka", "webm", "weba"], &[]),
    container(
        "MP4",
        "mov,mp4,m4a,3gp,3g2,mj2",
        &["mp4", "m4a", "m4b", "m4v", "mov", "qt", "3gp", "3g2", "f4v"],
        &["m4p", "aax", "m4r", "mj2"],
    ),
    container("MPEG-TS", "mpegts", &["m2ts"], &["ts", "mts", "m2t", "tp", "trp", "tod", "rec"]),
    container(
        "MPEG-PS",
        "mpeg,mpegvideo",
        &["mpg", "mpeg", "mpe", "vob"],
        &["m2v", "m1v", "mod", "vro", "dat", "m2p"],
    ),
    container("AVI", "avi", &["avi"], &["divx", "amv"]),
    container("Windows Media", "asf,asf_o", &["asf", "wmv", "wma"], &["dvr-ms"]),
    container("FLV", "flv,live_flv", &["flv"], &[]),
    container("Ogg", "ogg", &["ogg", "oga", "ogv", "opus"], &["ogx", "spx"]),
    container("MP3", "mp3", &["mp3", "mp2"], &["mpa", "mp1"]),
    container("AAC", "aac,loas", &["aac"], &["adts", "latm", "loas"]),
    container("WAV", "wav,w64", &["wav"], &["w64", "rf64", "bwf"]),
    container("AIFF", "aiff", &["aif", "aiff"], &["aifc"]),
    container("FLAC", "flac", &["flac"], &["fla"]),
    container("WavPack", "wv", &["wv"], &[]),
    container("other sounds", "ape,tta,mpc,mpc8,tak,shn", &[], &["ape", "tta", "mpc", "tak", "shn"]),
    container("CAF", "caf", &[], &["caf"]),
    container("Sun audio", "au", &[], &["au", "snd"]),
    container("AMR", "amr,amrnb,amrwb", &[], &["amr", "awb"]),
    container("DSD", "dsf,iff", &[], &["dsf", "dff", "8svx", "iff"]),
    container("VOC", "voc", &[], &["voc"]),
    container(
        "Dolby and DTS",
        "ac3,eac3,truehd,mlp,dts,dtshd",
        &[],
        &["ac3", "eac3", "ec3", "thd", "mlp", "dts", "dtshd"],
    ),
    container("RealMedia", "rm", &[], &["rm", "rmvb", "ra", "rv"]),
    container("MXF", "mxf", &[], &["mxf"]),
    container("GXF", "gxf", &[], &["gxf"]),
    container("DV", "dv", &[], &["dv", "dif"]),
    container("H.264 and H.265", "h264,hevc", &[], &["264", "h264", "avc", "265", "h265", "hevc", "jsv"]),
    container("MPEG-4 Visual", "m4v", &[], &["m4v", "cmp"]),
    container("VC-1", "vc1,vc1test", &[], &["vc1", "rcv"]),
    container("AV1 and VP9", "ivf,obu,av1", &[], &["ivf", "obu"]),
    container("NUT", "nut", &[], &["nut"]),
    container("WTV", "wtv", &[], &["wtv"]),
    container("YUV4MPEG", "yuv4mpegpipe", &[], &["y4m"]),
];

/// Names of all demuxers, separated by commas, as libav takes them.
#[must_use]
pub fn demuxers() -> String {
    let names: Vec<_> = CONTAINERS.iter().map(|container| container.demuxers).collect();
    names.join(",")
}

/// The kind that a file name claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Film or sound, for certain.
    Media,
    /// Perhaps film or sound.
    Perhaps,
    Nothing,
}

pub(crate) fn claim(name: &str) -> Claim {
    let Some((_, extension)) = name.rsplit_once('.') else { return Claim::Nothing };
    let extension = extension.to_ascii_lowercase();
    let is_among = |extensions: &[&str]| extensions.contains(&extension.as_str());
    if CONTAINERS.iter().any(|container| is_among(container.extensions)) {
        return Claim::Media;
    }
    match CONTAINERS.iter().any(|container| is_among(container.shared_extensions)) {
        true => Claim::Perhaps,
        false => Claim::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_container_opens_other_files() {
        let names = demuxers();
        for dangerous in
            ["hls", "dash", "concat", "sdp", "rtsp", "imf", "image2", "tedcaptions", "data", "lavfi"]
        {
            assert!(!names.split(',').any(|name| name == dangerous), "{dangerous}");
        }
    }

    #[test]
    fn names_claim_what_their_extensions_say() {
        for (name, expected) in [
            ("a.b.MKV", Claim::Media),
            ("main.ts", Claim::Perhaps),
            ("board.dts", Claim::Perhaps),
            ("mkv", Claim::Nothing),
            ("a.txt", Claim::Nothing),
        ] {
            assert_eq!(claim(name), expected, "{name}");
        }
    }
}
