//! Encoding and decoding by a device, if it does so in a trial on the film, or by the processor. All chunks of a film
//! are made by one encoder, since players and the join take one description for all of them.

use std::path::Path;
use std::sync::OnceLock;

use ffmpeg_next as ff;
use serde::{Deserialize, Serialize};

use super::error::MediaError;
use super::ffi::hardware::{self, Device};

/// Pictures that a trial decodes and encodes.
pub(super) const TRIAL: usize = 8;

/// The encoder of a film.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoder {
    /// The processor.
    #[default]
    Software,
    /// A device, by VAAPI.
    Vaapi,
    /// A device of Intel, by QSV.
    Qsv,
}

impl Encoder {
    /// Format of the pictures that it is told of.
    pub(super) fn format(self) -> ff::format::Pixel {
        match self {
            Self::Software => ff::format::Pixel::YUV420P,
            Self::Vaapi => ff::format::Pixel::VAAPI,
            Self::Qsv => ff::format::Pixel::NV12,
        }
    }

    /// Filters between pictures of the processor's format and the encoder.
    pub(super) fn filters(self) -> &'static str {
        match self {
            Self::Software => "",
            Self::Vaapi | Self::Qsv => ",format=nv12",
        }
    }

    /// Name in libav.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Software => "libx264",
            Self::Vaapi => "h264_vaapi",
            Self::Qsv => "h264_qsv",
        }
    }
}

/// How the pictures of a film are made, and why so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Method {
    /// The encoder.
    #[serde(default)]
    pub encoder: Encoder,
    /// Whether the device decodes, too.
    #[serde(default)]
    pub hardware_decode: bool,
    /// Why not all is done by a device, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// The reason why there is no device.
#[derive(Clone, Debug)]
struct Unavailable(String);

/// The devices of this process, as far as they could be opened.
struct Devices {
    vaapi: Result<Device, Unavailable>,
    qsv: Result<Device, Unavailable>,
}

impl Unavailable {
    fn unset() -> Self {
        Self("no device for encoding is set".to_owned())
    }
}

static DEVICES: OnceLock<Devices> = OnceLock::new();

/// Opens the device at a path. Before the process is confined: drivers are loaded here.
pub(super) fn open(path: Option<&Path>) {
    let vaapi = match path {
        None => Err(Unavailable::unset()),
        Some(path) if !path.exists() => Err(Unavailable(format!("there is no {}", path.display()))),
        Some(path) => Device::vaapi(path)
            .map_err(|error| Unavailable(format!("{} cannot be opened by VAAPI: {error}", path.display()))),
    };
    let qsv = match &vaapi {
        Ok(device) => {
            device.qsv().map_err(|error| Unavailable(format!("the device is none of QSV: {error}")))
        }
        Err(reason) => Err(reason.clone()),
    };
    // A second call in a process changes nothing.
    let _ = DEVICES.set(Devices { vaapi, qsv });
}

/// The device of an encoder or, for the processor, none.
pub(super) fn device(encoder: Encoder) -> Result<Option<&'static Device>, MediaError> {
    let devices = DEVICES.get().ok_or_else(Unavailable::unset);
    let found = match encoder {
        Encoder::Software => return Ok(None),
        Encoder::Vaapi => devices.and_then(|devices| devices.vaapi.as_ref().map_err(Clone::clone)),
        Encoder::Qsv => devices.and_then(|devices| devices.qsv.as_ref().map_err(Clone::clone)),
    };
    found.map(Some).map_err(|Unavailable(reason)| MediaError::transient(reason))
}

/// The device that decodes; QSV shares that of VAAPI.
pub(super) fn decoding_device() -> Option<&'static Device> {
    device(Encoder::Vaapi).ok().flatten()
}

/// Goes down the ladder: all by a device, only encoding by a device, the processor. `encode` and `decode` try it on the
/// film.
pub(super) fn choose(
    mut encode: impl FnMut(Encoder) -> Result<(), MediaError>,
    decode: impl FnOnce() -> Result<(), MediaError>,
) -> Method {
    let mut reasons = Vec::new();
    for encoder in [Encoder::Vaapi, Encoder::Qsv] {
        let tried = device(encoder).and_then(|_| encode(encoder)).map_err(|error| error.message);
        let Err(reason) = tried else {
            let decoded = decode();
            let hardware_decode = decoded.is_ok();
            reasons.extend(decoded.err().map(|error| format!("the device does not decode it: {error}")));
            return Method { encoder, hardware_decode, reasons };
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Method { encoder: Encoder::Software, hardware_decode: false, reasons }
}

/// A picture in main memory, wherever it was decoded.
pub(super) fn fetch(picture: &mut ff::frame::Video) -> Result<(), MediaError> {
    hardware::download(picture).map_err(|error| MediaError::output("fetch a picture from the device", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_of_the_ladder_is_left_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("renderD128");
        std::fs::write(&path, b"not a device").unwrap();
        open(Some(&path));
        let method = choose(|_| Ok(()), || Ok(()));
        assert_eq!((method.encoder, method.hardware_decode), (Encoder::Software, false));
        assert!(method.reasons.len() == 1 && method.reasons[0].contains("cannot be opened"), "{method:?}");
        assert!(device(Encoder::Software).is_ok_and(|device| device.is_none()));
        assert!(device(Encoder::Qsv).is_err() && decoding_device().is_none());
    }
}
