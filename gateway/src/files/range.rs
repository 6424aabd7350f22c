//! Which part of an object a request gets: RFC 9110 sections 13 (conditions) and 14 (ranges). Pure.
//!
//! Invalid headers are ignored, as RFC 9110 demands, so that they never cost the response. Several ranges are
//! answered with the whole object: players ask for one, and a client of several can send several requests.
//!
//! Not actix's typed headers: its `Range` reads `+1`, refuses `Bytes=` and numbers beyond 64 bits, and skips
//! an invalid range instead of ignoring the header; its lists of tags are split at commas inside tags.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

/// The properties of an object that conditions and ranges depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) size: u64,
    /// Strong entity tag, without its quotes.
    pub(crate) etag: &'a str,
    /// HTTP counts in whole seconds.
    pub(crate) modified: DateTime<Utc>,
}

/// The request headers that decide. A header whose value is no text counts as absent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Conditions<'a> {
    pub(crate) if_match: Option<&'a str>,
    pub(crate) if_unmodified_since: Option<&'a str>,
    pub(crate) if_none_match: Option<&'a str>,
    pub(crate) if_modified_since: Option<&'a str>,
    pub(crate) if_range: Option<&'a str>,
    /// Leave it out for HEAD, for which RFC 9110 defines no ranges.
    pub(crate) range: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes, never empty.
    Part(Range<u64>),
    /// 304: the client has it already.
    NotModified,
    /// 412: the object is another version than the client's.
    PreconditionFailed,
    /// 416: no byte of the object is in the range.
    Unsatisfiable,
}

/// Decides in the order of RFC 9110 section 13.2.2.
pub(crate) fn decide(object: Object<'_>, conditions: Conditions<'_>) -> Decision {
    let matches = match (conditions.if_match, conditions.if_unmodified_since) {
        (Some(tags), _) => any_tag(tags, object.etag, Comparison::Strong),
        (None, Some(date)) => parse_date(date).is_none_or(|date| seconds(object.modified) <= date),
        (None, None) => true,
    };
    if !matches {
        return Decision::PreconditionFailed;
    }
    let known = match (conditions.if_none_match, conditions.if_modified_since) {
        (Some(tags), _) => any_tag(tags, object.etag, Comparison::Weak),
        (None, Some(date)) => parse_date(date).is_some_and(|date| seconds(object.modified) <= date),
        (None, None) => false,
    };
    if known {
        return Decision::NotModified;
    }
    match conditions.range {
        Some(range) if conditions.if_range.is_none_or(|validator| same(validator, object)) => {
            select(range, object.size)
        }
        _ => Decision::Whole,
    }
}

/// The value of `Last-Modified`.
pub(crate) fn http_date(moment: DateTime<Utc>) -> String {
    httpdate::fmt_http_date(seconds(moment))
}

/// A time in the resolution of HTTP. Nothing was stored before 1970.
fn seconds(moment: DateTime<Utc>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(moment.timestamp().max(0).unsigned_abs())
}

fn parse_date(text: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(text.trim()).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether `etag` is in the list; `*` matches any existing object.
fn any_tag(list: &str, etag: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let weak = rest.starts_with("W/");
        let Some(opened) = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"') else { return false };
        // A tag may contain commas, so the list is split at quotes.
        let Some((tag, after)) = opened.split_once('"') else { return false };
        if tag == etag && (!weak || comparison == Comparison::Weak) {
            return true;
        }
        rest = after;
    }
}

/// Whether `If-Range` names exactly this object, by a strong tag or by its date.
fn same(validator: &str, object: Object<'_>) -> bool {
    let validator = validator.trim();
    match parse_date(validator) {
        Some(date) => date == seconds(object.modified),
        None => validator
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|tag| tag == object.etag),
    }
}

/// Reads a `Range` header against an object of `size` bytes.
fn select(header: &str, size: u64) -> Decision {
    let Some((unit, set)) = header.split_once('=') else { return Decision::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Decision::Whole;
    }
    let mut satisfiable = Vec::new();
    let mut specs = 0;
    for spec in set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty()) {
        specs += 1;
        match parse_spec(spec, size) {
            Some(range) if !range.is_empty() => satisfiable.push(range),
            Some(_) => {}
            // One invalid range makes the header invalid.
            None => return Decision::Whole,
        }
    }
    match satisfiable.len() {
        // No range of an empty object is satisfiable, and `bytes */0` would not help a client.
        0 if specs > 0 && size > 0 => Decision::Unsatisfiable,
        1 => Decision::Part(satisfiable.remove(0)),
        _ => Decision::Whole,
    }
}

/// The bytes of one range: empty if it is valid and beyond the end, `None` if it is invalid.
fn parse_spec(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = parse_number(last)?;
        return Some(size.saturating_sub(suffix)..size);
    }
    let first = parse_number(first)?;
    let last = if last.is_empty() { u64::MAX } else { parse_number(last)? };
    if last < first {
        return None;
    }
    Some(first.min(size)..last.saturating_add(1).min(size))
}

