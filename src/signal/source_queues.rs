//! The label `source_queue` of a dead-letter queue.

use super::Text;

/// Queues that the label of a shared dead-letter queue names; of more it says how many.
const NAMED_MAX: usize = 5;

/// The queues that share a dead-letter queue, in the order of their names; None: nobody's.
pub fn source_queues<'a>(queues: impl Iterator<Item = &'a str>) -> Option<Text> {
    let mut names: Vec<&str> = queues.collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => None,
        few if few.len() <= NAMED_MAX => Some(Text::from(few.join(","))),
        many => Some(Text::from(format!("{} queues", many.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_dead_letter_queue_names_all_that_fall_into_it() {
        let label = |names: &[&'static str]| source_queues(names.iter().copied());
        assert_eq!(label(&[]), None);
        assert_eq!(label(&["orders"]).as_deref(), Some("orders"));
        assert_eq!(label(&["refunds", "orders", "orders"]).as_deref(), Some("orders,refunds"));
        assert_eq!(label(&["a", "b", "c", "d", "e", "f"]).as_deref(), Some("6 queues"));
    }
}
