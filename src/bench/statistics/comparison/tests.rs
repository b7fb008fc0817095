use super::{super::Random, *};

fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 1e-9, "{found}, wanted {wanted}");
}

/// A boot's time: about a second, skewed, now and then a spike, and slow and fast
/// moments of the host that neighbours share.
fn boot(random: &mut Random, host: f64, factor: f64) -> u64 {
    let spike = if random.fraction() < 0.02 { 1.0 + random.fraction() } else { 1.0 };
    let noise = (0.02 * random.normal()).exp();
    whole(1e9 * host * factor * noise * spike)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "nanoseconds")]
fn whole(value: f64) -> u64 {
    value as u64
}

fn pairs(random: &mut Random, count: usize, factor: f64) -> Vec<(u64, u64)> {
    let mut host = 1.0;
    let mut pair = |_| {
        host *= (0.03 * random.normal()).exp();
        (boot(random, host, 1.0), boot(random, host, factor))
    };
    (0..count).map(&mut pair).collect()
}

#[test]
fn a_small_case_is_as_by_hand() {
    // Ratios 1.1 to 1.18, all above one: 2 of 2^8 signs.
    let pairs: Vec<(u64, u64)> =
        [110, 111, 112, 113, 114, 115, 116, 118].map(|other| (100, other)).to_vec();
    let found = paired(&pairs, &Rule::TIME);
    near(found.p, 2.0 / 256.0);
    assert_eq!(found.verdict, Verdict::More);
    assert!((1.13..1.14).contains(&found.ratio), "{}", found.ratio);
    // Of 36 means of two, three are left out at each end: 2 (0 + 1 + 2 + 3 have a
    // probability of 5/256 = 0.0195, 4 more 7/256) as in the tables for n = 8.
    let (low, high) = found.interval.expect("enough");
    assert!(1.1 <= low && low < found.ratio && found.ratio < high && high <= 1.18);
}

#[test]
fn exchanged_sides_give_the_inverse() {
    let mut random = Random::new(3);
    let there = pairs(&mut random, 15, 1.1);
    let back: Vec<_> = there.iter().map(|(base, other)| (*other, *base)).collect();
    let (there, back) = (paired(&there, &Rule::TIME), paired(&back, &Rule::TIME));
    near(there.ratio * back.ratio, 1.0);
    near(there.p, back.p);
    assert_eq!((there.verdict, back.verdict), (Verdict::More, Verdict::Less));
    let (low, high) = there.interval.expect("enough");
    let (inverse_high, inverse_low) = back.interval.expect("enough");
    near(low * inverse_low, 1.0);
    near(high * inverse_high, 1.0);
}

#[test]
fn too_few_values_are_said_to_be_too_few() {
    assert_eq!(paired(&[(100, 200); 7], &Rule::TIME).verdict, Verdict::TooFew);
    assert_eq!(paired(&[(100, 200); 8], &Rule::TIME).verdict, Verdict::More);
    assert_eq!(unpaired(&[100; 4], &[200; 4], &Rule::TIME).verdict, Verdict::TooFew);
    assert_eq!(unpaired(&[100; 5], &[200; 5], &Rule::TIME).verdict, Verdict::More);
    let nothing = paired(&[], &Rule::TIME);
    assert_eq!((nothing.verdict, nothing.interval), (Verdict::TooFew, None));
}

#[test]
fn what_nobody_would_care_for_is_no_difference() {
    let slightly: Vec<_> = (0..30).map(|n| (1000 + n, 1040 + n)).collect();
    let found = paired(&slightly, &Rule::TIME);
    assert!(found.p < 1e-6, "{}", found.p);
    assert_eq!(found.verdict, Verdict::Same);
    // In counts four percent are much.
    assert_eq!(paired(&slightly, &Rule::COUNT).verdict, Verdict::More);
    let counts = [(1_000_000, 1_000_900); 8];
    assert_eq!(paired(&counts, &Rule::COUNT).verdict, Verdict::Same);
    let counts = [(1_000_000, 1_001_100); 8];
    assert_eq!(paired(&counts, &Rule::COUNT).verdict, Verdict::More);
}

