//! Parts of libav without a safe wrapper; the only unsafe code of the worker.

#![expect(unsafe_code, reason = "fields and calls of libav that ffmpeg-next does not wrap")]

pub(super) mod hardware;

use std::ffi::{CStr, c_int};
use std::ptr;

use ff::ffi as sys;
use ffmpeg_next as ff;

/// Bytes of a single allocation: enough for a 16K picture, too little for the sizes in a forged header.
const MAX_ALLOCATION: usize = 1 << 30;

/// Limits the size of each single allocation of libav.
pub(super) fn limit_allocations() {
    // SAFETY: sets a global number, documented to be callable at any time.
    unsafe { sys::av_max_alloc(MAX_ALLOCATION) }
}

/// The codec parameters of a stream, read without opening a decoder.
pub(super) struct StreamParameters {
    pub(super) profile: ff::codec::Profile,
    /// Name of the profile, if the codec has named ones.
    pub(super) profile_name: Option<&'static str>,
    pub(super) level: i32,
    pub(super) width: u32,
    pub(super) height: u32,
    /// 8-bit 4:2:0 of either range: the only layout that every browser decodes.
    pub(super) is_yuv420p: bool,
    /// Bits of the first colour; 0 without a picture.
    pub(super) bit_depth: u32,
    /// Colours have half the width and half the height.
    pub(super) is_420: bool,
    pub(super) field_order: ff::FieldOrder,
    pub(super) space: ff::color::Space,
    pub(super) primaries: ff::color::Primaries,
    pub(super) transfer: ff::color::TransferCharacteristic,
    pub(super) aspect: ff::Rational,
    pub(super) sample_rate: u32,
    pub(super) channels: u32,
}

pub(super) fn stream_parameters(parameters: &ff::codec::Parameters) -> StreamParameters {
    // SAFETY: the wrapper keeps the parameters alive and they are not written while we hold a reference.
    let raw = unsafe { &*parameters.as_ptr() };
    let is_picture = raw.codec_type == sys::AVMediaType::AVMEDIA_TYPE_VIDEO;
    let (bit_depth, is_420) = if is_picture { layout(raw.format) } else { (0, false) };
    StreamParameters {
        profile: ff::codec::Profile::from((parameters.id(), raw.profile)),
        profile_name: profile_name(raw.codec_id, raw.profile),
        level: raw.level,
        width: raw.width.max(0).cast_unsigned(),
        height: raw.height.max(0).cast_unsigned(),
        is_yuv420p: [sys::AVPixelFormat::AV_PIX_FMT_YUV420P, sys::AVPixelFormat::AV_PIX_FMT_YUVJ420P]
            .iter()
            .any(|format| *format as c_int == raw.format),
        bit_depth,
        is_420,
        field_order: raw.field_order.into(),
        space: raw.color_space.into(),
        primaries: raw.color_primaries.into(),
        transfer: raw.color_trc.into(),
        aspect: raw.sample_aspect_ratio.into(),
        sample_rate: raw.sample_rate.max(0).cast_unsigned(),
        channels: raw.ch_layout.nb_channels.max(0).cast_unsigned(),
    }
}

/// Bits of the first colour, and whether colours have half the width and half the height.
fn layout(format: c_int) -> (u32, bool) {
    let mut descriptor = ptr::null();
    // SAFETY: the descriptors are a static list of the library, before the first and after the last of which is null.
    unsafe {
        loop {
            descriptor = sys::av_pix_fmt_desc_next(descriptor);
            if descriptor.is_null() {
                return (0, false);
            }
            if sys::av_pix_fmt_desc_get_id(descriptor) as c_int == format {
                break;
            }
        }
        let known = &*descriptor;
        let depth = known.comp[0].depth.max(0).cast_unsigned();
        (depth, known.log2_chroma_w == 1 && known.log2_chroma_h == 1)
    }
}

