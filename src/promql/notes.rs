//! Warnings and infos of a query, in Prometheus's words (`util/annotations`) with the place that
//! they are about. What is never true: the same note twice, or more than [`NOTES_MAX`].

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::ast::Span;
use super::{Answer, Output};

/// Notes of each kind; more say nothing new.
const NOTES_MAX: usize = 100;

pub(super) struct Notes<'q> {
    text: &'q str,
    warnings: RefCell<BTreeSet<String>>,
    infos: RefCell<BTreeSet<String>>,
}

impl<'q> Notes<'q> {
    pub(super) fn new(text: &'q str) -> Self {
        Self { text, warnings: RefCell::default(), infos: RefCell::default() }
    }

    pub(super) fn warn(&self, span: Span, message: &str) {
        insert(&self.warnings, format!("PromQL warning: {message} ({})", self.place(span)));
    }

    pub(super) fn info(&self, span: Span, message: &str) {
        insert(&self.infos, format!("PromQL info: {message} ({})", self.place(span)));
    }

    fn place(&self, span: Span) -> String {
        let before = self.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column}")
    }

    pub(super) fn mixed(&self, span: Span, name: &str) {
        self.warn(span, &about("encountered a mix of histograms and floats", name));
    }

    pub(super) fn mixed_schemas(&self, span: Span, name: &str) {
        let message =
            "vector contains a mix of histograms with exponential and custom buckets schemas";
        self.warn(span, &about(message, name));
    }

    pub(super) fn reconciled(&self, span: Span, operation: &str) {
        let message = format!("mismatched custom buckets were reconciled during {operation}");
        self.info(span, &message);
    }

    pub(super) fn resets_conflict(&self, span: Span, operation: &str) {
        let message = format!("conflicting counter resets during histogram {operation}");
        self.warn(span, &message);
    }

    pub(super) fn answer(self, output: Output) -> Answer {
        Answer {
            output,
            warnings: self.warnings.into_inner().into_iter().collect(),
            infos: self.infos.into_inner().into_iter().collect(),
        }
    }
}

fn insert(notes: &RefCell<BTreeSet<String>>, note: String) {
    let mut notes = notes.borrow_mut();
    if notes.len() < NOTES_MAX {
        notes.insert(note);
    }
}

/// Names the metric where it has a name.
pub(super) fn about(message: &str, name: &str) -> String {
    if name.is_empty() { message.to_owned() } else { format!("{message} for metric name {name:?}") }
}
