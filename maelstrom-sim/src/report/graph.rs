//! Draws dependencies between operations: the operations on a circle, and an arrow for each
//! dependency.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use maud::{Markup, html};

use crate::checker::Dependency;

/// With more dependencies than this, there is no drawing. The text beside it lists them.
const EDGES_MAX: usize = 12;

const WIDTH: f64 = 720.0;

/// The height of a drawing with two operations, and with more.
const HEIGHTS: (f64, f64) = (110.0, 320.0);

/// The width and height of the box of an operation.
const BOX: (f64, f64) = (110.0, 28.0);

/// The drawing. Empty if there are no dependencies, or too many.
pub(super) fn graph(dependencies: &[Dependency]) -> Markup {
    if dependencies.is_empty() || dependencies.len() > EDGES_MAX {
        return html! {};
    }
    let (places, height) = places(dependencies);
    let edges = dependencies.iter().zip(0_u32..).filter_map(|(edge, nth)| {
        let (from, to) = (*places.get(&edge.from)?, *places.get(&edge.to)?);
        // Two edges between the same operations follow different paths.
        Some((curve(from, to, nth), edge.kind))
    });
    html! {
        svg.graph viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label="Dependencies" {
                defs { marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8"
                    markerHeight="8" orient="auto-start-reverse" { path d="M0 0L10 5L0 10z" {} } }
                @for (curve, kind) in edges {
                    path.edge d=(curve.path) marker-end="url(#arrow)" {}
                    text.kind x=(curve.label.0) y=(curve.label.1) { (kind) }
                }
                @for (event, (x, y)) in &places {
                    rect x=(round(x - BOX.0 / 2.0)) y=(round(y - BOX.1 / 2.0)) width=(BOX.0) height=(BOX.1)
                        rx="5" {}
                    @match event {
                        Some(event) => a href={ "#event-" (event) } data-event=(event) {
                            text x=(round(*x)) y=(round(*y)) { "op " (event) }
                        },
                        None => text x=(round(*x)) y=(round(*y)) { "initial state" },
                    }
                }
            }
    }
}

/// The centre of each operation's box, on a circle, in the order of a cycle; and the height of the
/// drawing.
fn places(dependencies: &[Dependency]) -> (BTreeMap<Option<usize>, (f64, f64)>, f64) {
    let mut order: Vec<Option<usize>> = Vec::new();
    for event in dependencies.iter().flat_map(|edge| [edge.from, edge.to]) {
        if !order.contains(&event) {
            order.push(event);
        }
    }
    let count = u32::try_from(order.len()).map_or(1.0, f64::from);
    let height = if order.len() > 2 { HEIGHTS.1 } else { HEIGHTS.0 };
    let at = |nth: u32| {
        let angle = TAU * f64::from(nth) / count - TAU / 2.0;
        (WIDTH / 2.0 + angle.cos() * WIDTH * 0.34, height / 2.0 + angle.sin() * height * 0.36)
    };
    (order.into_iter().zip((0..).map(at)).collect(), height)
}

/// An arrow, and the position of its label.
struct Curve {
    path: String,
    label: (f64, f64),
}

/// A curved arrow between the borders of two boxes.
fn curve((x1, y1): (f64, f64), (x2, y2): (f64, f64), nth: u32) -> Curve {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = dx.hypot(dy).max(1.0);
    let bend = 26.0 + 14.0 * f64::from(nth % 2);
    // The control point of the curve lies to the left of the line.
    let (mx, my) = ((x1 + x2) / 2.0 - dy / length * bend, (y1 + y2) / 2.0 + dx / length * bend);
    let (sx, sy) = border((x1, y1), (mx, my));
    let (ex, ey) = border((x2, y2), (mx, my));
    let [sx, sy, mx, my, ex, ey] = [sx, sy, mx, my, ex, ey].map(round);
    // The label is beside the middle of the curve, on its outer side.
    let (lx, ly) = ((sx + 2.0 * mx + ex) / 4.0, (sy + 2.0 * my + ey) / 4.0);
    let label = (round(lx - dy / length * 10.0), round(ly + dx / length * 10.0));
    Curve { path: format!("M{sx} {sy}Q{mx} {my} {ex} {ey}"), label }
}

/// The point where a line from the centre of a box to another point leaves the box.
fn border((x, y): (f64, f64), (to_x, to_y): (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to_x - x, to_y - y);
    let part = |half: f64, way: f64| if way == 0.0 { f64::INFINITY } else { half / way.abs() };
    let part = part(BOX.0 / 2.0, dx).min(part(BOX.1 / 2.0, dy)).min(1.0);
    (x + dx * part, y + dy * part)
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_is_drawn_once_and_each_dependency_is_an_arrow() {
        let edge = |from, to| Dependency { from, to, kind: "its write was read" };
        let drawn = graph(&[edge(Some(3), Some(9)), edge(Some(9), None), edge(None, Some(3))]);
        let text = drawn.into_string();
        assert_eq!(text.matches("<rect").count(), 3);
        assert_eq!(text.matches("class=\"edge\"").count(), 3);
        assert!(text.contains("op 3") && text.contains("op 9") && text.contains("initial state"));
        assert_eq!(graph(&[]).into_string(), "");
        assert!(text.contains("url(#arrow)") && text.contains("id=\"arrow\""), "{text}");
    }

    #[test]
    fn arrows_end_at_the_borders_of_boxes() {
        assert_eq!(border((0.0, 0.0), (500.0, 0.0)), (55.0, 0.0));
        assert_eq!(border((0.0, 0.0), (0.0, -500.0)), (0.0, -14.0));
        let (x, y) = border((0.0, 0.0), (100.0, 100.0));
        assert!((x - 14.0).abs() < 1e-9 && (y - 14.0).abs() < 1e-9);
    }
}
