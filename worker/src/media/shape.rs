//! Size, shape and rate of the pictures that are made.

use ff::frame;
use ffmpeg_next as ff;

use super::orientation::Orientation;
use super::probe::Stream;

/// Frames per second; more costs encoding time without a visible gain.
const MAX_FRAME_RATE: f64 = 60.0;
/// Frames per second below which films look jerky: the rate is halved only as long as it stays above.
const MIN_FRAME_RATE: f64 = 23.0;
/// The highest level of H.264 that hardware decoders take, as encoders write it: 5.1.
pub(super) const MAX_LEVEL: i32 = 51;
/// Its limits: blocks of 16x16 pixels of a picture, of a second, of a side.
const MAX_BLOCKS: f64 = 36_864.0;
const MAX_BLOCKS_PER_SECOND: f64 = 983_040.0;
const MAX_BLOCKS_OF_SIDE: f64 = 543.0;

/// Pictures a second of the output: half of them where hardware decoders take no more of this size.
pub(super) fn output_rate(stream: &Stream) -> ff::Rational {
    let rate = if f64::from(stream.frame_rate) > MAX_FRAME_RATE + 0.5 {
        ff::Rational(60, 1)
    } else {
        stream.frame_rate
    };
    let half = ff::Rational(rate.numerator(), rate.denominator().saturating_mul(2));
    let is_too_much =
        blocks(displayed_size(stream)).min(MAX_BLOCKS) * f64::from(rate) > MAX_BLOCKS_PER_SECOND;
    if is_too_much && f64::from(half) >= MIN_FRAME_RATE { half } else { rate }
}

/// Displayed width and height, within the level, rounded down to even numbers: 4:2:0 stores one colour for 2x2 pixels.
pub(super) fn output_size(stream: &Stream) -> (u32, u32) {
    let size = displayed_size(stream);
    let rate = f64::from(output_rate(stream)).max(1.0);
    let even = |length: u32| (length & !1).max(2);
    let side = |length: u32| MAX_BLOCKS_OF_SIDE / f64::from(length.div_ceil(16));
    let most = MAX_BLOCKS.min(MAX_BLOCKS_PER_SECOND / rate);
    let scale = (most / blocks(size)).sqrt().min(side(size.0)).min(side(size.1));
    if scale >= 1.0 {
        return (even(size.0), even(size.1));
    }
    // Whole blocks, so that rounding them up does not go beyond the limit.
    let scaled = |length: u32| ((f64::from(length) * scale / 16.0).floor() as u32 * 16).max(2);
    (scaled(size.0), scaled(size.1))
}

fn blocks((width, height): (u32, u32)) -> f64 {
    f64::from(width.div_ceil(16)) * f64::from(height.div_ceil(16))
}

/// Width and height after rotation.
pub(super) fn displayed_size(stream: &Stream) -> (u32, u32) {
    let (width, height) = (stream.parameters.width, stream.parameters.height);
    if orientation(stream).swaps_dimensions { (height, width) } else { (width, height) }
}

/// Shape of the pixels of a size, so that the picture keeps its shape: a size has square ones unless the upload
/// has others and it is the upload's own size.
pub(super) fn aspect_of(stream: &Stream, size: (u32, u32)) -> ff::Rational {
    if size == output_size(stream) { output_aspect(stream) } else { ff::Rational(1, 1) }
}

fn output_aspect(stream: &Stream) -> ff::Rational {
    let aspect = stream.parameters.aspect;
    match (is_known((aspect.numerator(), aspect.denominator())), orientation(stream).swaps_dimensions) {
        (false, _) => ff::Rational(1, 1),
        (true, true) => aspect.invert(),
        (true, false) => aspect,
    }
}

fn is_known(aspect: (i32, i32)) -> bool {
    aspect.0 > 0 && aspect.1 > 0
}

pub(super) fn orientation(stream: &Stream) -> Orientation {
    Orientation::from_matrix(stream.display_matrix.as_deref())
}

/// The properties of frames that a filter chain is built for.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Format {
    pub(super) pixel: ff::format::Pixel,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Shape of the pixels, as the codec says.
    pub(super) aspect: (i32, i32),
}

impl Format {
    pub(super) fn of(frame: &frame::Video) -> Self {
        let aspect = frame.aspect_ratio();
        Self {
            pixel: frame.format(),
            width: frame.width(),
            height: frame.height(),
            aspect: (aspect.numerator(), aspect.denominator()),
        }
    }
}

