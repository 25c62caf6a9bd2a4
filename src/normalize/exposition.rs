//! Prometheus's formats: a scraped page to samples.
//!
//! In: a page in the text format 0.0.4, in OpenMetrics 1.0 or in protobuf. Out: its samples with their
//! labels, and what it says of its metrics. A page is read as a whole or not at all, as Prometheus does: of half a
//! page nobody could say which series ended. Never is a sample without a name or with a label twice.
//! Source: prometheus.io/docs/instrumenting/exposition_formats, OpenMetrics 1.0 (RFC draft, section 4).

mod cursor;
mod protobuf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::cursor::Cursor;
use super::Undecodable;
use super::shorten::{HELP_BYTES_MAX, NAME_BYTES_MAX, shorten};
use crate::number::{f64_from_i64, i64_from_f64};
use crate::signal::{
    Attributes, Labels, METRIC_NAME, MetricMetadata, MetricType, NativeHistogram, Text,
};

/// Metrics whose help and type are kept.
const METRICS_MAX: usize = 50_000;

/// Which of the formats a page is in; its content type says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Times are in milliseconds.
    Text,
    /// Times are in seconds, and the page ends with `# EOF`.
    OpenMetrics,
    /// Metric families, each behind its length; with native histograms.
    Protobuf,
}

/// One line's sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Scraped {
    /// With the metric's name.
    pub labels: Labels,
    pub value: f64,
    /// A native histogram, of which the value is the sum.
    pub native: Option<Box<NativeHistogram>>,
    /// Milliseconds since the epoch, where the page tells it.
    pub t: Option<i64>,
    pub exemplar: Option<ScrapedExemplar>,
}

/// One observation that a page shows beside a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapedExemplar {
    pub labels: Labels,
    pub value: f64,
    /// Milliseconds since the epoch, where told.
    pub t: Option<i64>,
}

/// A page as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub samples: Vec<Scraped>,
    pub metadata: Vec<MetricMetadata>,
}

/// Reads a page of at most `samples_max` samples.
///
/// # Errors
/// The first line or message that does not follow the format, or the bound.
pub fn read(page: &[u8], format: Format, samples_max: usize) -> Result<Page, Undecodable> {
    if format == Format::Protobuf {
        return protobuf::read(page, samples_max);
    }
    let text = simdutf8::basic::from_utf8(page)
        .map_err(|_| Undecodable { offset: 0, message: "the page is no UTF-8".to_owned() })?;
    let mut reader =
        Reader { format, samples: Vec::new(), metadata: BTreeMap::new(), has_ended: false };
    let mut offset = 0;
    for (at, line) in text.split('\n').enumerate() {
        let told = |message: String| Undecodable {
            offset,
            message: format!("line {}: {message}", at + 1),
        };
        if reader.samples.len() > samples_max {
            return Err(told(format!("more than {samples_max} samples")));
        }
        reader.line(line.trim_end_matches('\r')).map_err(told)?;
        offset += line.len() + 1;
    }
    if format == Format::OpenMetrics && !reader.has_ended {
        let message = "the page has no `# EOF`: it was cut short".to_owned();
        return Err(Undecodable { offset: page.len(), message });
    }
    if reader.samples.len() > samples_max {
        let message = format!("more than {samples_max} samples");
        return Err(Undecodable { offset: page.len(), message });
    }
    Ok(Page { samples: reader.samples, metadata: reader.metadata.into_values().collect() })
}

struct Reader {
    format: Format,
    samples: Vec<Scraped>,
    metadata: BTreeMap<Text, MetricMetadata>,
    has_ended: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.has_ended {
            return if line.is_empty() { Ok(()) } else { Err("text after `# EOF`".to_owned()) };
        }
        let line = line.trim_start_matches([' ', '\t']);
        if line.is_empty() {
            return Ok(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            return self.comment(comment);
        }
        let sample = self.sample(&mut Cursor::new(line))?;
        self.samples.push(sample);
        Ok(())
    }