#[test]
fn equal_and_empty_values_are_equal() {
    let found = paired(&[(0, 0); 10], &Rule::TIME);
    near(found.ratio, 1.0);
    near(found.p, 1.0);
    assert_eq!(found.verdict, Verdict::Same);
    let found = unpaired(&[5; 10], &[5; 9], &Rule::TIME);
    near(found.p, 1.0);
    assert_eq!(found.interval, Some((1.0, 1.0)));
}

/// Of `times` comparisons, how many call a difference, and of how many the chance is
/// said to be below 1 %.
fn called(times: u64, compare: impl Fn(&mut Random) -> Comparison) -> (usize, usize) {
    let all: Vec<_> = (0..times).map(|seed| compare(&mut Random::new(seed))).collect();
    let called = all.iter().filter(|found| found.verdict != Verdict::Same).count();
    (called, all.iter().filter(|found| found.p < 0.01).count())
}

#[test]
fn the_same_twice_is_called_a_difference_in_one_of_a_hundred_runs_at_most() {
    let (differ, unlikely) = called(1000, |random| paired(&pairs(random, 20, 1.0), &Rule::TIME));
    assert!(differ <= 1, "{differ} of 1000");
    // The probability is what it says: 10 are expected, and 10 more are 3 sigma.
    assert!((1..=20).contains(&unlikely), "{unlikely} of 1000");
    let (differ, unlikely) = called(500, |random| {
        let mut values = |_| boot(random, 1.0, 1.0);
        let base: Vec<_> = (0..12).map(&mut values).collect();
        let other: Vec<_> = (0..12).map(&mut values).collect();
        unpaired(&base, &other, &Rule::TIME)
    });
    assert!(differ <= 2, "{differ} of 500");
    assert!((1..=12).contains(&unlikely), "{unlikely} of 500");
}

#[test]
fn ten_percent_more_are_found() {
    let (found, _) = called(300, |random| paired(&pairs(random, 20, 1.1), &Rule::TIME));
    assert!(found >= 285, "{found} of 300");
    let (found, _) = called(300, |random| paired(&pairs(random, 16, 1.2), &Rule::TIME));
    assert!(found >= 285, "{found} of 300");
}

#[test]
fn an_interval_holds_the_true_ratio_as_often_as_it_says() {
    let holds = |seed| {
        let found = paired(&pairs(&mut Random::new(seed), 15, 1.1), &Rule::TIME);
        let (low, high) = found.interval.expect("enough");
        (low..=high).contains(&1.1)
    };
    let held = (1000..1500).filter(|seed| holds(*seed)).count();
    // 475 are expected, and 15 more or less are 3 sigma.
    assert!((460..=490).contains(&held), "{held} of 500");
}

#[test]
fn the_same_values_give_the_same_answer_even_where_signs_are_drawn() {
    let many = pairs(&mut Random::new(9), 250, 1.0);
    assert_eq!(paired(&many, &Rule::TIME), paired(&many, &Rule::TIME));
}

#[test]
fn two_exact_values_of_each_are_enough() {
    let called = |base: &[u64], other: &[u64]| exact(base, other, &Rule::COUNT).verdict;
    let million = [1_000_000; 2];
    assert_eq!(called(&million, &million), Verdict::Same);
    assert_eq!(called(&million, &[1_001_001; 2]), Verdict::More);
    assert_eq!(called(&million, &[998_999; 2]), Verdict::Less);
    assert_eq!(called(&million, &[1_000_999; 2]), Verdict::Same, "not 0.1 %");
    assert_eq!(called(&million, &[1_100_000]), Verdict::TooFew);
}

#[test]
fn counts_that_vary_are_told_apart_only_past_all_that_they_vary() {
    let called = |base: &[u64], other: &[u64]| exact(base, other, &Rule::COUNT).verdict;
    assert_eq!(called(&[1000, 1100], &[1100, 1200]), Verdict::Same);
    assert_eq!(called(&[1000, 1100], &[1101, 1200]), Verdict::More);
    assert_eq!(called(&[1101, 1200], &[1000, 1100]), Verdict::Less);
}
