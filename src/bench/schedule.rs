//! Whose turn it is.

use std::iter;

/// One turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Which contender.
    pub contender: usize,
    /// Which round, from 1; 0 in a warm-up.
    pub round: u32,
}

impl Turn {
    /// Whether what it takes does not count.
    #[must_use]
    pub fn is_warm_up(self) -> bool {
        self.round == 0
    }
}

/// The turns of `contenders`: `warm_ups` for each, then `rounds` in which each has
/// one.
///
/// Every second round goes backwards. What changes slowly (a host that heats up, a
/// cache that fills) then meets all alike, and nobody always comes after the same
/// neighbour. The contenders of one round are neighbours in time, which is what
/// makes them pairs.
pub fn schedule(contenders: usize, warm_ups: u32, rounds: u32) -> impl Iterator<Item = Turn> {
    let warm_up = move |_| order(contenders, false).map(|contender| Turn { contender, round: 0 });
    let round = move |round: u32| {
        iter::repeat(round)
            .zip(order(contenders, round.is_multiple_of(2)))
            .map(|(round, contender)| Turn { contender, round })
    };
    (0..warm_ups).flat_map(warm_up).chain((1..=rounds).flat_map(round))
}

fn order(contenders: usize, backwards: bool) -> impl Iterator<Item = usize> {
    let (mut forth, mut back) = (0..contenders, (0..contenders).rev());
    iter::from_fn(move || if backwards { back.next() } else { forth.next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_follow_the_warm_ups_and_every_second_goes_backwards() {
        let turns: Vec<_> =
            schedule(2, 1, 3).map(|turn| (turn.round, ["A", "B"][turn.contender])).collect();
        let wanted =
            [(0, "A"), (0, "B"), (1, "A"), (1, "B"), (2, "B"), (2, "A"), (3, "A"), (3, "B")];
        assert_eq!(turns, wanted);
        assert_eq!(turns.iter().filter(|(round, _)| *round == 0).count(), 2);
    }

    #[test]
    fn nobody_or_nothing_wanted_is_no_turn() {
        assert_eq!(schedule(0, 3, 3).count(), 0);
        assert_eq!(schedule(3, 0, 0).count(), 0);
        assert!(schedule(1, 1, 1).next().is_some_and(Turn::is_warm_up));
    }
}