    fn comment(&mut self, comment: &str) -> Result<(), String> {
        if self.format == Format::OpenMetrics && comment.trim() == "EOF" {
            self.has_ended = true;
            return Ok(());
        }
        let mut words = comment.trim_start().splitn(2, [' ', '\t']);
        let (word, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !["HELP", "TYPE", "UNIT"].contains(&word) {
            return Ok(());
        }
        let mut cursor = Cursor::new(rest.trim_start());
        let name = if cursor.is_at('"') { cursor.quoted()? } else { cursor.word().to_owned() };
        if name.is_empty() {
            return Err(format!("`# {word}` names no metric"));
        }
        let said = cursor.rest().trim_start();
        let Some(metric) = self.metric(&name) else { return Ok(()) };
        match word {
            "HELP" => metric.help = shorten(&cursor::unescape(said), HELP_BYTES_MAX).into(),
            "UNIT" => metric.unit = shorten(said.trim(), NAME_BYTES_MAX).into(),
            _ => metric.kind = kind(said.trim())?,
        }
        Ok(())
    }

    fn metric(&mut self, name: &str) -> Option<&mut MetricMetadata> {
        let is_known = self.metadata.contains_key(name);
        if name.len() > NAME_BYTES_MAX || !is_known && self.metadata.len() >= METRICS_MAX {
            return None;
        }
        let name = Text::from(name);
        Some(self.metadata.entry(Text::clone(&name)).or_insert_with(|| MetricMetadata {
            name,
            kind: MetricType::Unknown,
            help: Text::default(),
            unit: Text::default(),
        }))
    }

    fn sample(&self, cursor: &mut Cursor<'_>) -> Result<Scraped, String> {
        let name = cursor.metric_name().to_owned();
        let mut pairs = Vec::new();
        if !name.is_empty() {
            pairs.push((Text::from(METRIC_NAME), Text::from(name.as_str())));
        }
        cursor.skip_blank();
        if cursor.take('{') {
            braces(cursor, &mut pairs)?;
        }
        let labels = checked(pairs)?;
        if labels.name().is_empty() {
            return Err("a sample has no metric name".to_owned());
        }
        cursor.skip_blank();
        let value = number(cursor.word())?;
        cursor.skip_blank();
        let t = self.time(cursor)?;
        cursor.skip_blank();
        let exemplar = if self.format == Format::OpenMetrics && cursor.take('#') {
            Some(self.exemplar(cursor)?)
        } else {
            None
        };
        cursor.skip_blank();
        match cursor.rest() {
            "" => Ok(Scraped { labels, value, native: None, t, exemplar }),
            more => Err(format!("unexpected {:?} behind the sample", shorten(more, 60))),
        }
    }

    fn time(&self, cursor: &mut Cursor<'_>) -> Result<Option<i64>, String> {
        if cursor.rest().is_empty() || cursor.is_at('#') {
            return Ok(None);
        }
        let word = cursor.word();
        let wrong = || format!("{:?} is no time", shorten(word, 60));
        match self.format {
            Format::Text | Format::Protobuf => word.parse().map(Some).map_err(|_| wrong()),
            Format::OpenMetrics => {
                let seconds = number(word).ok().filter(|x| x.is_finite()).ok_or_else(wrong)?;
                Ok(Some(i64_from_f64((seconds * 1000.0).round())))
            }
        }
    }

    fn exemplar(&self, cursor: &mut Cursor<'_>) -> Result<ScrapedExemplar, String> {
        cursor.skip_blank();
        let mut pairs = Vec::new();
        if !cursor.take('{') {
            return Err("an exemplar begins with its labels in braces".to_owned());
        }
        braces(cursor, &mut pairs)?;
        cursor.skip_blank();
        let value = number(cursor.word())?;
        cursor.skip_blank();
        let t = self.time(cursor)?;
        Ok(ScrapedExemplar { labels: checked(pairs)?, value, t })
    }
}

/// What stands in braces: labels, and the metric's name where it is quoted.
fn braces(cursor: &mut Cursor<'_>, pairs: &mut Vec<(Text, Text)>) -> Result<(), String> {
    loop {
        cursor.skip_blank();
        if cursor.take('}') {
            return Ok(());
        }
        let is_quoted = cursor.is_at('"');
        let name = if is_quoted { cursor.quoted()? } else { cursor.label_name().to_owned() };
        cursor.skip_blank();
        if is_quoted && !cursor.is_at('=') {
            pairs.push((METRIC_NAME.into(), name.into()));
        } else {
            if name.is_empty() || !cursor.take('=') {
                return Err("labels are written as name=\"value\"".to_owned());
            }
            cursor.skip_blank();
            pairs.push((name.into(), cursor.quoted()?.into()));
        }
        cursor.skip_blank();
        if !cursor.take(',') && !cursor.is_at('}') {
            return Err("labels are separated by commas and end with a brace".to_owned());
        }
    }
}

fn checked(mut pairs: Vec<(Text, Text)>) -> Result<Labels, String> {
    if pairs.len() > Attributes::MAX {
        return Err(format!("more than {} labels", Attributes::MAX));
    }
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let twice = pairs.windows(2).find(|pair| matches!(pair, [(a, _), (b, _)] if a == b));
    if let Some([(name, _), ..]) = twice {
        return Err(format!("the label {:?} comes twice", shorten(name, 100)));
    }
    let is_long = |(name, value): &&(Text, Text)| {
        name.len() > NAME_BYTES_MAX || value.len() > Attributes::VALUE_BYTES_MAX
    };
    if let Some((name, _)) = pairs.iter().find(is_long) {
        return Err(format!("the label {:?} is too long", shorten(name, 100)));
    }
    Ok(Labels::new(pairs))
}

/// As Go reads a float: `Inf` and `NaN` in any case, with or without a sign; also hexadecimal whole
/// numbers, which some exporters write.
fn number(word: &str) -> Result<f64, String> {
    let wrong = || format!("{:?} is no number", shorten(word, 60));
    if let Some(digits) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return i64::from_str_radix(digits, 16).map(f64_from_i64).map_err(|_| wrong());
    }
    word.parse().map_err(|_| wrong())
}

fn kind(word: &str) -> Result<MetricType, String> {
    Ok(match word {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        "histogram" => MetricType::Histogram,
        "gaugehistogram" => MetricType::GaugeHistogram,
        "summary" => MetricType::Summary,
        "info" => MetricType::Info,
        "stateset" => MetricType::StateSet,
        "unknown" | "untyped" => MetricType::Unknown,
        other => return Err(format!("there is no metric type {:?}", shorten(other, 60))),
    })
}