impl Format {
    /// After a quarter turn.
    pub(super) fn rotated(self) -> Self {
        let (width, height) = (self.height, self.width);
        Self { width, height, aspect: (self.aspect.1, self.aspect.0), ..self }
    }
}

/// Fits pictures into a size, whatever size they have: a stream may change it midway.
pub(super) struct Fit {
    size: (u32, u32),
    aspect: ff::Rational,
    /// Size of the pictures that fill it.
    usual: (u32, u32),
    /// Whether width and height of decoded pictures are exchanged before they are fitted.
    pub(super) swaps_dimensions: bool,
}

impl Fit {
    pub(super) fn new(stream: &Stream, size: (u32, u32)) -> Self {
        Self {
            size,
            aspect: aspect_of(stream, size),
            usual: displayed_size(stream),
            swaps_dimensions: orientation(stream).swaps_dimensions,
        }
    }

    /// With square pixels, whatever the size.
    pub(super) fn square(stream: &Stream, size: (u32, u32)) -> Self {
        Self { aspect: ff::Rational(1, 1), ..Self::new(stream, size) }
    }

    /// The filters for pictures of a format, which are upright already. Pictures of another shape than the usual ones
    /// get black bars.
    pub(super) fn filters(&self, format: Format) -> String {
        let ((width, height), aspect) = (self.size, self.aspect);
        let mut filters = String::new();
        let (inner_width, inner_height) = self.inner(format);
        filters += &format!("scale={inner_width}:{inner_height}:flags=bicubic:out_range=tv,format=yuv420p");
        if (inner_width, inner_height) != (width, height) {
            filters += &format!(",pad={width}:{height}:(ow-iw)/2:(oh-ih)/2");
        }
        filters + &format!(",setsar={}/{}", aspect.numerator(), aspect.denominator())
    }

    /// The part of the size that pictures of a format fill; the rest is bars.
    pub(super) fn inner(&self, format: Format) -> (u32, u32) {
        if (format.width, format.height) == self.usual {
            return self.size;
        }
        let (width, height) = (f64::from(self.size.0), f64::from(self.size.1));
        let pixel = if is_known(format.aspect) {
            f64::from(format.aspect.0) / f64::from(format.aspect.1)
        } else {
            1.0
        };
        // Width to height in pixels of the output.
        let shape =
            f64::from(format.width) * pixel / f64::from(format.height.max(1)) / f64::from(self.aspect);
        let even = |length: f64, most: u32| ((length / 2.0).round() as u32 * 2).clamp(2, most);
        // Bars of a few pixels would only be rounding.
        if (shape * height / width - 1.0).abs() < 0.01 {
            return self.size;
        }
        if shape * height > width {
            (self.size.0, even(width / shape, self.size.1))
        } else {
            (even(height * shape, self.size.0), self.size.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::decision::tests::stream;
    use super::*;

    fn of(width: u32, height: u32, rate: i32) -> (u32, u32, i32) {
        let mut stream = stream(ff::codec::Id::HEVC, ff::codec::Profile::Unknown);
        (stream.parameters.width, stream.parameters.height) = (width, height);
        stream.frame_rate = ff::Rational(rate, 1);
        let (size, rate) = (output_size(&stream), f64::from(output_rate(&stream)).round() as i32);
        assert!(blocks(size) <= MAX_BLOCKS && blocks(size) * f64::from(rate) <= MAX_BLOCKS_PER_SECOND + 1.0);
        (size.0, size.1, rate)
    }

    #[test]
    fn pictures_stay_within_what_hardware_decodes() {
        assert_eq!(of(3840, 2160, 60), (3840, 2160, 30));
        assert_eq!(of(2160, 3840, 50), (2160, 3840, 25));
        assert_eq!(of(1920, 1080, 60), (1920, 1080, 60));
        assert_eq!(of(1921, 1081, 240), (1920, 1080, 60));
        for (width, height, rate) in [(8192, 8192, 25), (7680, 4320, 60), (4096, 2160, 40), (16_384, 64, 25)]
        {
            let (made_width, made_height, _) = of(width, height, rate);
            let shape = |width: u32, height: u32| f64::from(width) / f64::from(height);
            let change = shape(made_width, made_height) / shape(width, height);
            assert!(made_width < width && (0.7..1.4).contains(&change), "{made_width}x{made_height}");
        }
    }
}
