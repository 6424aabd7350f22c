//! Devices that encode and decode, and the pictures in their memory.

use std::ffi::{CString, c_int};
use std::path::Path;
use std::ptr;

use ff::ffi as sys;
use ffmpeg_next as ff;

/// A reference to something that libav counts references of.
struct Shared(*mut sys::AVBufferRef);

// SAFETY: reference counts of libav are atomic, and devices may be used by several threads.
unsafe impl Send for Shared {}
// SAFETY: as above; what is shared is only referenced again.
unsafe impl Sync for Shared {}

impl Shared {
    /// Another reference.
    fn share(&self) -> *mut sys::AVBufferRef {
        // SAFETY: the reference is valid as long as `self` lives.
        unsafe { sys::av_buffer_ref(self.0) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: gives up the reference that this owns.
        unsafe { sys::av_buffer_unref(&raw mut self.0) }
    }
}

fn check(code: c_int) -> Result<(), ff::Error> {
    if code < 0 { Err(ff::Error::from(code)) } else { Ok(()) }
}

/// An open device.
pub(in crate::media) struct Device(Shared);

impl Device {
    /// Opens the device of VAAPI at a path.
    pub(in crate::media) fn vaapi(path: &Path) -> Result<Self, ff::Error> {
        let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| ff::Error::InvalidData)?;
        let mut device = ptr::null_mut();
        let kind = sys::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        // SAFETY: writes a new reference to `device` if it succeeds; the path outlives the call.
        check(unsafe {
            sys::av_hwdevice_ctx_create(&raw mut device, kind, path.as_ptr(), ptr::null_mut(), 0)
        })?;
        Ok(Self(Shared(device)))
    }

    /// The same device as QSV sees it.
    pub(in crate::media) fn qsv(&self) -> Result<Self, ff::Error> {
        let mut device = ptr::null_mut();
        let kind = sys::AVHWDeviceType::AV_HWDEVICE_TYPE_QSV;
        // SAFETY: writes a new reference to `device` if it succeeds.
        check(unsafe { sys::av_hwdevice_ctx_create_derived(&raw mut device, kind, (self.0).0, 0) })?;
        Ok(Self(Shared(device)))
    }

    /// Makes a decoder or encoder that is not open yet use the device.
    pub(in crate::media) fn serve(&self, codec: &mut ff::codec::Context) {
        // SAFETY: the context is not open; libav frees the reference with it. No device was set before.
        unsafe { (*codec.as_mut_ptr()).hw_device_ctx = self.0.share() }
    }

    /// Makes a decoder that is not open yet leave its pictures in the memory of the device, where it can.
    pub(in crate::media) fn decode(&self, codec: &mut ff::codec::Context) {
        self.serve(codec);
        // SAFETY: the context is not open; the callback has the type that libav calls.
        unsafe { (*codec.as_mut_ptr()).get_format = Some(prefer_vaapi) }
    }

    /// Memory of the device for pictures that an encoder takes.
    pub(in crate::media) fn pictures(&self, width: u32, height: u32) -> Result<Pictures, ff::Error> {
        // SAFETY: the allocated context has not been initialised, so its fields may be set; the reference is owned from
        // here on.
        unsafe {
            let pictures = Shared(sys::av_hwframe_ctx_alloc((self.0).0));
            if pictures.0.is_null() {
                return Err(ff::Error::Other { errno: ff::error::ENOMEM });
            }
            let context = &mut *(*pictures.0).data.cast::<sys::AVHWFramesContext>();
            context.format = sys::AVPixelFormat::AV_PIX_FMT_VAAPI;
            context.sw_format = sys::AVPixelFormat::AV_PIX_FMT_NV12;
            context.width = c_int::try_from(width).unwrap_or(c_int::MAX);
            context.height = c_int::try_from(height).unwrap_or(c_int::MAX);
            context.initial_pool_size = 20;
            check(sys::av_hwframe_ctx_init(pictures.0))?;
            Ok(Pictures(pictures))
        }
    }
}

/// Takes pictures in the memory of VAAPI if the decoder offers them, else what libav prefers in main memory.
unsafe extern "C" fn prefer_vaapi(
    context: *mut sys::AVCodecContext,
    formats: *const sys::AVPixelFormat,
) -> sys::AVPixelFormat {
    let mut at = formats;
    // SAFETY: libav passes a list that ends with AV_PIX_FMT_NONE.
    unsafe {
        while *at != sys::AVPixelFormat::AV_PIX_FMT_NONE {
            if *at == sys::AVPixelFormat::AV_PIX_FMT_VAAPI {
                return *at;
            }
            at = at.add(1);
        }
        sys::avcodec_default_get_format(context, formats)
    }
}

/// Memory of a device for pictures.
pub(in crate::media) struct Pictures(Shared);

impl Pictures {
    /// Makes an encoder that is not open yet take pictures from here.
    pub(in crate::media) fn serve(&self, codec: &mut ff::codec::Context) {
        // SAFETY: the context is not open; libav frees the reference with it. No memory was set before.
        unsafe { (*codec.as_mut_ptr()).hw_frames_ctx = self.0.share() }
    }

    /// Copies a picture into the memory of the device.
    pub(in crate::media) fn upload(&self, picture: &ff::frame::Video) -> Result<ff::frame::Video, ff::Error> {
        let mut uploaded = ff::frame::Video::empty();
        // SAFETY: the frame is empty and gets a buffer of the memory, into which the other frame is copied.
        unsafe {
            check(sys::av_hwframe_get_buffer((self.0).0, uploaded.as_mut_ptr(), 0))?;
            check(sys::av_hwframe_transfer_data(uploaded.as_mut_ptr(), picture.as_ptr(), 0))?;
            check(sys::av_frame_copy_props(uploaded.as_mut_ptr(), picture.as_ptr()))?;
        }
        Ok(uploaded)
    }
}

/// Replaces a picture in the memory of a device by a copy in main memory; leaves others as they are.
pub(in crate::media) fn download(picture: &mut ff::frame::Video) -> Result<(), ff::Error> {
    // SAFETY: the frame is alive; only a pointer is compared.
    if unsafe { (*picture.as_ptr()).hw_frames_ctx.is_null() } {
        return Ok(());
    }
    let mut copy = ff::frame::Video::empty();
    // SAFETY: the empty frame gets buffers of its own, in the format that the device prefers.
    unsafe {
        check(sys::av_hwframe_transfer_data(copy.as_mut_ptr(), picture.as_ptr(), 0))?;
        check(sys::av_frame_copy_props(copy.as_mut_ptr(), picture.as_ptr()))?;
    }
    *picture = copy;
    Ok(())
}
