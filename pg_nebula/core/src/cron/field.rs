//! The five fields of a cron expression.

/// Why a text is not a valid cron expression; completes the sentence "… is not a valid cron expression: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError(pub(super) String);

impl std::fmt::Display for CronError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for CronError {}

/// A field of an expression. `value_names` are those of the lowest value and the ones that follow.
pub(super) struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    value_names: &'static [&'static str],
}

pub(super) const MINUTE: Field = Field { name: "minute", low: 0, high: 59, value_names: &[] };
pub(super) const HOUR: Field = Field { name: "hour", low: 0, high: 23, value_names: &[] };
pub(super) const DAY: Field = Field { name: "day of month", low: 1, high: 31, value_names: &[] };
pub(super) const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    value_names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// 0 and 7 are Sunday.
pub(super) const WEEKDAY: Field = Field {
    name: "day of week",
    low: 0,
    high: 7,
    value_names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Field {
    pub(super) fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.parse_part(part)?))
    }

    fn parse_part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (low, high) = if range == "*" {
            (self.low, self.high)
        } else if let Some((low, high)) = range.split_once('-') {
            (self.value(low)?, self.value(high)?)
        } else {
            let low = self.value(range)?;
            (low, if step.is_some() { self.high } else { low })
        };
        let step = match step {
            Some(step) => step.parse().ok().filter(|step| (1..=self.high).contains(step)),
            None => Some(1),
        };
        let step =
            step.ok_or_else(|| CronError(format!("\"{part}\" is not a valid step of the {}", self.name)))?;
        if low > high {
            return Err(CronError(format!("\"{part}\" runs backwards in the {}", self.name)));
        }
        Ok((low..=high).step_by(step as usize).fold(0, |bits, value| bits | bit(value.into())))
    }

    fn value(&self, text: &str) -> Result<u32, CronError> {
        let word = self.value_names.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(index) => u32::try_from(index).ok().map(|index| self.low + index),
            None => text.parse().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit())),
        };
        value.filter(|value| (self.low..=self.high).contains(value)).ok_or_else(|| {
            CronError(format!("\"{text}\" is not a {} from {} to {}", self.name, self.low, self.high))
        })
    }
}

/// The bit that stands for a value.
pub(super) fn bit(value: i64) -> u64 {
    1 << value
}
