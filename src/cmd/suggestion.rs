//! Suggests known names for an unknown word.

/// The number of suggestions.
pub const MOST: usize = 5;

/// Returns the known words that are near to an unknown one, nearest first, each once. Of equally near words, the first
/// known comes first.
#[must_use]
pub fn nearest(word: &str, known: impl IntoIterator<Item = String>) -> Vec<String> {
    let wanted = word.to_lowercase();
    let mut ranked: Vec<(usize, String)> = Vec::new();
    for name in known {
        if !name.is_empty() && !ranked.iter().any(|(_, other)| *other == name) {
            ranked.extend(distance(&wanted, &name.to_lowercase()).map(|distance| (distance, name)));
        }
    }
    ranked.sort_by_key(|(distance, _)| *distance);
    ranked.into_iter().take(MOST).map(|(_, name)| name).collect()
}

/// Returns how many characters must be changed, inserted, deleted or swapped with their neighbour. `None` means more
/// than half of the longer word, unless one word contains the other.
fn distance(a: &str, b: &str) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let edits = edits(&a, &b);
    let contains = |long: &[char], short: &[char]| short.len() >= 2 && long.windows(short.len()).any(|w| w == short);
    let is_near = edits * 2 <= a.len().max(b.len()) || contains(&a, &b) || contains(&b, &a);
    is_near.then_some(edits)
}

fn edits(a: &[char], b: &[char]) -> usize {
    // The last two rows of the table, and the one that is being filled.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
            let mut least = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_no_more_than_five() {
        let known = ["vaeris", "echo", "nova-3", "nova", "helix", "synergy", "nova"].map(str::to_owned);
        assert_eq!(nearest("nvoa", known.clone()), ["nova", "nova-3"]);
        assert_eq!(nearest("NOVA-3", known.clone())[..2], ["nova-3", "nova"]);
        assert_eq!(nearest("syn", known.clone()), ["synergy"]);
        assert!(nearest("x", known).is_empty());
        let many = (0..9).map(|n| format!("nova-{n}"));
        assert_eq!(nearest("nova", many), ["nova-0", "nova-1", "nova-2", "nova-3", "nova-4"]);
    }

    #[test]
    fn edits_between_two_words() {
        for (a, b, n) in
            [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "xbc", 1), ("kitten", "sitting", 3)]
        {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            assert_eq!(edits(&chars(a), &chars(b)), n, "{a} {b}");
        }
    }
}
