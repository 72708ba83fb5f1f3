//! The table of the first messages of a test that fixes their deliveries, in the order in which
//! they were sent.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::page::seconds_of;
use crate::delivery::Delivery;
use crate::excerpt::{cut, sentence};
use crate::trace::{Fate, Sent};
use crate::world::World;

/// How many messages the table lists.
const MESSAGES_MAX: usize = 50;

/// How many characters of a message the table shows.
const BODY_CHARS: usize = 200;

/// When a copy arrived, and the number of its message.
type Arrival = (i64, usize);

pub(super) fn deliveries(world: &World) -> Markup {
    let first: BTreeMap<u64, Delivery> = world.first_deliveries().iter().copied().collect();
    let sent = world.trace().into_iter().flat_map(|trace| trace.messages());
    let rows = sent.filter_map(|message| Some((*first.get(&message.id?)?, message)));
    let rows: Vec<(Delivery, Sent<'_>)> = rows.take(MESSAGES_MAX).collect();
    // Messages that arrive at once arrive in the order in which they were sent.
    let arrivals = (1..)
        .zip(&rows)
        .flat_map(|(number, (_, message))| arrivals_of(message).map(move |at| (at, number)));
    let mut arrivals: Vec<Arrival> = arrivals.collect();
    arrivals.sort_unstable();
    html! {
        @if !rows.is_empty() {
            section #deliveries {
                h2 { "The order of delivery" }
                p.about {
                    "The first messages between servers, with the deliveries that the test chose. All "
                    "others arrive in time."
                }
                div.scroll { table {
                    tr { th { "message" } th { "sent" } th { "from" } th { "to" } th { "delivery" }
                        th { "arrived" } th { "body" } }
                    @for (number, (delivery, message)) in (1..).zip(&rows) {
                        (row(number, *delivery, message, &arrivals))
                    }
                } }
            }
        }
    }
}

fn row(number: usize, delivery: Delivery, message: &Sent<'_>, arrivals: &[Arrival]) -> Markup {
    let own = (1..).zip(arrivals).filter(|(_, (_, of))| *of == number);
    let arrived = own.map(|(place, (at, _))| format!("{} (no. {place})", seconds_of(*at)));
    let arrived: Vec<String> = arrived.collect();
    html! {
        tr {
            td.number { (number) }
            td.number { (seconds_of(message.time)) }
            td { (sentence(message.src)) }
            td { (sentence(message.dest)) }
            td {
                @if delivery == Delivery::Prompt { (words(delivery)) }
                @else { strong { (words(delivery)) } }
            }
            td.number { @if arrived.is_empty() { "never" } @else { (arrived.join(", ")) } }
            td { code { (cut(message.body.get(), BODY_CHARS)) } }
        }
    }
}

/// When the copies of a message reached its receiver.
fn arrivals_of(message: &Sent<'_>) -> impl Iterator<Item = i64> {
    message.ends.iter().filter(|end| end.fate == Fate::Delivered).map(|end| end.time)
}

fn words(delivery: Delivery) -> String {
    match delivery {
        Delivery::Prompt => "in time".to_owned(),
        Delivery::Late(by) => format!("late by {by:?}"),
        Delivery::Lost => "lost".to_owned(),
        Delivery::Twice => "twice".to_owned(),
    }
}
