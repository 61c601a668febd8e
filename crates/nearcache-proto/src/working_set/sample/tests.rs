//! What is left is found, what has no room is counted, and one read in a period is taken.

use super::*;

fn drained(sampler: &Sampler) -> Vec<(u32, Vec<u8>, u32)> {
    let mut samples = Vec::new();
    sampler.drain(|filed, weight| samples.push((filed.db, filed.bytes.to_vec(), weight)));
    samples
}

#[test]
fn what_is_left_is_drained_once() {
    let sampler = Sampler::new(1 << 16);
    sampler.push(0, Key::new(3, b"a"));
    sampler.push(17, Key::new(0, b""));
    sampler.push(1, Key::new(0, b"\0\xff"));
    sampler.adapt(8192 * 10, Duration::from_secs(10));
    sampler.push(15, Key::new(0, b"z"));
    let expected = [
        (3, "a".into(), 1),
        (0, vec![], 1),
        (0, vec![0, 0xff], 1),
        (0, "z".into(), 2),
    ];
    assert_eq!(drained(&sampler), expected);
    assert!(drained(&sampler).is_empty());
    assert_eq!(sampler.samples_dropped_total(), 0);
}

#[test]
fn c9_what_has_no_room_is_dropped_and_counted() {
    let sampler = Sampler::new(17 * 100);
    let held = sampler.bytes();
    for _ in 0..20 {
        sampler.push(4, Key::new(0, b"12345678"));
    }
    assert_eq!(drained(&sampler).len(), 5);
    assert_eq!(sampler.samples_dropped_total(), 15);
    sampler.push(4, Key::new(0, &[b'x'; 2000]));
    assert_eq!(sampler.samples_dropped_total(), 16);
    assert_eq!(sampler.bytes(), held);
    // Buffers have changed places; none has grown.
    for stripe in 0..STRIPES {
        assert!(lock(&sampler.stripes[stripe].buffer).capacity() < 200);
    }
}

#[test]
fn a_stripe_in_use_is_not_waited_for() {
    let sampler = Sampler::new(1 << 16);
    let held = lock(&sampler.stripes[2].buffer);
    sampler.push(2, Key::new(0, b"k"));
    drop(held);
    assert_eq!(sampler.samples_dropped_total(), 1);
    assert!(drained(&sampler).is_empty());
}

#[test]
fn the_period_follows_the_rate_of_reads() {
    let sampler = Sampler::new(1 << 16);
    let second = Duration::from_secs(1);
    for (reads, elapsed, period) in [
        (0, second, 1),
        (4096, second, 1),
        (4097, second, 2),
        (1_000_000, second, 256),
        (1_000_000, Duration::from_secs(1000), 1),
        (u64::MAX, Duration::from_nanos(1), 1 << 20),
        (7, Duration::ZERO, 1 << 20),
        (0, second, 1),
    ] {
        sampler.adapt(reads, elapsed);
        assert_eq!(sampler.period(), period, "{reads} in {elapsed:?}");
    }
}

#[test]
fn one_in_a_period_is_wanted_whatever_the_pattern_of_reads() {
    let sampler = Sampler::new(1 << 10);
    assert!((0..1000).all(|n| sampler.wants(n)));
    sampler.adapt(4096 * 64, Duration::from_secs(1));
    for stride in [1, 2, 3, 5, 8, 16, 21, 34, 64, 100, 256, 1024] {
        let wanted = (0..64_000).filter(|n| sampler.wants(n * stride)).count();
        assert!((900..1100).contains(&wanted), "every {stride}th: {wanted}");
    }
}

#[test]
fn nothing_is_lost_or_made_up_between_threads() {
    const EACH: u64 = 20_000;
    let sampler = Sampler::new(1 << 18);
    let mut drained_total = 0;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u32)
            .map(|writer| {
                let sampler = &sampler;
                scope.spawn(move || {
                    for n in 0..EACH {
                        let name = [&n.to_le_bytes()[..], &n.to_le_bytes()].concat();
                        sampler.push(n as usize % 2, Key::new(writer, &name));
                    }
                })
            })
            .collect();
        let mut take = || {
            sampler.drain(|filed, weight| {
                assert!(filed.db < 3 && weight == 1);
                assert_eq!(filed.bytes[..8], filed.bytes[8..]);
                drained_total += 1;
            });
        };
        while writers.iter().any(|writer| !writer.is_finished()) {
            take();
        }
        take();
    });
    assert_eq!(drained_total + sampler.samples_dropped_total(), 3 * EACH);
}
