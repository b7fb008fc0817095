//! Ranks.

/// The ranks of `values`, doubled, so that the mean rank of equal ones is a whole
/// number too: the least of different values has 2.
pub(super) fn doubled_ranks(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut ranks = vec![0; values.len()];
    let mut before: usize = 0;
    for equal in order.chunk_by(|a, b| a.1.total_cmp(&b.1).is_eq()) {
        // Ranks before + 1 to before + n have the mean before + (n + 1) / 2.
        let rank = before.saturating_mul(2).saturating_add(equal.len()).saturating_add(1);
        for (index, _) in equal {
            if let Some(place) = ranks.get_mut(*index) {
                *place = rank;
            }
        }
        before = before.saturating_add(equal.len());
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(doubled_ranks(&[30.0, 10.0, 20.0]), [6, 2, 4]);
        // Ranks 1, 2½, 2½, 4.
        assert_eq!(doubled_ranks(&[20.0, 10.0, 20.0, 30.0]), [5, 2, 5, 8]);
        assert_eq!(doubled_ranks(&[7.0; 3]), [4, 4, 4]);
        assert_eq!(doubled_ranks(&[]), [0; 0]);
    }
}
