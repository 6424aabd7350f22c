//! Chains of libav filters between a decoder and an encoder.

use ffmpeg_next as ff;

use super::error::MediaError;

/// A configured filter graph with one input and one output.
pub(super) struct Chain {
    graph: ff::filter::Graph,
    time_base: ff::Rational,
}

impl Chain {
    /// Builds `source(arguments) -> spec -> sink`. With `frame_size`, audio frames come out with exactly that
    /// many samples.
    pub(super) fn new(
        source: [&str; 2],
        arguments: &str,
        spec: &str,
        frame_size: Option<u32>,
    ) -> Result<Self, MediaError> {
        let failed = |error| MediaError::input(&format!("set up the filters {spec:?}"), error);
        let mut graph = ff::filter::Graph::new();
        for (filter, name, arguments) in [(source[0], "in", arguments), (source[1], "out", "")] {
            let filter = ff::filter::find(filter).ok_or(ff::Error::FilterNotFound).map_err(failed)?;
            graph.add(&filter, name, arguments).map_err(failed)?;
        }
        let ends = graph.output("in", 0).and_then(|parser| parser.input("out", 0));
        ends.and_then(|parser| parser.parse(spec)).map_err(failed)?;
        graph.validate().map_err(failed)?;
        let mut sink = graph.get("out").ok_or(ff::Error::FilterNotFound).map_err(failed)?;
        if let Some(size) = frame_size {
            sink.sink().set_frame_size(size);
        }
        let time_base = sink.sink().time_base();
        Ok(Self { graph, time_base })
    }

    /// Time base of the filtered frames.
    fn time_base(&self) -> ff::Rational {
        self.time_base
    }

    /// Takes one frame, or the end of the stream with `None`.
    fn send(&mut self, frame: Option<&ff::Frame>) -> Result<(), MediaError> {
        let mut context =
            self.graph.get("in").ok_or_else(|| MediaError::transient("the filter chain lost its source"))?;
        let sent = match frame {
            Some(frame) => context.source().add(frame),
            None => context.source().flush(),
        };
        sent.map_err(|error| MediaError::output("filter a frame", error))
    }

    /// Receives the next filtered frame; `false` when more input is needed or nothing is left.
    fn receive(&mut self, frame: &mut ff::Frame) -> Result<bool, MediaError> {
        let mut context =
            self.graph.get("out").ok_or_else(|| MediaError::transient("the filter chain lost its sink"))?;
        match context.sink().frame(frame) {
            Ok(()) => Ok(true),
            Err(ff::Error::Eof | ff::Error::Other { errno: ff::error::EAGAIN }) => Ok(false),
            Err(error) => Err(MediaError::output("filter a frame", error)),
        }
    }
}

/// The chain for frames of the current format. A stream may change its format midway; the next chain is built for the
/// new one.
pub(super) struct Filters<F> {
    current: Option<(F, Chain)>,
}

impl<F: PartialEq> Filters<F> {
    /// Without a chain, until the first frame tells the format.
    pub(super) fn new() -> Self {
        Self { current: None }
    }

    /// Whether frames of this format need another chain.
    pub(super) fn need_chain_for(&self, format: &F) -> bool {
        self.current.as_ref().is_none_or(|(current, _)| current != format)
    }

    /// Replaces the chain; what the old one still holds is lost.
    pub(super) fn replace(&mut self, format: F, chain: Chain) {
        self.current = Some((format, chain));
    }

    /// Takes one frame, or the end of the stream with `None`.
    pub(super) fn send(&mut self, frame: Option<&ff::Frame>) -> Result<(), MediaError> {
        self.current.as_mut().map_or(Ok(()), |(_, chain)| chain.send(frame))
    }

    /// Receives the next filtered frame, and answers the time base that it counts in; `None` when more input is needed
    /// or nothing is left.
    pub(super) fn receive(&mut self, frame: &mut ff::Frame) -> Result<Option<ff::Rational>, MediaError> {
        let Some((_, chain)) = &mut self.current else { return Ok(None) };
        Ok(chain.receive(frame)?.then(|| chain.time_base()))
    }
}
