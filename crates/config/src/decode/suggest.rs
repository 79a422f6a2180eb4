//! "Did you mean": the known word nearest to an unknown one.

/// The candidate nearest to `word`, if it is near enough to be a slip: a third of its letters, case not counted.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A long key is no slip, and the distance is quadratic.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('_', "");
    candidates
        .map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: letters inserted, removed or replaced.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut next = vec![i + 1];
        for (b, window) in to.chars().zip(row.windows(2)) {
            let (replaced, removed) = match window {
                [left, above] => (left + usize::from(a != b), above + 1),
                _ => continue,
            };
            let inserted = next.last().map_or(removed, |left| left + 1);
            next.push(replaced.min(removed).min(inserted));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
