//! The engine against the naive oracle where several accounts and regions run functions of the same names, now
//! and then under the same request ids, and hear of the same event. A function of another account is another
//! function: neither its facts nor its tries are ours.

use std::collections::BTreeSet;

use throughline::signal::{MessageRef, Resource, Text, Via};

use crate::seeds::check_all;
use crate::stories::{Run, Story, Work, check, function, later};

/// Seeds of an ordinary run.
const SEEDS: u64 = 60;
/// Seeds that once failed.
const REGRESSIONS: [u64; 0] = [];
/// Where functions of the same names run.
const HOMES: [(&str, &str); 3] =
    [("111111111111", "eu-west-1"), ("222222222222", "eu-west-1"), ("111111111111", "us-east-1")];

fn at_home(name: &str, home: u64) -> Resource {
    let (account, region) = HOMES[usize::try_from(home).expect("small")];
    let (account, region) = (Some(Text::from(account)), Some(Text::from(region)));
    Resource { account, region, ..function(name) }
}

/// Up to eight runs of two functions in three places. Request ids are three, or one's own; events are three, so
/// that several places hear of one, and one place of it again; nobody sends what was heard of before.
fn story(seed: u64) -> Story {
    let mut story = Story::new(seed);
    let (mut at, mut heard) = (crate::start(), BTreeSet::new());
    for n in 0..3 + story.dice(1, 6) {
        let purpose = 100 * (n + 1);
        at = later(at, 1_500 + story.dice(purpose, 20_000));
        let home = story.dice(purpose + 1, 3);
        let id = (story.dice(purpose + 2, 2) == 0)
            .then(|| Text::from(format!("request-{}", story.dice(purpose + 3, 3))));
        let mut run = Run { id, is_failed: story.dice(purpose + 4, 3) == 0, ..Run::default() };
        let event = Text::from(format!("event-{}", story.dice(purpose + 5, 3)));
        let name =
            ["orders", "billing"][usize::try_from(story.dice(purpose + 6, 2)).expect("small")];
        let mut event = MessageRef::new(event, Via::EventBus);
        event.queue = Some(Text::from("bus"));
        match story.dice(purpose + 7, 4) {
            0 if !heard.contains(&event.id) => {
                run.works.push(Work { sent: vec![event], ..Work::default() });
            }
            0 | 1 => {}
            _ => {
                heard.insert(Text::clone(&event.id));
                run.works.push(Work::on(event));
            }
        }
        story.run(&at_home(name, home), at, &run);
    }
    story
}

#[test]
fn functions_of_the_same_name_elsewhere_are_others() {
    check_all(|seed| check(&story(seed)), SEEDS, &REGRESSIONS);
}