fn profile_name(codec: sys::AVCodecID, profile: c_int) -> Option<&'static str> {
    // SAFETY: the answer is null or a static text of the library.
    unsafe {
        let name = sys::avcodec_profile_name(codec, profile);
        (!name.is_null()).then(|| CStr::from_ptr(name).to_str().ok()).flatten()
    }
}

/// Shape of the pixels: what the container says wins over what the codec says, as in the `ffmpeg` program.
pub(super) fn sample_aspect(input: &ff::format::context::Input, stream: &ff::Stream<'_>) -> ff::Rational {
    // SAFETY: both belong to the input, which the borrow keeps alive; the call only reads, and takes no frame.
    let aspect = unsafe {
        sys::av_guess_sample_aspect_ratio(
            input.as_ptr().cast_mut(),
            stream.as_ptr().cast_mut(),
            ptr::null_mut(),
        )
    };
    aspect.into()
}

/// Sets the shape of the pixels of an output stream, where players read it.
pub(super) fn set_sample_aspect(stream: &mut ff::StreamMut<'_>, aspect: ff::Rational) {
    // SAFETY: the stream belongs to an output context that the borrow keeps alive; its parameters are never null.
    unsafe {
        let raw = stream.as_mut_ptr();
        (*raw).sample_aspect_ratio = aspect.into();
        (*(*raw).codecpar).sample_aspect_ratio = aspect.into();
    }
}

/// The streams of the programme that a stream belongs to; `None` when it belongs to none.
pub(super) fn programme(input: &ff::format::context::Input, stream: usize) -> Option<Vec<usize>> {
    let index = c_int::try_from(stream).ok()?;
    // SAFETY: the input is alive during the call, which only reads; a programme of it lists `nb_stream_indexes`
    // numbers.
    unsafe {
        let programme = sys::av_find_program_from_stream(input.as_ptr().cast_mut(), ptr::null_mut(), index);
        if programme.is_null() || (*programme).stream_index.is_null() {
            return None;
        }
        let count = (*programme).nb_stream_indexes as usize;
        let indexes = std::slice::from_raw_parts((*programme).stream_index, count);
        Some(indexes.iter().map(|index| *index as usize).collect())
    }
}

/// The still picture of a stream that is one.
pub(super) fn attached_picture(stream: &ff::Stream<'_>) -> Option<ff::Packet> {
    // SAFETY: the borrow keeps the stream alive; a packet has `size` bytes at `data`, which are copied.
    unsafe {
        let packet = &(*stream.as_ptr()).attached_pic;
        let size = usize::try_from(packet.size).ok().filter(|size| *size > 0 && !packet.data.is_null())?;
        Some(ff::Packet::copy(std::slice::from_raw_parts(packet.data, size)))
    }
}

/// Whether times may begin anew or jump in the middle of this kind of container.
pub(super) fn may_jump(input: &ff::format::context::Input) -> bool {
    // SAFETY: an open input has a demuxer, a static table.
    unsafe { (*(*input.as_ptr()).iformat).flags & sys::AVFMT_TS_DISCONT != 0 }
}

/// Bytes of the length before each unit of H.264 in MP4 and Matroska; 0 for everything else.
pub(super) fn length_size(parameters: &ff::codec::Parameters) -> usize {
    // SAFETY: the wrapper keeps the parameters alive; their extra data are `extradata_size` bytes.
    let extra = unsafe {
        let raw = &*parameters.as_ptr();
        match usize::try_from(raw.extradata_size) {
            Ok(size @ 1..) if !raw.extradata.is_null() => std::slice::from_raw_parts(raw.extradata, size),
            _ => return 0,
        }
    };
    match (parameters.id(), extra) {
        (ff::codec::Id::H264, [1, _, _, _, sizes, ..]) => usize::from(sizes & 3) + 1,
        _ => 0,
    }
}

/// Removes the codec tag of the input container, so that the muxer chooses one that fits MP4.
pub(super) fn clear_tag(stream: &mut ff::StreamMut<'_>) {
    // SAFETY: the stream belongs to an output context that the borrow keeps alive; its parameters are never
    // null.
    unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = 0 }
}

