//! Delta debugging: finds a minimal subset with some property.

/// Finds a subset of `items` for which `holds` is true and from which no single item can be
/// removed. (If `holds` starts to return `false` for everything, the result may have more items.)
///
/// This is ddmin (Zeller & Hildebrandt, *Simplifying and Isolating Failure-Inducing Input*, 2002),
/// but it tries the empty set first.
pub(super) fn ddmin<T: Clone>(items: &[T], mut holds: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut items = items.to_vec();
    if items.is_empty() || holds(&[]) {
        return Vec::new();
    }
    let mut parts = 2;
    while items.len() >= 2 {
        let chunk = items.len().div_ceil(parts);
        let found = items.chunks(chunk).find(|part| holds(part)).map(<[T]>::to_vec);
        if let Some(part) = found {
            (items, parts) = (part, 2);
            continue;
        }
        let without = |nth: usize| -> Vec<T> {
            let others = items.chunks(chunk).enumerate().filter(|(n, _)| *n != nth);
            others.flat_map(|(_, part)| part.iter().cloned()).collect()
        };
        // With two chunks, each is the complement of the other.
        let chunks = if parts == 2 { 0 } else { items.chunks(chunk).len() };
        let found = (0..chunks).map(without).find(|rest| holds(rest));
        if let Some(rest) = found {
            (items, parts) = (rest, parts.saturating_sub(1).max(2));
        } else if chunk == 1 {
            break;
        } else {
            parts = parts.saturating_mul(2).min(items.len());
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_item_of_thirty_that_is_needed_is_found_in_few_runs() {
        for needed in 0..30 {
            let items: Vec<u32> = (0..30).collect();
            let mut runs = 0;
            let left = ddmin(&items, |part| {
                runs += 1;
                part.contains(&needed)
            });
            assert_eq!(left, [needed]);
            assert!(runs <= 12, "{runs}");
        }
    }

    #[test]
    fn items_that_are_needed_together_are_all_kept() {
        let items: Vec<u32> = (0..40).collect();
        let needed = [3, 17, 18, 39];
        let left = ddmin(&items, |part| needed.iter().all(|item| part.contains(item)));
        assert_eq!(left, needed);
    }

    #[test]
    fn nothing_is_kept_if_nothing_is_needed_and_all_if_all_is() {
        assert_eq!(ddmin(&[1, 2, 3], |_| true), [0; 0]);
        assert_eq!(ddmin(&[1, 2, 3], |part| part.len() == 3), [1, 2, 3]);
        assert_eq!(ddmin(&[0; 0], |_| false), [0; 0]);
    }

    #[test]
    fn it_ends_when_nothing_holds_any_more() {
        let items: Vec<u32> = (0..1_000).collect();
        let mut runs = 0;
        let left = ddmin(&items, |part| {
            runs += 1;
            runs <= 3 && part.contains(&7)
        });
        assert_eq!(left, (0..250).collect::<Vec<_>>());
    }
}
