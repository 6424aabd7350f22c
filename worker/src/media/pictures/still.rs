//! Renders single pictures of a film as they are shown: upright, in its shape, in the colours of a JPEG.

use ff::color::Space;
use ff::frame;
use ffmpeg_next as ff;

use super::super::decision::{is_hdr, is_interlaced};
use super::super::error::MediaError;
use super::super::filter::Filters;
use super::super::probe::Stream;
use super::super::shape::{self, Fit, Format};
use super::super::video;

/// Height from which pictures that do not name their colours have those of television in high definition.
const HD_HEIGHT: u32 = 720;

/// Renders the pictures of a stream in one size.
pub(super) struct Still {
    size: (u32, u32),
    fit: Fit,
    before: String,
    after: String,
    swaps_dimensions: bool,
    filters: Filters<Format>,
}

impl Still {
    /// Pictures whose longer side has `longest` pixels, or fewer if the film has.
    pub(super) fn new(stream: &Stream, longest: u32) -> Self {
        let size = fitted(stream, longest);
        let parameters = &stream.parameters;
        // A single picture has no neighbours from which its other field could be made.
        let before = if is_interlaced(parameters.field_order) { "field=top," } else { "" };
        let mut after = String::new();
        let matrix = match parameters.space {
            _ if is_hdr(parameters.transfer) => {
                after += &video::tone_mapping(parameters.transfer);
                after.push(',');
                "bt709"
            }
            Space::BT709 => "bt709",
            Space::BT2020NCL | Space::BT2020CL => "bt2020",
            Space::Unspecified if parameters.height >= HD_HEIGHT => "bt709",
            _ => "bt601",
        };
        for turn in shape::orientation(stream).filters {
            after += turn;
            after.push(',');
        }
        let matrix = format!("scale=in_color_matrix={matrix}:out_color_matrix=bt601:out_range=pc");
        Self {
            size,
            fit: Fit::square(stream, size),
            before: before.to_owned(),
            after: format!("{after}{matrix},format=yuv420p"),
            swaps_dimensions: shape::orientation(stream).swaps_dimensions,
            filters: Filters::new(),
        }
    }

    pub(super) fn render(&mut self, picture: &frame::Video) -> Result<frame::Video, MediaError> {
        let format = Format::of(picture);
        if self.filters.need_chain_for(&format) {
            let chain = video::chain(format, video::TIME_BASE, &self.filters_for(format))?;
            self.filters.replace(format, chain);
        }
        self.filters.send(Some(picture))?;
        let mut rendered = frame::Video::empty();
        match self.filters.receive(&mut rendered)? {
            Some(_) => Ok(rendered),
            None => Err(MediaError::transient("a picture was lost in the filters")),
        }
    }

    /// Reduces the picture first, so that the rest costs little.
    fn filters_for(&self, format: Format) -> String {
        let upright = if self.swaps_dimensions { format.rotated() } else { format };
        let (width, height) = self.fit.inner(upright);
        let (first, second) = if self.swaps_dimensions { (height, width) } else { (width, height) };
        let mut filters = format!("{}scale={first}:{second}:flags=area,{}", self.before, self.after);
        if (width, height) != self.size {
            filters += &format!(",pad={}:{}:(ow-iw)/2:(oh-ih)/2", self.size.0, self.size.1);
        }
        filters + ",setsar=1"
    }
}

/// The size of a picture with square pixels, in even numbers.
fn fitted(stream: &Stream, longest: u32) -> (u32, u32) {
    let (width, height) = shape::displayed_size(stream);
    let aspect = f64::from(shape::aspect_of(stream, shape::output_size(stream)));
    let (width, height) = (f64::from(width) * aspect, f64::from(height));
    let scale = (f64::from(longest) / width.max(height)).min(1.0);
    let even = |length: f64| ((length * scale / 2.0).round() as u32 * 2).max(2);
    (even(width), even(height))
}

#[cfg(test)]
mod tests {
    use super::super::super::decision::tests::stream;
    use super::*;

    #[test]
    fn pictures_have_the_shape_that_people_see() {
        let mut film = stream(ff::codec::Id::H264, ff::codec::Profile::Unknown);
        assert_eq!(fitted(&film, 160), (160, 90));
        (film.parameters.width, film.parameters.height) = (720, 576);
        film.parameters.aspect = ff::Rational(64, 45);
        assert_eq!(fitted(&film, 160), (160, 90));
        assert_eq!(fitted(&film, 4000), (1024, 576), "never larger than the film");
    }
}