/// Sets the display matrix of an output stream: how players rotate a copied picture.
pub(super) fn set_display_matrix(stream: &mut ff::StreamMut<'_>, matrix: &[u8]) {
    // SAFETY: the call allocates `matrix.len()` bytes that belong to the stream; exactly these are written.
    unsafe {
        let kind = sys::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        let data = sys::av_stream_new_side_data(stream.as_mut_ptr(), kind, matrix.len());
        if !data.is_null() {
            ptr::copy_nonoverlapping(matrix.as_ptr(), data, matrix.len());
        }
    }
}

/// A second frame with the same picture, which is not copied: filters take their frames away.
pub(super) fn share(frame: &ff::frame::Video) -> Result<ff::frame::Video, ff::Error> {
    let mut shared = ff::frame::Video::empty();
    // SAFETY: both frames are alive, and an empty one takes a reference to the buffers of the other.
    match unsafe { sys::av_frame_ref(shared.as_mut_ptr(), frame.as_ptr()) } {
        0.. => Ok(shared),
        error => Err(ff::Error::from(error)),
    }
}

/// Copies the styles of a subtitle decoder to the encoder, which cannot be opened without them.
pub(super) fn copy_subtitle_header(
    from: &ff::codec::Context,
    to: &mut ff::codec::Context,
) -> Result<(), ff::Error> {
    // SAFETY: both contexts are alive and not open in another thread; the header is a buffer of the stated
    // size, and its copy is allocated by libav, which frees it with the encoder.
    unsafe {
        let from = &*from.as_ptr();
        if from.subtitle_header.is_null() || from.subtitle_header_size <= 0 {
            return Ok(());
        }
        let size = from.subtitle_header_size as usize;
        let copy = sys::av_mallocz(size + 1).cast::<u8>();
        if copy.is_null() {
            return Err(ff::Error::Other { errno: ff::error::ENOMEM });
        }
        ptr::copy_nonoverlapping(from.subtitle_header, copy, size);
        let to = &mut *to.as_mut_ptr();
        to.subtitle_header = copy;
        to.subtitle_header_size = from.subtitle_header_size;
    }
    Ok(())
}

/// A decoded subtitle that frees its rectangles when dropped; the wrapper's type does not.
pub(super) struct OwnedSubtitle(ff::Subtitle);

impl OwnedSubtitle {
    pub(super) fn empty() -> Self {
        Self(ff::Subtitle::new())
    }

    pub(super) fn get(&mut self) -> &mut ff::Subtitle {
        &mut self.0
    }

    /// Encodes into `buffer` and returns the number of bytes, which the wrapper's call does not.
    pub(super) fn encode(
        &self,
        encoder: &mut ff::encoder::subtitle::Encoder,
        buffer: &mut [u8],
    ) -> Result<usize, ff::Error> {
        let room = c_int::try_from(buffer.len()).unwrap_or(c_int::MAX);
        // SAFETY: the encoder is open, the subtitle is initialised, and `room` does not exceed the buffer.
        let size = unsafe {
            sys::avcodec_encode_subtitle(encoder.as_mut_ptr(), buffer.as_mut_ptr(), room, self.0.as_ptr())
        };
        usize::try_from(size).map_err(|_| ff::Error::from(size))
    }
}

impl Drop for OwnedSubtitle {
    fn drop(&mut self) {
        // SAFETY: frees what the decoder allocated and zeroes the struct; an empty one is fine.
        unsafe { sys::avsubtitle_free(self.0.as_mut_ptr()) }
    }
}

/// Name of the decoder that libav uses for a codec; `None` when this build has none.
pub(super) fn decoder_name(id: ff::codec::Id) -> Option<String> {
    // SAFETY: looks up a static table; the name of a registered codec is a static C string.
    unsafe {
        let codec = sys::avcodec_find_decoder(id.into());
        (!codec.is_null()).then(|| CStr::from_ptr((*codec).name).to_string_lossy().into_owned())
    }
}