/// Digits only: `+1` and ` 1` are invalid. A number that does not fit is beyond the end like the largest one.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "5feceb66ffc86f38";
    const SIZE: u64 = 2_000_000_000;
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn object() -> Object<'static> {
        // With a fraction, as PostgreSQL stores it.
        let modified = DateTime::from_timestamp(784_111_777, 654_321_000).unwrap();
        Object { size: SIZE, etag: ETAG, modified }
    }

    fn range(range: &str) -> Decision {
        decide(object(), Conditions { range: Some(range), ..Conditions::default() })
    }

    #[test]
    fn a_single_range_is_answered_in_part() {
        assert_eq!(range("bytes=0-99"), Decision::Part(0..100));
        assert_eq!(range("bytes=0-0"), Decision::Part(0..1));
        assert_eq!(range("bytes=100-"), Decision::Part(100..SIZE));
        assert_eq!(range("bytes=-100"), Decision::Part(SIZE - 100..SIZE));
        assert_eq!(range("bytes=-9999999999"), Decision::Part(0..SIZE));
        assert_eq!(range("bytes=1999999999-"), Decision::Part(SIZE - 1..SIZE));
        assert_eq!(range("bytes=5-99999999999"), Decision::Part(5..SIZE));
        assert_eq!(range("bytes=5-99999999999999999999999"), Decision::Part(5..SIZE));
        assert_eq!(range("Bytes=0-99"), Decision::Part(0..100));
        assert_eq!(range("bytes= 0-99 "), Decision::Part(0..100));
        assert_eq!(range("bytes=,0-99,"), Decision::Part(0..100));
    }

    #[test]
    fn a_range_beyond_the_end_is_unsatisfiable() {
        for header in [
            "bytes=2000000000-",
            "bytes=2000000000-2000000001",
            "bytes=-0",
            "bytes=99999999999999999999999-",
            "bytes=2000000000-,-0",
        ] {
            assert_eq!(range(header), Decision::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn an_invalid_range_is_ignored() {
        for header in [
            "bytes=5-4",
            "items=0-1",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=+1-2",
            "bytes=0 - 9",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=0-9,5-4",
            "bytes=0x1-2",
            "0-99",
            "",
            "bytes=0-9;q=1",
        ] {
            assert_eq!(range(header), Decision::Whole, "{header:?}");
        }
    }

    #[test]
    fn several_ranges_get_everything_unless_only_one_is_satisfiable() {
        assert_eq!(range("bytes=0-9,100-109"), Decision::Whole);
        assert_eq!(range("bytes=0-9, 2000000000-"), Decision::Part(0..10));
    }

    #[test]
    fn an_empty_object_has_no_ranges() {
        let empty = Object { size: 0, ..object() };
        for header in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            let conditions = Conditions { range: Some(header), ..Conditions::default() };
            assert_eq!(decide(empty, conditions), Decision::Whole, "{header}");
        }
    }

    #[test]
    fn if_range_compares_strongly() {
        let tag = format!("\"{ETAG}\"");
        let weak = format!("W/{tag}");
        for (validator, answer) in [
            (tag.as_str(), Decision::Part(0..10)),
            (MODIFIED, Decision::Part(0..10)),
            (weak.as_str(), Decision::Whole),
            (ETAG, Decision::Whole),
            ("\"other\"", Decision::Whole),
            (LATER, Decision::Whole),
            (EARLIER, Decision::Whole),
            ("*", Decision::Whole),
            ("", Decision::Whole),
        ] {
            let conditions =
                Conditions { if_range: Some(validator), range: Some("bytes=0-9"), ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{validator}");
        }
        // A range that does not apply is not unsatisfiable either.
        let conditions = Conditions {
            if_range: Some("\"other\""),
            range: Some("bytes=2000000000-"),
            ..Conditions::default()
        };
        assert_eq!(decide(object(), conditions), Decision::Whole);
        let conditions = Conditions { if_range: Some(&tag), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Decision::Whole);
    }

    #[test]
    fn if_none_match_compares_weakly_and_beats_the_date() {
        let tag = format!("\"{ETAG}\"");
        let listed = format!("\"a,b\", W/\"{ETAG}\"");
        for (tags, since, answer) in [
            (Some(tag.as_str()), None, Decision::NotModified),
            (Some(listed.as_str()), None, Decision::NotModified),
            (Some("*"), None, Decision::NotModified),
            (Some("\"other\""), None, Decision::Whole),
            (Some(ETAG), None, Decision::Whole),
            (Some("\"open"), None, Decision::Whole),
            (Some("\"other\""), Some(LATER), Decision::Whole),
            (None, Some(MODIFIED), Decision::NotModified),
            (None, Some(LATER), Decision::NotModified),
            (None, Some(EARLIER), Decision::Whole),
            (None, Some("yesterday"), Decision::Whole),
            (None, Some("Sunday, 06-Nov-94 08:49:37 GMT"), Decision::NotModified),
        ] {
            let conditions =
                Conditions { if_none_match: tags, if_modified_since: since, ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{tags:?} {since:?}");
        }
        let conditions =
            Conditions { if_none_match: Some(&tag), range: Some("bytes=0-9"), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Decision::NotModified);
    }

    #[test]
    fn if_match_compares_strongly_and_comes_first() {
        let tag = format!("\"{ETAG}\"");
        let weak = format!("W/{tag}");
        for (tags, since, answer) in [
            (Some(tag.as_str()), None, Decision::Whole),
            (Some("*"), None, Decision::Whole),
            (Some(weak.as_str()), None, Decision::PreconditionFailed),
            (Some("\"other\""), None, Decision::PreconditionFailed),
            (Some(tag.as_str()), Some(EARLIER), Decision::Whole),
            (None, Some(MODIFIED), Decision::Whole),
            (None, Some(EARLIER), Decision::PreconditionFailed),
            (None, Some("yesterday"), Decision::Whole),
        ] {
            let conditions =
                Conditions { if_match: tags, if_unmodified_since: since, ..Conditions::default() };
            assert_eq!(decide(object(), conditions), answer, "{tags:?} {since:?}");
        }
        let conditions =
            Conditions { if_match: Some("\"other\""), if_none_match: Some(&tag), ..Conditions::default() };
        assert_eq!(decide(object(), conditions), Decision::PreconditionFailed);
    }

    #[test]
    fn dates_are_written_in_whole_seconds() {
        assert_eq!(http_date(object().modified), MODIFIED);
    }
}
