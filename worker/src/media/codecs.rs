//! The decoders that are used.

use ff::codec::Id;
use ffmpeg_next as ff;

use super::ffi;

/// Decoders by name: those of files that people have. Hundreds of others, mostly of games, are attack surface only.
const CODECS: &str = "h264,hevc,vp8,vp9,libdav1d,av1,libaom-av1,mpeg1video,mpeg2video,mpegvideo,mpeg4,\
    msmpeg4v1,msmpeg4,msmpeg4v2,h261,h263,h263p,h263i,flv,vc1,wmv1,wmv2,wmv3,mss1,mss2,mjpeg,mjpegb,amv,\
    ffv1,ffvhuff,huffyuv,utvideo,magicyuv,lagarith,dvvideo,dnxhd,cfhd,prores,jpeg2000,\
    theora,libtheora,vp3,vp4,vp5,vp6,vp6a,vp6f,vp7,dirac,snow,cavs,svq1,svq3,cinepak,indeo2,indeo3,indeo4,indeo5,\
    rv10,rv20,rv30,rv40,qtrle,rpza,smc,msrle,msvideo1,8bps,flashsv,flashsv2,zmbv,camtasia,tscc2,camstudio,fraps,\
    mszh,zlib,png,rawvideo,v210,v210x,v308,v408,v410,r210,r10k,y41p,yuv4,hap,speedhq,\
    aac,aac_latm,mp3float,mp3,mp3adufloat,mp3on4float,mp2float,mp2,mp1float,mp1,ac3,eac3,dca,truehd,mlp,flac,alac,\
    vorbis,libvorbis,opus,libopus,speex,libspeex,wmav1,wmav2,wmapro,wmalossless,wmavoice,cook,sipr,ra_144,real_144,\
    ra_288,real_288,ralf,atrac1,atrac3,atrac3al,atrac3plus,atrac3plusal,qdm2,qdmc,qcelp,evrc,amrnb,amrwb,gsm,gsm_ms,\
    libgsm,libgsm_ms,ilbc,g722,g726,g726le,g723_1,g729,nellymoser,mace3,mace6,ape,tta,wavpack,tak,shorten,mpc7,mpc8,als,\
    s302m,dvaudio,dsd_lsbf,dsd_msbf,dsd_lsbf_planar,dsd_msbf_planar,8svx_exp,8svx_fib,truespeech,\
    adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_swf,adpcm_yamaha,adpcm_ct,adpcm_sbpro_2,adpcm_sbpro_3,adpcm_sbpro_4,\
    adpcm_ima_amv,pcm_u8,pcm_s8,pcm_s8_planar,pcm_s16le,pcm_s16be,pcm_s16le_planar,pcm_s16be_planar,pcm_s24le,\
    pcm_s24be,pcm_s24le_planar,pcm_s32le,pcm_s32be,pcm_s32le_planar,pcm_s64le,pcm_s64be,pcm_u16le,pcm_u16be,\
    pcm_u24le,pcm_u24be,pcm_f32le,pcm_f32be,pcm_f64le,pcm_f64be,pcm_f16le,pcm_f24le,pcm_alaw,pcm_mulaw,pcm_bluray,\
    pcm_dvd,subrip,srt,ass,ssa,mov_text,webvtt,text,microdvd,mpl2,subviewer,subviewer1,sami,\
    apng,webp,gif,bmp,tiff,libjxl";
/// Pixels of a picture; each would take 100 MB.
pub(super) const MAX_PIXELS: u64 = 8192 * 8192;

/// Options of all decoders.
pub(super) fn decoder_options() -> ff::Dictionary<'static> {
    let mut options = ff::Dictionary::new();
    options.set("codec_whitelist", CODECS);
    options.set("max_pixels", &MAX_PIXELS.to_string());
    options
}

/// The names, separated by commas, as libav takes them.
pub(super) fn names() -> &'static str {
    CODECS
}

pub(super) fn is_decodable(codec: Id) -> bool {
    ffi::decoder_name(codec).is_some_and(|name| CODECS.split(',').any(|allowed| allowed == name))
}

/// Subtitles that consist of text.
pub(super) fn is_text(codec: Id) -> bool {
    matches!(codec, Id::SUBRIP | Id::SRT | Id::ASS | Id::SSA | Id::MOV_TEXT | Id::WEBVTT | Id::TEXT)
}
